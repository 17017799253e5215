# SPDX-License-Identifier: Apache-2.0
"""A state and the version of the stream that it was folded from."""

from datetime import datetime
from typing import Generic

from nerv.types.frozen import frozen
from nerv.types.ids import EntityId, VersionId
from nerv.types.variables import S


@frozen
class VersionedState(Generic[S]):
    """The state of `id` after its first `version` events; version 0 is before the first. On the wire `state` is bytes.

    `time` and `recorded_time` are those of the last event folded, UTC; None where nothing was.
    """

    id: EntityId
    version: VersionId
    state: S
    time: datetime | None = None
    recorded_time: datetime | None = None
