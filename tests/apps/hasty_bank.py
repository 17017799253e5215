# SPDX-License-Identifier: Apache-2.0
"""The bank in a scheduler with a bug: it goes on before a task's effects are performed."""

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from nerv.errors import NervError
from nerv_scheduler.effects import Performer

app = importlib.import_module("bank").app

_perform = Performer.perform
_tasks: set[asyncio.Task[None]] = set()


async def _later(
    self: Performer, effects: Sequence[Mapping[str, Any]], performed: int = 0
) -> tuple[int, NervError | None]:
    async def perform() -> None:
        await asyncio.sleep(0.5)  # so that a kill finds it before the effect
        await _perform(self, effects, performed)

    task = asyncio.create_task(perform())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return len(effects), None


Performer.perform = _later  # type: ignore[method-assign]
