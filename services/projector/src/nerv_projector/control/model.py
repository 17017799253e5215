# SPDX-License-Identifier: Apache-2.0
"""The decisions about a projection, pure: each step answers what stands afterwards, or refuses and says what to do."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from nerv.api.projection.v1 import projection_pb2
from nerv.errors import Conflict

SKIPPED = 1000  # events that one projection passes over; more are a fault of its code


@dataclass(frozen=True, slots=True)
class Control:
    """What stands for one projection. A version is one set of views, folded by itself from history.

    `building` is folded beside the `live` one; `previous` is what was live before, folded on so that going back is one step.
    `since`: the version that is built begins at this instant, in milliseconds, and not with history.
    """

    live: int = 1
    building: int | None = None
    previous: int | None = None
    last: int = 1  # the highest version that there ever was: none is used twice
    paused: bool = False
    skipped: frozenset[str] = frozenset()
    since: int | None = None

    @property
    def versions(self) -> frozenset[int]:
        """The versions that are folded: two at most."""
        return frozenset(v for v in (self.live, self.building, self.previous) if v is not None)

    def to_bytes(self) -> bytes:
        """As it stands in the topic (nerv.api.projection.v1.Control)."""
        return projection_pb2.Control(
            live=self.live,
            building=self.building or 0,
            previous=self.previous or 0,
            last=self.last,
            paused=self.paused,
            skipped=sorted(self.skipped),
            since_ms=self.since or 0,
        ).SerializeToString(deterministic=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Control":
        """What stands in the topic."""
        found = projection_pb2.Control.FromString(data)
        return cls(
            found.live,
            found.building or None,
            found.previous or None,
            found.last,
            found.paused,
            frozenset(found.skipped),
            found.since_ms or None,
        )


Step = Callable[[Control], Control]
"""A decision: what stands becomes what is to stand. Raises Conflict. One that is taken twice comes to the same."""


def rebuild(version: int, since: int | None) -> Step:
    """Begin a version beside the live one, the next number; what was kept to go back to makes room."""

    def step(now: Control) -> Control:
        if version in now.versions:
            return now
        if now.building is not None:
            raise Conflict(f"version {now.building} is being built already; switch to it, or cancel it first")
        if version != now.last + 1:
            raise Conflict(f"the next version is {now.last + 1}, not {version}")
        if now.paused:
            raise Conflict("the projection is paused; resume it first, or the new version would stand still")
        return replace(now, building=version, last=version, previous=None, since=since)

    return step


def switch(version: int) -> Step:
    """Make the version that was built the live one, if it still is the one that was looked at."""

    def step(now: Control) -> Control:
        if now.live == version:
            return now
        if now.building != version:
            raise Conflict(f"version {version} is not being built; what is: {now.building or 'nothing'}")
        return replace(now, live=version, building=None, previous=now.live)

    return step


def cancel(version: int) -> Step:
    """Give up what is being built."""

    def step(now: Control) -> Control:
        if version in (now.live, now.previous):
            raise Conflict(f"version {version} is not being built any more; it is live, or kept to go back to")
        return replace(now, building=None) if now.building == version else now

    return step


def rollback(version: int) -> Step:
    """Go back to what was live before; what is live now is kept in its place."""

    def step(now: Control) -> Control:
        if now.live == version:
            return now
        if now.previous != version:
            raise Conflict(f"there is no version {version} to go back to; what is kept: {now.previous or 'nothing'}")
        return replace(now, live=version, previous=now.live)

    return step


def release(version: int) -> Step:
    """Keep nothing to go back to: its views are deleted."""

    def step(now: Control) -> Control:
        if version in (now.live, now.building):
            raise Conflict(f"version {version} is not kept to go back to; it is live, or being built")
        return replace(now, previous=None) if now.previous == version else now

    return step


def pause(now: Control) -> Control:
    """Fold nothing until it is resumed. Reads go on."""
    return replace(now, paused=True)


def resume(now: Control) -> Control:
    """Fold on."""
    return replace(now, paused=False)


def skip(event_id: str) -> Step:
    """Have an event passed over by every fold from now on; a key that is parked at it is folded on, without it."""

    def step(now: Control) -> Control:
        if len(now.skipped | {event_id}) > SKIPPED:
            raise Conflict(f"{SKIPPED} events are skipped already; mend the fold instead")
        return replace(now, skipped=now.skipped | {event_id})

    return step
