# SPDX-License-Identifier: Apache-2.0
"""What history holds of a category, read whole and bounded."""

from collections.abc import Mapping

from nerv.errors import TooLarge
from nerv.protocols import History
from nerv.sync.current import Current, CurrentState


async def read_current(history: History, category: str, limit: int) -> Mapping[str, Current]:
    """Every entity of a category with the version of its stream. Raises TooLarge beyond `limit` streams."""
    state = CurrentState(category)
    async for event in history.read_category(category):
        state.add(event)
        if len(state.entities) > limit:
            raise TooLarge(f"category {category} has more than {limit} streams; raise NERV_SYNC__ROWS if that is right")
    return state.entities
