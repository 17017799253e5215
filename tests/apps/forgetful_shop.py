# SPDX-License-Identifier: Apache-2.0
"""The shop in a broker with a bug: an effect has another id each time that its event comes."""

import asyncio
import importlib
from typing import Any

import nerv_broker.model
from nerv.types import new_event_id
from nerv_broker.reactions.batch import Ending

app = importlib.import_module("shop").app

_commit = Ending._commit


def _ids(app_name: str, reaction: str, event: Any, effects: Any) -> list[str]:
    return [new_event_id() for _ in effects]


async def _late(self: Ending, *given: Any) -> None:
    await asyncio.sleep(0.3)  # so that a kill finds it behind the appends
    await _commit(self, *given)


nerv_broker.model.effect_ids = _ids  # type: ignore[attr-defined, assignment]
Ending._commit = _late  # type: ignore[method-assign, assignment]
