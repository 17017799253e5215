# SPDX-License-Identifier: Apache-2.0
"""Stop a task whose run is cancelled: while it is called, and not while what it gave is recorded."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from nerv.protocols.queue import Claim

T = TypeVar("T")


class StoppedError(Exception):
    """The task was stopped because its run is cancelled."""


class Interruptions:
    """The calls that can be stopped, by the entries of their claims."""

    def __init__(self) -> None:
        self._calls: dict[str, asyncio.Task[Any]] = {}
        self._stopped: set[str] = set()

    async def guard(self, claims: Sequence[Claim], call: Coroutine[Any, Any, T]) -> T:
        """What `call` gives or raises, made for these claims of one run.

        Raises StoppedError once `stop` was called; a thread goes on, and nobody hears it.
        """
        task = asyncio.ensure_future(call)
        entries = {claim.entry for claim in claims}
        self._calls |= dict.fromkeys(entries, task)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            if entries & self._stopped:
                raise StoppedError(f"{claims[0].node} of run {claims[0].run}") from None
            raise
        finally:
            for entry in entries:
                del self._calls[entry]
            self._stopped -= entries

    def stop(self, claim: Claim) -> None:
        """Stop a claim's task if it is being called."""
        task = self._calls.get(claim.entry)
        if task is not None and not task.done():
            self._stopped.add(claim.entry)
            task.cancel()
