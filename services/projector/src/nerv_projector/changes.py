# SPDX-License-Identifier: Apache-2.0
"""What a batch changes, as events on `<mesh>.changes.<projection>.v1`: from which version of a view to which, and the delta.

A follower that is not at `from_version`, or not in `epoch`, reads the view again. A batch that comes again after a crash may
be cut otherwise; each of its deltas is true all the same, for a fold of the same events gives the same.

When another version goes live, a part of it may have folded what the one before has not told yet, and will not tell any more. So
the owner of each partition says in every partition of the topic that it is live (`<projection>.live.v1`: `epoch`, `version`),
after what it wrote before and ahead of its first delta: at that, a follower reads its views again, and misses nothing.
"""

import uuid
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import orjson

from nerv.cloudevents import Incoming
from nerv.kafka import Outgoing
from nerv.kafka.producer import Producer
from nerv.protocols.views import Epoch
from nerv.state import written_between
from nerv.telemetry.traffic import saw
from nerv.types import format_instant, utc_now
from nerv_projector.model import Entity

Cause = tuple[bytes, bytes, bytes]
"""Id, time and chain of the event that a change is of. The events of thousands of keys would be kept with all that they hold."""

Change = tuple[str, int, bytes, Entity[Any], Cause]
"""A key, its version and its state before a batch, what it is after it, and the last event that was folded."""


def cause_of(event: Incoming) -> Cause:
    """What is kept of the event. A chain that it does not name begins with it. Raises Invalid where its record has no time and
    its envelope is wrong.
    """
    name, time, chain = event.id_time_chain
    if name is None or time is None:
        found = event.event()
        name, time = found.id.encode(), format_instant(found.time).encode()
    return name, time, chain or name


def change_type(projection: str) -> str:
    """The type of these events."""
    return f"{projection}.changed.v1"


def live_type(projection: str) -> str:
    """The type of the events that say which version is live."""
    return f"{projection}.live.v1"


class Feed(Protocol):
    """Where deltas go. At least once, and before the views that they lead to are written."""

    def since(self) -> int | None:
        """By which decision the version is live, as a number; None while it is not, and tells nobody what it changes."""
        ...

    async def write(self, epoch: Epoch, changes: list[Change], told: int | None) -> int | None:
        """Write, and wait until they are durable; before them, that the version is live, unless that is `told` already.

        Answers what is told then. Raises what Kafka met.
        """
        ...


class Changes:
    """The changes of one version of a projection; one that is not live tells nobody."""

    def __init__(
        self, producer: Producer, topic: str, projection: str, partitions: int, version: int = 1,
        since: Callable[[], int | None] = lambda: 0,
    ) -> None:  # fmt: skip
        self.topic, self.since = topic, since
        self._producer, self._projection = producer, projection
        self._partitions, self._version = partitions, version
        self._alike = _alike(change_type(projection))

    async def write(self, epoch: Epoch, changes: list[Change], told: int | None) -> int | None:
        """Write, and wait until Kafka has all of them."""
        since = self.since()
        if since is None:
            return None
        token = epoch.token.encode()
        records = [] if since == told else list(self._is_live(token, since))
        records += [self.record(token, *change) for change in changes]
        await self._producer.publish_all(records)
        saw(f"projection:{self._projection}", f"topic:{self.topic}", len(changes))
        return since

    def _is_live(self, epoch: bytes, since: int) -> Iterator[Outgoing]:
        """In each partition, for keys of one owner's partition may be in any."""
        data = b'{"epoch":"%b","version":%d}' % (epoch, self._version)
        headers = [
            *_alike(live_type(self._projection)),
            ("ce_id", b"%b/live/%d/%b" % (epoch, since, uuid.uuid4().hex.encode())),
            ("ce_subject", self._projection.encode()),
            ("ce_time", format_instant(utc_now()).encode()),
        ]
        for partition in range(self._partitions):
            yield Outgoing(self.topic, data, None, headers, partition)

    def record(self, epoch: bytes, key: str, version: int, state: bytes, after: Entity[Any], cause: Cause) -> Outgoing:
        """One change as a record. It happened when its cause did; its id is that of both versions, so that it is the same when
        it is written again, and another's when a batch comes again that is cut otherwise."""
        name, (event, time, chain) = key.encode(), cause
        first, last = b"%d" % version, b"%d" % after.version
        data = b'{"key":%b,"epoch":"%b","from_version":%b,"to_version":%b,"changes":%b}' % (
            orjson.dumps(key),
            epoch,
            first,
            last,
            written_between(state, after.data),
        )
        own = [
            *self._alike,
            ("ce_id", b"%b/%b/%b/%b" % (epoch, name, first, last)),
            ("ce_subject", name),
            ("ce_time", time),
            ("ce_causationid", event),
            ("ce_correlationid", chain),
        ]
        return Outgoing(self.topic, data, name, own)


def _alike(kind: str) -> list[tuple[str, bytes]]:
    """The headers that all events of a type share."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_source", b"nerv:projector"),
        ("ce_type", kind.encode()),
        ("content-type", b"application/json"),
    ]
