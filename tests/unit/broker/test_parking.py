# SPDX-License-Identifier: Apache-2.0
"""The books of reactions, and groups of the same name."""

import asyncio
from typing import Any

import pytest

from nerv.history.memory import MemoryHistory
from nerv.subscriptions import Books, Fact, Kind
from nerv.types import utc_now
from nerv_broker.groups import Groups
from nerv_broker.reactions.parking import NameTaken, Parks
from nerv_broker.settings import BrokerSettings

CREATED = Fact(Kind.CREATED, {"spec": {"given": {"topic": "t"}, "start": {"0": 0}, "topic_id": "x"}, "who": "me"})


async def test_a_reaction_does_not_run_on_the_books_of_a_group() -> None:
    """What to do is said; once the group is deleted it runs."""
    store = MemoryHistory()
    async with Books(store, "ship") as books:
        await books.record([CREATED])
        with pytest.raises(NameTaken, match=r"subscription-ship.*@app\.on"):
            async with Parks(store, [("other", "t"), ("ship", "t")]):
                pass
        assert len([task for task in asyncio.all_tasks() if task.get_name().startswith("books-")]) == 1
        await books.record([Fact(Kind.DELETED, {"who": "me"})])
        async with Parks(store, [("other", "t"), ("ship", "t")]) as parks:
            await parks.take([("t", 0)])


async def test_a_reaction_is_not_named_like_the_door_of_a_topic() -> None:
    """Whose letters have books, too."""
    with pytest.raises(NameTaken, match="door:"):
        async with Parks(MemoryHistory(), [("door:t", "t")]):
            pass


async def test_a_group_that_is_named_like_a_reaction_is_not_hosted() -> None:
    """Whoever made it, and when: its dispatcher would write into the books of the reaction."""
    nobody: Any = None
    settings = BrokerSettings.model_construct()
    groups = Groups(settings, nobody, nobody, nobody, nobody, asyncio.Event, {"ship"})
    now = utc_now()
    await groups._take(CREATED.event(now).recorded("subscription-ship", 1, now))
    assert groups.find("ship") is None
