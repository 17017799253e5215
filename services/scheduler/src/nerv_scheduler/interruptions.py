# SPDX-License-Identifier: Apache-2.0
"""Stop a task whose run is cancelled: while it is called, and not while what it gave is recorded."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from nerv.protocols.queue import Claim

T = TypeVar("T")
Token = tuple[str, str]


class LostError(Exception):
    """The node is another replica's, or its run has been put into the queue anew; others go on with it."""


class HeldBackError(Exception):
    """The node waits for a place under its concurrency key; it comes again."""


class StoppedError(Exception):
    """The task was stopped because its run is cancelled."""


class Interruptions:
    """The calls that can be stopped, by the tokens of their claims."""

    def __init__(self) -> None:
        self._calls: dict[Token, asyncio.Task[Any]] = {}
        self._stopped: set[asyncio.Task[Any]] = set()

    async def guard(self, claims: Sequence[Claim], call: Coroutine[Any, Any, T]) -> T:
        """What `call` gives or raises, made for these claims of one run.

        Raises StoppedError once `stop` was called; a thread goes on, and nobody hears it.
        """
        task = asyncio.ensure_future(call)
        tokens = {claim.token for claim in claims}
        self._calls |= dict.fromkeys(tokens, task)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            if task in self._stopped:
                raise StoppedError(f"{claims[0].node} of run {claims[0].run}") from None
            raise
        finally:
            for token in tokens:
                # It may be called elsewhere by now: a quantum hands back what it has not begun.
                if self._calls.get(token) is task:
                    del self._calls[token]
            self._stopped.discard(task)

    def stop(self, claim: Claim) -> None:
        """Stop a claim's task if it is being called."""
        task = self._calls.get(claim.token)
        if task is not None and not task.done():
            self._stopped.add(task)
            task.cancel()
