# SPDX-License-Identifier: Apache-2.0
"""Topics, by the broker: publish events and read them as they come."""

import base64
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

import orjson
import structlog

from nerv.client.sse import subscription
from nerv.client.transport import DEADLINE_SECONDS, Transport
from nerv.cloudevents.http_binding import BATCH
from nerv.cloudevents.json_format import from_mapping, to_structured
from nerv.types import Event, format_instant

log = structlog.get_logger(__name__)

MOST_EVENTS = 500  # events a request; the broker's limit
MOST_BYTES = 900_000  # bytes a request, below the broker's limit of 1 MiB


@dataclass(frozen=True, slots=True)
class Published:
    """Where an event stands. Kafka has it on every replica that it must be on.

    `duplicate`: it stood there before, and was not written again. `dropped` names the middleware that dropped it, by the rules
    of the app; then it stands nowhere (-1). `deadletter`: it does not fit, and its topic keeps such events as dead letters;
    this is the id of its letter, and `detail` why.
    """

    id: str
    partition: int
    offset: int
    dropped: str | None = None
    duplicate: bool = False
    deadletter: str | None = None
    detail: str | None = None

    @classmethod
    def of(cls, told: "dict[str, Any]") -> Self:
        """What the broker told of one event."""
        places = told.get("partition", -1), told.get("offset", -1)
        return cls(
            told["id"],
            *places,
            told.get("dropped"),
            told.get("duplicate", False),
            told.get("deadletter"),
            told.get("detail"),
        )


@dataclass(frozen=True, slots=True)
class Consumed:
    """An event and where it stands."""

    event: Event[bytes]
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it stands in Kafka. `timestamp` is ms; `key` or `value` may be None. Where to write it Kafka decides, unless
    `partition` is given; offset and timestamp are only told.
    """

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int | None = None
    offset: int | None = None
    timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events, and how fast. Types and subjects may end with `*`, none means all; `where` is a JMESPath expression over the
    data. `rate` is events a second at most, `speed` times as fast as they happened; without both as fast as can be.
    """

    types: Sequence[str] = ()
    subjects: Sequence[str] = ()
    where: str | None = None
    rate: float | None = None
    speed: float | None = None

    def query(self) -> dict[str, str | float | None]:
        """As parameters of the request."""
        names = {"types": ",".join(self.types) or None, "subjects": ",".join(self.subjects) or None}
        return names | {"where": self.where, "rate": self.rate, "speed": self.speed}


