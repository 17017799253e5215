# SPDX-License-Identifier: Apache-2.0
"""Observable: what can be listened to without knowing who listens."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from nerv.types import Description, Event

if TYPE_CHECKING:
    from nerv.bus import Handler, Lanes, Selector, Subscription


class Observable(Protocol):
    """Tells subscribers what happens, as events. At most once, to each in the order in which it happened.

    A subscriber is not kept alive by it unless `weak=False`, and one that raises harms no other: its error is an event of
    type `nerv.bus.subscriber-failed.v1`. Implemented by `nerv.bus.EventBus` (whatever is sent) and by
    `nerv.projections.StateProjector` (what changed in a state).
    """

    def subscribe(
        self,
        selector: "Selector",
        handler: "Handler",
        *,
        name: str | None = None,
        weak: bool = True,
        lanes: "Lanes | None" = None,
        replay: int | bool = False,
    ) -> "Subscription":
        """Call `handler(event)` for every event that is selected, first for those of the history that `replay` asks for.

        The same pair again is the same subscription. Raises Invalid for what cannot be called or cannot select.
        """
        ...

    def history(
        self, selector: "Selector | None" = None, *, since: datetime | None = None, limit: int | None = None
    ) -> list[Event[Any]]:
        """What was told, oldest first, as far as it is kept: with `time` from `since` on; of these the last `limit`."""
        ...

    async def drain(self) -> None:
        """Until whatever was told so far has been handled by everybody who has lanes."""
        ...

    def describe(self) -> Description:
        """What it is, who listens and how many events there were."""
        ...
