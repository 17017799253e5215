# SPDX-License-Identifier: Apache-2.0
"""Lua scripts, each in a file of its own beside the code that calls it; loaded once, run by digest."""

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from nerv.redis.connection import Redis, mapped
from nerv.types import Description


class Scripts:
    """The scripts of one package folder, by file name: `Scripts(client, "nerv_projector.views")("apply", keys, args)`.

    A file `preamble.lua` stands before each of the others. redis-py runs them by EVALSHA, and loads them again after a
    SCRIPT FLUSH.
    """

    def __init__(self, client: Redis, package: str) -> None:
        self.name = package
        self._calls: Counter[str] = Counter()
        found = [entry for entry in files(package).iterdir() if entry.name.endswith(".lua")]
        texts = {entry.name.removesuffix(".lua"): entry.read_text(encoding="utf-8") for entry in found}
        shared = texts.pop("preamble", "")
        self._scripts = {name: client.register_script(shared + text) for name, text in texts.items()}

    async def __call__(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int | float]) -> Any:
        """Run one script. Raises Unavailable, UnknownOutcome or Invalid."""
        self._calls[name] += 1
        with mapped(name):
            return await self._scripts[name](keys=list(keys), args=list(args))

    def describe(self) -> Description:
        """The scripts as data: which there are, and how often each was run."""
        return Description("Scripts", self.name, inputs=tuple(sorted(self._scripts)), counters=dict(self._calls))
