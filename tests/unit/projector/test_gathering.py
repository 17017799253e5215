# SPDX-License-Identifier: Apache-2.0
"""Single reads that are gathered into one command."""

import asyncio
from collections.abc import Sequence

import pytest

from nerv.cancelling import end
from nerv.errors import Unavailable
from nerv_projector.views.gathering import Gathered


class Store:
    """Answers when it is let to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.begun, self.open = asyncio.Event(), asyncio.Event()
        self.broken = False

    async def fetch(self, names: Sequence[str]) -> Sequence[bytes | None]:
        """Each name's own bytes; nothing is under `none`."""
        self.commands.append(list(names))
        self.begun.set()
        await self.open.wait()
        if self.broken:
            raise Unavailable("away")
        return [None if name == "none" else name.encode() for name in names]


async def asked(store: Store, gathered: Gathered, names: Sequence[str]) -> list["asyncio.Task[bytes | None]"]:
    """Reads that have all begun, of which the first is under way."""
    tasks = [asyncio.create_task(gathered(name)) for name in names]
    await store.begun.wait()
    return tasks


async def test_what_is_asked_for_meanwhile_goes_as_one_command() -> None:
    """The first read goes alone and at once; those that come while it is under way follow together, each name once."""
    store = Store()
    gathered = Gathered(store.fetch)
    first = await asked(store, gathered, ["a"])
    others = [asyncio.create_task(gathered(name)) for name in ("b", "a", "none", "b")]
    await asyncio.sleep(0)
    store.open.set()
    assert await asyncio.gather(*first, *others) == [b"a", b"b", b"a", None, b"b"]
    assert store.commands == [["a"], ["b", "a", "none"]]


async def test_a_fault_is_told_to_all_who_wait_and_to_nobody_later() -> None:
    """The next read is a new command."""
    store = Store()
    gathered = Gathered(store.fetch)
    tasks = await asked(store, gathered, ["a", "b"])
    store.broken = True
    store.open.set()
    for task in tasks:
        with pytest.raises(Unavailable):
            await task
    store.broken = False
    assert await gathered("a") == b"a"


async def test_who_goes_away_takes_nothing_from_others() -> None:
    """A reader that is cancelled leaves the answer to those who asked for the same."""
    store = Store()
    gathered = Gathered(store.fetch)
    gone, waits = await asked(store, gathered, ["a", "a"])
    await end(gone)
    store.open.set()
    assert await waits == b"a"
