# SPDX-License-Identifier: Apache-2.0
"""Waiting until views show what a reader has written."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from nerv.errors import Unavailable
from nerv.protocols.views import Cursor, Epoch, Move
from nerv.testing.memory_views import MemoryViews
from nerv_projector import positions
from nerv_projector.positions import covered
from nerv_projector.sources import Sources

EPOCH = Epoch("now", {}, {0: 0, 1: 0}, {0: 9, 1: 9})
ZERO = Cursor("id", 0)


async def begun() -> tuple[MemoryViews, Any]:
    """Views of two partitions, and the runner of a straight projection that reads them."""
    views = MemoryViews()
    await views.begin(EPOCH, {0: ZERO, 1: ZERO}, instead_of=None)
    hosted = SimpleNamespace(views=views, lanes=("fold",), sources=Sources(("m.history.v1",), {}))
    return views, SimpleNamespace(name="plane", epoch=EPOCH, hosted=hosted)


async def test_a_position_is_waited_for_until_the_event_there_is_folded() -> None:
    """Of every partition that is named; the event at the offset itself counts."""
    views, runner = await begun()
    watermarks: Any = SimpleNamespace(partitions=2)
    waiting = asyncio.create_task(covered(runner, watermarks, {0: 3, 1: 0}))
    for partition, seen, offset in ((0, ZERO, 3), (1, ZERO, 1), (0, Cursor("id", 3), 4)):
        for _ in range(5):
            await asyncio.sleep(positions.ASK_SECONDS)
        assert not waiting.done()
        await views.apply(EPOCH, {partition: Move(seen.to_bytes(), Cursor("id", offset))}, {})
    await waiting


async def test_who_has_waited_long_enough_is_told_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is answered that does not show the position."""
    monkeypatch.setattr(positions, "WAIT_SECONDS", 0.0)
    _, runner = await begun()
    watermarks: Any = SimpleNamespace(partitions=2)
    with pytest.raises(Unavailable, match="does not show that position"):
        await covered(runner, watermarks, {0: 3})
