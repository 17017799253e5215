# SPDX-License-Identifier: Apache-2.0
"""Whether temporal can be reached: without it sync can do nothing, and says so at `/readyz`."""

import asyncio
from types import TracebackType
from typing import Self

from nerv.client import Client
from nerv.errors import NervError

ASK_SECONDS = 5.0  # between questions while it answers; a fifth of that while it does not


class Reach:
    """Asks temporal now and then."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._fault: str | None = "temporal was not asked yet"

    def fault(self) -> str | None:
        """Why sync cannot work now, or None."""
        return self._fault

    async def __aenter__(self) -> Self:
        self._asking = asyncio.create_task(self._ask())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asking.cancel()
        await asyncio.wait({self._asking})

    async def _ask(self) -> None:
        while True:
            try:
                await self._client.about("temporal")
                self._fault = None
            except NervError as error:
                self._fault = error.detail
            await asyncio.sleep(ASK_SECONDS if self._fault is None else ASK_SECONDS / 5)
