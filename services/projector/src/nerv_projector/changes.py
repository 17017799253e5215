# SPDX-License-Identifier: Apache-2.0
"""What a batch changes, as events on `<mesh>.changes.<projection>.v1`: from which version of a view to which, and the delta.

A follower that is not at `from_version`, or not in `epoch`, reads the view again. A batch that comes again after a crash may
be cut otherwise; each of its deltas is true all the same, for a fold of the same events gives the same.
"""

from collections.abc import Callable
from typing import Any, Protocol

import orjson

from nerv.cloudevents import Incoming
from nerv.kafka import Outgoing
from nerv.kafka.producer import Producer
from nerv.protocols.views import Epoch
from nerv.state import written_between
from nerv.types import format_instant
from nerv_projector.model import Entity

Change = tuple[str, Entity[Any], Entity[Any], Incoming]
"""A key, what it was before a batch and what it is after it, and the last event that was folded."""


def change_type(projection: str) -> str:
    """The type of these events."""
    return f"{projection}.changed.v1"


class Feed(Protocol):
    """Where deltas go. At least once, and before the views that they lead to are written."""

    async def write(self, epoch: Epoch, changes: list[Change]) -> None:
        """Write, and wait until they are durable. Raises what Kafka met."""
        ...


class Changes:
    """The changes of one version of a projection; one that is not live tells nobody."""

    def __init__(
        self, producer: Producer, topic: str, projection: str, live: Callable[[], bool] = lambda: True
    ) -> None:
        self.topic, self._live = topic, live
        self._producer = producer
        self._alike = [
            ("ce_specversion", b"1.0"),
            ("ce_source", b"nerv:projector"),
            ("ce_type", change_type(projection).encode()),
            ("content-type", b"application/json"),
        ]

    async def write(self, epoch: Epoch, changes: list[Change]) -> None:
        """Write, and wait until Kafka has all of them."""
        if not self._live():
            return
        token = epoch.token.encode()
        await self._producer.publish_all([self.record(token, *change) for change in changes])

    def record(self, epoch: bytes, key: str, before: Entity[Any], after: Entity[Any], cause: Incoming) -> Outgoing:
        """One change as a record. It happened when its cause did; its id is the same when it is written again."""
        name, headers = key.encode(), cause.headers
        version = b"%d" % after.version
        data = b'{"key":%b,"epoch":"%b","from_version":%d,"to_version":%b,"changes":%b}' % (
            orjson.dumps(key),
            epoch,
            before.version,
            version,
            written_between(before.data, after.data),
        )
        own = [
            *self._alike,
            ("ce_id", b"/".join((epoch, name, version))),
            ("ce_subject", name),
            ("ce_time", headers.get("ce_time") or format_instant(cause.event().time).encode()),
            ("ce_causationid", headers.get("ce_id") or cause.id.encode()),
        ]
        return Outgoing(self.topic, data, name, own)