class Topics:
    """Implements publishing and consuming by calling the *broker*."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def find(self, topic: str, event_id: str, *, before: datetime | None = None) -> dict[str, Any]:
        """Where an event stands, by its id: `{topic, partition, offset, id, type, source, time, recorded_time, ...}`.

        It is looked for backwards from `before` (now), in a bounded number of records. Raises NotFound, saying how far.
        """
        query = {"id": event_id, "before": None if before is None else format_instant(before)}
        path = f"/v1/topics/{quote(topic, safe='')}/find"
        document: dict[str, Any] = (await self._transport.request("broker", "GET", path, query=query)).json()
        return document

    async def chain(self, topic: str, chains: Iterable[str], since: datetime) -> dict[str, Any]:
        """What a topic holds of chains of causes since an instant, by their correlation ids: `{events, looked, whole, until}`.

        Each event is as `find` has it. Within a bounded number of records: `looked` says how many, and where `whole` is false
        `until` up to when.
        """
        query = {"of": ",".join(chains), "from": format_instant(since)}
        path = f"/v1/topics/{quote(topic, safe='')}/chain"
        document: dict[str, Any] = (await self._transport.request("broker", "GET", path, query=query)).json()
        return document

    async def publish(
        self,
        topic: str,
        events: Sequence[Event[bytes]],
        *,
        once: bool = True,
        idempotency_key: str | None = None,
        seconds: float = DEADLINE_SECONDS,
    ) -> list[Published]:
        """Publish in the order given; answers the place of each. Call it concurrently to have more under way.

        An event that the topic has by source and id is not written again, for at least 24 hours or as many ids as the broker
        remembers: its first place is answered (`duplicate`); with other content IdConflict is raised. With an
        `idempotency_key` a repeat is known even if it makes its ids anew. Without `once` no id is looked at, which costs
        less: what is repeated after an unknown outcome may then be there twice.

        Large lists go in several requests, one after the other. Raises what the broker answered: then the requests before
        are published, and of this one `errors` says what became of each event; UnknownOutcome when all should be repeated.
        """
        deadline = time.monotonic() + seconds
        published: list[Published] = []
        for number, part in enumerate(_parts(events)):
            key = {} if idempotency_key is None else {"idempotency-key": f"{idempotency_key}/{number}"}
            answer = await self._transport.request(
                "broker",
                "POST",
                f"/v1/topics/{quote(topic, safe='')}/events",
                query={"guarantee": None if once else "at-least-once"},
                body=part,
                headers={"content-type": BATCH} | key,
                seconds=max(deadline - time.monotonic(), 0.1),
            )
            published += [Published.of(told) for told in answer.json()["events"]]
        return published

    async def publish_records(
        self, topic: str, records: Sequence[Record], *, seconds: float = DEADLINE_SECONDS
    ) -> "list[Published]":
        """Write bare records, to a topic that no app declares; answers the place of each, by an empty id. At most 500 at a time.

        A record has no id, so that nothing is repeated here: raises UnknownOutcome where it may have been written.
        """
        path = f"/v1/topics/{quote(topic, safe='')}/records"
        body = orjson.dumps([_document(record) for record in records])
        headers = {"content-type": "application/json"}
        answer = await self._transport.attempt("broker", "POST", path, None, body, headers, seconds)
        return [Published("", one["partition"], one["offset"]) for one in answer.json()["records"]]

    async def list(self, *, figures: bool = False) -> "list[dict[str, Any]]":
        """The topics there are, and what the app says of them; with `figures` also how many records and bytes they hold, how many
        events a second came in the last minute, and how far each group lags behind.
        """
        query = {"figures": "true"} if figures else {}
        answer = await self._transport.request("broker", "GET", "/v1/topics", query=query)
        found: list[dict[str, Any]] = answer.json()["topics"]
        return found

    async def about(self, topic: str) -> "dict[str, Any]":
        """One topic: its partitions, configuration and size, and how far each group lags behind."""
        answer = await self._transport.request("broker", "GET", f"/v1/topics/{quote(topic, safe='')}")
        found: dict[str, Any] = answer.json()
        return found

    async def create(
        self, topic: str, partitions: int, *, replication: int = -1, config: Mapping[str, str] | None = None
    ) -> bool:
        """Make a topic; answers False where it was there. Raises Conflict where it is there with other partitions."""
        body = orjson.dumps({"partitions": partitions, "replication": replication, "config": dict(config or {})})
        path, headers = f"/v1/topics/{quote(topic, safe='')}", {"content-type": "application/json"}
        answer = await self._transport.request("broker", "PUT", path, body=body, headers=headers)
        return answer.status == 201

    async def history(self, topic: str) -> "dict[str, Any]":
        """What the topic's middleware did on one replica: steps, counts, and its last events by id."""
        answer = await self._transport.request("broker", "GET", f"/v1/topics/{quote(topic, safe='')}/history")
        found: dict[str, Any] = answer.json()
        return found

    async def bridges(self) -> Sequence[dict[str, Any]]:
        """The app's bridges: ends, lag, and what one replica carried."""
        answer = await self._transport.request("broker", "GET", "/v1/bridges")
        found: Sequence[dict[str, Any]] = answer.json()["bridges"]
        return found

    async def consume(
        self, topic: str, start: str = "latest", wanted: Wanted = Wanted(), *, to: str | None = None
    ) -> AsyncIterator[Consumed]:
        """The events of a topic from `start` on: `earliest`, `latest`, an instant, or positions such as `0:42,1:17`: of these
        partitions alone, or, as `0:42,*`, of all others, too, from their beginning. For ever, or up to `to`, which is said as
        `start` is. A connection that breaks is made anew where it ended, without a gap and without a double.

        Raises what the broker answers when it will not change; at first, after 30 s, also what may.
        """
        query: dict[str, str | float | None] = {"from": start, "to": to}
        async with aclosing(self._read(topic, query | wanted.query())) as events:
            async for fields in events:
                partition, _, offset = fields["id"].partition(",")[0].partition(":")
                yield Consumed(from_mapping(orjson.loads(fields["data"])), int(partition), int(offset) - 1)

    async def records(
        self, topic: str, start: str = "latest", wanted: Wanted = Wanted(), *, to: str | None = None
    ) -> AsyncIterator[Record]:
        """The same as records, with key, value and headers as they stand in Kafka."""
        query: dict[str, str | float | None] = {"from": start, "to": to, "as": "record"}
        async with aclosing(self._read(topic, query | wanted.query())) as events:
            async for fields in events:
                found = orjson.loads(fields["data"])
                headers = [(name, _unpacked(value)) for name, value in found["headers"]]
                key, value = _unpacked(found["key"]), _unpacked(found["value"])
                yield Record(value, key, headers, found["partition"], found["offset"], found["timestamp"])

    async def _read(self, topic: str, query: dict[str, str | float | None]) -> "AsyncGenerator[dict[str, str], None]":
        """The server-sent events that are events or records."""
        path = f"/v1/topics/{quote(topic, safe='')}/events"
        async with aclosing(subscription(self._transport, "broker", path, query)) as events:
            async for fields in events:
                kind = fields.get("event")
                if kind == "range":  # what `to` means from now on, also for a connection that is made anew
                    query["to"] = orjson.loads(fields["data"])["to"]
                elif kind == "malformed":
                    log.warning("consume.malformed", topic=topic, found=fields["data"])
                else:
                    yield fields


def _document(record: Record) -> "dict[str, Any]":
    document: dict[str, Any] = {"headers": {name: (data or b"").decode() for name, data in record.headers}}
    for name, data in (("key", record.key), ("value", record.value)):
        if data is not None:
            document[f"{name}_base64"] = base64.b64encode(data).decode()
    return document if record.partition is None else document | {"partition": record.partition}


def _unpacked(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _parts(events: Sequence[Event[bytes]]) -> "list[bytes]":
    """Bodies of batches, each within the limits of number and size."""
    bodies: list[bytes] = []
    part: list[bytes] = []
    size = 2
    for event in events:
        document = orjson.dumps(to_structured(event))
        if part and (len(part) == MOST_EVENTS or size + len(document) > MOST_BYTES):
            bodies.append(b"[" + b",".join(part) + b"]")
            part, size = [], 2
        part.append(document)
        size += len(document) + 1
    if part:
        bodies.append(b"[" + b",".join(part) + b"]")
    return bodies
