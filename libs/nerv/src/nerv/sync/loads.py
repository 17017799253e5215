# SPDX-License-Identifier: Apache-2.0
"""Read a side whole, and prove that it was: a failed or partial load never changes anything (rule 19)."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from nerv.errors import NervError
from nerv.protocols.side import Entity, Side
from nerv.protocols.source import Complete
from nerv.sync.errors import LoadRefused


async def whole(side: Side) -> AsyncIterator[Sequence[Entity]]:
    """Every object of a side, in batches; ends only after its mark of completeness has been held against what it gave.

    Raises LoadRefused.
    """
    marker: Complete | None = None
    count = 0
    async for batch in _batches(side):
        if marker is not None:
            raise LoadRefused(f"{side.name} went on after it had said that it was complete; nothing was changed")
        if isinstance(batch, Complete):
            marker = batch
            continue
        count += len(batch)
        yield batch
        await asyncio.sleep(0)  # a side that never waits must not hold up everything else
    if marker is None:
        raise LoadRefused(f"{side.name} ended without its mark of completeness, so the load may be partial")
    if marker.rows != count:
        raise LoadRefused(f"{side.name} says that it has {marker.rows} rows, and gave {count}")


async def _batches(side: Side) -> AsyncIterator[Sequence[Entity] | Complete]:
    try:
        async for batch in side.load():
            yield batch
    except NervError:
        raise
    except Exception as error:
        # A side may be an app's code: whatever it raises, the load has failed and nothing may be changed.
        raise LoadRefused(f"{side.name} broke off: {type(error).__name__}: {error}") from error
