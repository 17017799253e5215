# SPDX-License-Identifier: Apache-2.0
"""When a schedule ticks, pure: by cron in a time zone, or every so many seconds.

Cron is read by `cronsim`, which does as Debian's cron does when clocks change: what falls into an hour that is left out
happens right after it, and what falls into an hour that comes twice happens once, unless its hour is `*`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from nerv.errors import Misconfigured

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ticks:
    """Ticks by `cron` in `zone`, or, without that, every `seconds` since 1970."""

    cron: str | None
    seconds: int
    zone: str = "UTC"

    @classmethod
    def of(cls, cron: str | None, every: float | timedelta | None, zone: str) -> "Ticks":
        """Raises Misconfigured for what is no schedule."""
        if (cron is None) == (every is None):
            raise Misconfigured("a schedule has either cron or every")
        try:
            known = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise Misconfigured(f"there is no time zone {zone!r}; write it as Europe/Berlin") from None
        if cron is not None:
            try:
                next(CronSim(cron, datetime(2024, 1, 1, tzinfo=known)))
            except CronSimError as error:
                raise Misconfigured(f"{cron!r} is no cron expression: {error}") from None
            except StopIteration:
                raise Misconfigured(f"{cron!r} never comes") from None
            return cls(cron, 0, zone)
        length = every.total_seconds() if isinstance(every, timedelta) else float(every or 0)
        if length < 1 or length != int(length):
            raise Misconfigured(f"every is a whole number of seconds, 1 or more, not {length:g}")
        return cls(None, int(length), zone)

    def after(self, instant: datetime) -> Iterator[datetime]:
        """The ticks after an instant, UTC."""
        if self.cron is None:
            return self._every(instant, 1)
        return (tick.astimezone(UTC) for tick in CronSim(self.cron, instant.astimezone(ZoneInfo(self.zone))))

    def before(self, instant: datetime) -> Iterator[datetime]:
        """The ticks up to an instant and with it, the latest first, UTC."""
        if self.cron is None:
            return self._every(instant, -1)
        late = (instant + timedelta(seconds=1)).astimezone(ZoneInfo(self.zone))
        found = (tick.astimezone(UTC) for tick in CronSim(self.cron, late, reverse=True))
        return (tick for tick in found if tick <= instant)

    def due(self, position: datetime, now: datetime, *, grace: timedelta, missed: int) -> list[datetime]:
        """The ticks after `position` that are to be followed by `now`, in order: those of the last `grace`, and before it the
        latest `missed`; earlier ones are passed over.
        """
        since = list(takewhile(lambda tick: tick > position and tick > now - grace, self.before(now)))
        late = takewhile(lambda tick: tick > position, self.before(now - grace))
        return sorted([*since, *islice(late, missed)])

    def _every(self, instant: datetime, step: int) -> Iterator[datetime]:
        length = timedelta(seconds=self.seconds)
        tick = EPOCH + (instant - EPOCH) // length * length
        if step > 0:
            tick += length
        while True:
            yield tick
            tick += step * length

    def __str__(self) -> str:
        """As people read it."""
        return f"every {self.seconds} s" if self.cron is None else f"{self.cron} {self.zone}"
