# SPDX-License-Identifier: Apache-2.0
"""Instants are UTC, to the microsecond, and written so that their text sorts as they do."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from nerv.errors import Invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECONDS = 1024  # whose text is kept: most instants that are written lie close together


def utc_now() -> datetime:
    """The wall clock, for recording only: no decision may hang on it (rule 8)."""
    return datetime.now(UTC)


def format_instant(instant: datetime) -> str:
    """`2013-01-15T12:00:00.000000Z`: RFC 3339 with fixed width."""
    since = instant - _EPOCH
    return f"{_second(since.days, since.seconds)}.{since.microseconds:06d}Z"


@lru_cache(SECONDS)
def _second(days: int, seconds: int) -> str:
    # Two of these are written for every event; strftime takes four times as long, isoformat twice.
    return (_EPOCH + timedelta(days, seconds)).isoformat()[:19]


def parse_instant(text: str, what: str = "instant") -> datetime:
    """An RFC 3339 instant; one without an offset is refused, for nobody knows what it means."""
    try:
        instant = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise Invalid(f"{what} {text!r} is not an RFC 3339 instant such as 2013-01-15T12:00:00Z") from None
    if instant.tzinfo is None:
        raise Invalid(f"{what} {text!r} lacks an offset; write it in UTC: {text}Z")
    try:
        return instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    except OverflowError:
        raise Invalid(f"{what} {text!r} is out of range") from None
