# SPDX-License-Identifier: Apache-2.0
"""One subscriber of a bus."""

import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from nerv.bus.lanes import LaneSet
from nerv.bus.model import Handler, Selector
from nerv.types import Description, Health


class Subscription:
    """One handler under one selector. Ends with `cancel()`, at the end of its `with` block, or with its handler.

    `handled` and `failed` count events.
    """

    __slots__ = ("__weakref__", "_cancel", "_finalizer", "failed", "handled", "lanes", "name", "refer", "selector")

    def __init__(self, name: str, selector: Selector) -> None:
        self.name = name
        self.selector = selector
        self.refer: Callable[[], Handler | None] = lambda: None
        self.lanes: LaneSet | None = None
        self.handled = 0
        self.failed = 0
        self._cancel: Callable[[], None] | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None

    def bind(self, cancel: Callable[[], None], owner: object | None) -> None:
        """`cancel` takes it off the bus; it is also called when `owner` is no more."""
        self._cancel = cancel
        if owner is not None:
            self._finalizer = weakref.finalize(owner, cancel)
            self._finalizer.atexit = False

    def cancel(self) -> None:
        """It gets no further event; those in its lanes are dropped. Harmless to repeat."""
        if self._finalizer is not None:
            self._finalizer.detach()
        if self._cancel is not None:
            self._cancel()

    def describe(self) -> Description:
        """The subscriber as data."""
        selector = self.selector if isinstance(self.selector, str) else getattr(self.selector, "__name__", "predicate")
        counters = {"handled": self.handled, "failed": self.failed}
        if self.lanes is not None:
            counters |= {"queued": self.lanes.queued, "dropped": self.lanes.dropped}
        health = Health.DEGRADED if self.failed else Health.OK
        return Description("Subscription", self.name, inputs=(selector,), counters=counters, health=health)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
