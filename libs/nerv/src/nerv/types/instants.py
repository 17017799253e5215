# SPDX-License-Identifier: Apache-2.0
"""Instants are UTC, to the microsecond, and written so that their text sorts as they do."""

from datetime import UTC, datetime

from nerv.errors import Invalid


def utc_now() -> datetime:
    """The wall clock, for recording only: no decision may hang on it (rule 8)."""
    return datetime.now(UTC)


def format_instant(instant: datetime) -> str:
    """`2013-01-15T12:00:00.000000Z`: RFC 3339 with fixed width."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_instant(text: str, what: str = "instant") -> datetime:
    """An RFC 3339 instant; one without an offset is refused, for nobody knows what it means."""
    try:
        instant = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise Invalid(f"{what} {text!r} is not an RFC 3339 instant such as 2013-01-15T12:00:00Z") from None
    if instant.tzinfo is None:
        raise Invalid(f"{what} {text!r} lacks an offset; write it in UTC: {text}Z")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise Invalid(f"{what} {text!r} is out of range") from None
