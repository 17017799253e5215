# SPDX-License-Identifier: Apache-2.0
"""What every implementation of `nerv.protocols.Versioned` does."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nerv.errors import Invalid, NotFound
from nerv.protocols import Versioned
from nerv.types import VersionedState

Happen = Callable[[str, datetime], Awaitable[datetime]]
"""Makes the next event of a key happen at this valid instant; answers when it was recorded."""

DAY = datetime(2013, 1, 14, tzinfo=UTC)


async def three(happen: Happen, key: str) -> list[datetime]:
    """Three events of a key, of which the second happened before the first; answers when each was recorded."""
    return [await happen(key, DAY + timedelta(days=days)) for days in (1, 0, 2)]


class VersionedContract:
    """Inherit it and give the fixtures `versioned`, `key` (one without events) and `happen`.

    Each event of `happen` must change the state, and the order of two must not: a counter or a sum will do.
    """

    async def test_a_version_never_changes(self, versioned: Versioned[Any], happen: Happen, key: str) -> None:
        """What it was at a version, it is when asked again after more has happened."""
        seen: dict[int, VersionedState[Any]] = {}
        for version in (1, 2, 3):
            await happen(key, DAY)
            seen[version] = await versioned.state(key)
            assert seen[version].version == version
            assert [await versioned.state(key, version=earlier) for earlier in seen] == list(seen.values())
        assert len({str(state.state) for state in seen.values()}) == 3

    async def test_before_the_first_there_is_nothing(self, versioned: Versioned[Any], happen: Happen, key: str) -> None:
        """Version 0 has no state; what has not happened by an instant neither."""
        await happen(key, DAY)
        for found in (
            await versioned.state(key, version=0),
            await versioned.state(key, as_of=DAY - timedelta(microseconds=1)),
        ):
            assert (found.version, found.state) == (0, None)

    async def test_valid_time_asks_what_had_happened(self, versioned: Versioned[Any], happen: Happen, key: str) -> None:
        """Whenever it was recorded: the event that was recorded second had happened first."""
        await three(happen, key)
        one = (await versioned.state(key, version=1)).state
        assert (await versioned.state(key, as_of=DAY)).state == one
        assert (await versioned.state(key, as_of=DAY + timedelta(days=1))).state == (
            await versioned.state(key, version=2)
        ).state

    async def test_recorded_time_asks_what_was_known(self, versioned: Versioned[Any], happen: Happen, key: str) -> None:
        """By the instant, inclusive; both times together bound both."""
        recorded = await three(happen, key)
        known = [await versioned.state(key, known_at=instant) for instant in recorded]
        assert [state.version for state in known] == [1, 2, 3]
        neither = await versioned.state(key, as_of=DAY, known_at=recorded[0])
        assert (neither.version, neither.state) == (0, None)

    async def test_events_say_what_made_it_so(self, versioned: Versioned[Any], happen: Happen, key: str) -> None:
        """In order of version, within bounds."""
        await three(happen, key)
        assert [event.sequence async for event in versioned.events(key)] == [1, 2, 3]
        assert [event.sequence async for event in versioned.events(key, after=1, to=2)] == [2]
        assert [event.time async for event in versioned.events(key, after=2)] == [DAY + timedelta(days=2)]

    async def test_what_never_was_is_not_found(self, versioned: Versioned[Any], key: str) -> None:
        """A key without an event is an error, not an empty state."""
        with pytest.raises(NotFound):
            await versioned.state(f"{key}-nobody")
        with pytest.raises(NotFound):
            [event async for event in versioned.events(f"{key}-nobody")]

    async def test_nobody_knows_what_will_be_known(self, versioned: Versioned[Any], happen: Happen, key: str) -> None:
        """A recorded instant to come is refused."""
        recorded = await happen(key, DAY)
        with pytest.raises(Invalid):
            await versioned.state(key, known_at=recorded + timedelta(days=36_500))

    async def test_it_describes_itself(self, versioned: Versioned[Any], happen: Happen, key: str) -> None:
        """A kind and a name."""
        described = versioned.describe()
        assert described.kind
        assert described.name
