# SPDX-License-Identifier: Apache-2.0
"""The shop in a broker that dies, once for each file `die`, when a replay stands and before the books are told."""

import importlib
import os
from typing import Any

from nerv_broker.reactions.parking import Parks

shop = importlib.import_module("shop")
app = shop.app

_settle = Parks.settle


async def _dies(self: Parks, name: str, done: Any, waiting: Any) -> None:
    if done and (shop.FOLDER / "die").exists():
        (shop.FOLDER / "die").unlink()
        os._exit(9)
    await _settle(self, name, done, waiting)


Parks.settle = _dies  # type: ignore[method-assign]
