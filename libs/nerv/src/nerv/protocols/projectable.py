# SPDX-License-Identifier: Apache-2.0
"""Projectable: a pure fold that makes a state of events, and how that state is written."""

from collections.abc import Callable
from typing import Any, Protocol

from nerv.types import Event, S


class Projectable(Protocol[S]):
    """Events in, a state out, the same for the same events whoever asks: views, time travel, rebuilds, tests.

    Nothing is read or written, and no state that was given in is changed. Implemented by `nerv.projections.Projection` (of an
    app, with its models) and by `nerv.history.JsonFold` (without an app).
    """

    @property
    def name(self) -> str:
        """Names it in caches and snapshots."""
        ...

    @property
    def types(self) -> frozenset[str]:
        """The event types it folds; no others are loaded. None at all means every type."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of the code that its states depend on: kept states of another one are not gone on from."""
        ...

    @property
    def function(self) -> Callable[[S | None, Any], S | None]:
        """The fold: (state, decoded event) to state. The state before the first event is None; None after it is removed."""
        ...

    def decode(self, event: Event[bytes]) -> Any:
        """The event as the fold takes it. Raises SchemaMismatch for data that it cannot be."""
        ...

    def dump(self, state: S | None) -> bytes:
        """The state as JSON. Raises TypeError or ValueError for one that is not of its kind."""
        ...

    def load(self, data: bytes) -> S | None:
        """The state that was written, equal to the one that was dumped."""
        ...
