# SPDX-License-Identifier: Apache-2.0
"""The shop in a broker with a bug: it commits the offsets of a batch, and performs what was asked for after that."""

import asyncio
import importlib
from typing import Any

from nerv_broker.reactions.batch import Ending

app = importlib.import_module("shop").app

_end = Ending.end


async def _hasty(self: Ending, answers: Any, rubbish: Any, offsets: Any, consumer: Any) -> None:
    await self._producer.commit([], offsets, consumer)
    await asyncio.sleep(0.3)  # so that a kill finds it between the two
    await _end(self, answers, rubbish, {}, consumer)


Ending.end = _hasty  # type: ignore[method-assign]
