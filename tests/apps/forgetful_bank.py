# SPDX-License-Identifier: Apache-2.0
"""The bank in a scheduler with a bug: an effect has another id each time that it is performed."""

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from nerv.errors import NervError
from nerv.types import new_event_id
from nerv_scheduler.effects import Performer

app = importlib.import_module("bank").app

_perform = Performer.perform


async def _anew(
    self: Performer, effects: Sequence[Mapping[str, Any]], performed: int = 0
) -> tuple[int, NervError | None]:
    changed = [{**effect, "event": {**effect["event"], "id": new_event_id()}} for effect in effects]
    found = await _perform(self, changed, performed)
    await asyncio.sleep(0.3)  # so that a kill finds it behind the effect
    return found


Performer.perform = _anew  # type: ignore[method-assign]
