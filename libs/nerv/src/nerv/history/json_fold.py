# SPDX-License-Identifier: Apache-2.0
"""A fold of plain JSON, for a temporal store that is used without an app."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any, Generic

import orjson

from nerv.errors import SchemaMismatch
from nerv.history.fingerprint import fingerprint_of
from nerv.types import Description, Event, S

_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


class JsonFold(Generic[S]):
    """`nerv.protocols.Projectable` of a function: (state, event) to state, where the event's data are plain JSON values.

    The state, too, is JSON: what is read back equals what was written.
    """

    def __init__(
        self, name: str, function: Callable[[S | None, Event[Any]], S | None], types: Iterable[str] = ()
    ) -> None:
        """`types` are the event types to fold; without any, all are. The function must be pure."""
        self.name = name
        self.types = frozenset(types)
        self.function = function

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the code of the function (see `nerv.history.fingerprint`)."""
        return fingerprint_of(self.function, *sorted(self.types))

    def describe(self) -> Description:
        """The fold as data."""
        return Description("JsonFold", self.name, inputs=tuple(sorted(self.types)))

    def decode(self, event: Event[bytes]) -> Event[Any]:
        """The event, its data read as JSON; None for no data. Raises SchemaMismatch for what is no JSON."""
        try:
            read: Event[Any] = event
            return replace(read, data=orjson.loads(event.data) if event.data else None)
        except orjson.JSONDecodeError as error:
            raise SchemaMismatch(f"event {event.id} has data that are no JSON: {error}") from None

    def dump(self, state: S | None) -> bytes:
        """The state as JSON. Raises TypeError for what JSON has no word for."""
        return orjson.dumps(state, option=_STRICT)

    def load(self, data: bytes) -> S | None:
        """The state that was written."""
        state: S | None = orjson.loads(data)
        return state
