# SPDX-License-Identifier: Apache-2.0
"""Streams of history, over HTTP: the port `History`, and states as of any version or instant."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any
from urllib.parse import quote

import orjson

from nerv.api.event.v1 import event_pb2
from nerv.api.history.v1 import history_pb2
from nerv.client import positions
from nerv.client.positions import Positions
from nerv.client.sse import subscription
from nerv.client.transport import DEADLINE_SECONDS, FIRST_PAUSE, LONGEST_PAUSE, Query, Transport
from nerv.cloudevents import from_proto, to_proto
from nerv.cloudevents.json_format import from_mapping
from nerv.cloudevents.proto_format import from_us
from nerv.errors import Invalid, NervError, Retry, Unavailable, UnknownOutcome, from_problem
from nerv.protocols.history import Appended, AppendOutcome, AppendRequest, Expect, Followed, Latest, ReadQuery
from nerv.types import Event, format_instant

PROTOBUF = "application/x-protobuf"
PAGE = 1000  # events a request
STATES = 500  # states a request
BATCH = 500  # requests a message, and streams that are asked for at a time

Report = Callable[[int, int], None]

_EXPECT = {
    Expect.ANY: history_pb2.EXPECT_ANY,
    Expect.NONE: history_pb2.EXPECT_NONE,
    Expect.EXISTS: history_pb2.EXPECT_EXISTS,
    Expect.EXACT: history_pb2.EXPECT_EXACT,
}


class Streams:
    """Implements `nerv.protocols.History` and `Subscribable` by calling *temporal*.

    What was appended through this object is seen by its later reads, whichever replica answers them.
    """

    log_id = "history"  # positions hold on every replica, for ever

    def __init__(self, transport: Transport, positions: Positions | None = None) -> None:
        self._transport = transport
        self.positions = positions or Positions()

    async def append(
        self, requests: Sequence[AppendRequest], *, seconds: float = DEADLINE_SECONDS
    ) -> list[AppendOutcome]:
        """Append to many streams, each request for itself; outcomes in order (see `History.append`)."""
        deadline = time.monotonic() + seconds
        outcomes: list[AppendOutcome] = []
        for start in range(0, len(requests), BATCH):
            outcomes += await self._append_part(requests[start : start + BATCH], deadline)
            if any(_may_repeat(outcome) for outcome in outcomes[start:]):
                # Going on would let a later request of a stream overtake the one that has no verdict.
                missing = len(requests) - len(outcomes)
                outcomes += [Unavailable("not sent: an earlier request of this call has no verdict")] * missing
                break
        return outcomes

    async def _append_part(self, part: Sequence[AppendRequest], deadline: float) -> list[AppendOutcome]:
        """One message, and again for the requests in it that have no verdict yet. Their ids make that harmless.

        The next message waits for it, so that the order of a stream's requests holds.
        """
        outcomes: list[AppendOutcome] = await self._send(part, deadline)
        pause = FIRST_PAUSE
        while open_ones := [i for i, o in enumerate(outcomes) if _may_repeat(o)]:
            if time.monotonic() + pause >= deadline:
                break
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(2 * pause, LONGEST_PAUSE)
            again = await self._send([part[i] for i in open_ones], deadline)
            for i, outcome in zip(open_ones, again, strict=True):
                # Once unknown, "nothing was written this time" does not say what became of the first try.
                if not (isinstance(outcome, Unavailable) and isinstance(outcomes[i], UnknownOutcome)):
                    outcomes[i] = outcome
        return outcomes

    async def _send(self, part: Sequence[AppendRequest], deadline: float) -> list[AppendOutcome]:
        message = history_pb2.AppendBatch(requests=[append_message(request) for request in part])
        try:
            answer = await self._transport.request(
                "temporal",
                "POST",
                "/v1/streams",
                body=message.SerializeToString(),
                headers={"content-type": PROTOBUF},
                seconds=max(deadline - time.monotonic(), 0.1),
            )
        except (Unavailable, UnknownOutcome) as error:
            return [error] * len(part)  # raised, it would take the outcomes with it that are known by now
        reply = history_pb2.AppendBatchReply.FromString(answer.body)
        outcomes = [outcome_of(one) for one in reply.replies]
        self.positions.note(outcomes)
        return outcomes

    async def read(self, stream: str, query: ReadQuery = ReadQuery()) -> AsyncIterator[Event[bytes]]:
        """The events of one stream, fetched page by page."""
        async for page in self.pages(stream, query):
            for message in page:
                yield from_proto(message)

    def pages(self, stream: str, query: ReadQuery = ReadQuery()) -> AsyncIterator[Sequence[event_pb2.Event]]:
        """The same as they come over the wire, page by page: to fold events takes no envelope of each."""
        return self._pages(f"/v1/streams/{quote(stream, safe='')}/events", query, None)

    async def read_category(
        self, category: str | None, query: ReadQuery = ReadQuery(), *, report: Report | None = None
    ) -> AsyncIterator[Event[bytes]]:
        """The events of all streams of a category in the order of recording, fetched page by page.

        `report` hears after each page but the last how many places of the log the read has passed, and how many it will pass:
        offsets of Kafka, of which events have a share.
        """
        async for page in self._pages("/v1/streams", query, category, report):
            for message in page:
                yield from_proto(message)

    def category_pages(
        self, category: str | None, query: ReadQuery = ReadQuery()
    ) -> AsyncIterator[Sequence[event_pb2.Event]]:
        """The same as `pages` gives those of one stream."""
        return self._pages("/v1/streams", query, category)

    async def latest(self, streams: Sequence[str], types: frozenset[str] = frozenset()) -> list[Latest]:
        """Of each stream the newest event of these types (see `History.latest`): a request for hundreds of streams."""
        found: list[Latest] = []
        headers = {"content-type": PROTOBUF, "accept": PROTOBUF}
        while len(found) < len(streams):
            asked = history_pb2.LatestRequest(streams=streams[len(found) : len(found) + BATCH], types=sorted(types))
            params, body = self.positions.params(), asked.SerializeToString()
            answer = await self._transport.request(
                "temporal", "POST", "/v1/streams/latest", query=params, headers=headers, body=body
            )
            found += map(_latest, history_pb2.LatestReply.FromString(answer.body).streams)
        return found

    async def _pages(
        self, path: str, query: ReadQuery, category: str | None, report: Report | None = None, after: str | None = None
    ) -> AsyncIterator[Sequence[event_pb2.Event]]:
        left = query.limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            params = self.positions.params() | query_params(query)
            params |= {"category": category, "limit": size, "after": after}
            answer = await self._transport.request("temporal", "GET", path, query=params, headers={"accept": PROTOBUF})
            events = event_pb2.EventBatch.FromString(answer.body).events
            yield events
            after = answer.headers.get("nerv-next")
            if after is None:
                return
            if report is not None:
                report(*_passed(after))
            left = None if left is None else left - len(events)

    def subscribe(
        self, stream: str, *, after: str | None = None, query: ReadQuery = ReadQuery()
    ) -> AsyncGenerator[Followed, None]:
        """Those there are, then those that come (see `Subscribable.subscribe`).

        A connection that breaks is made anew, to any replica, after the last event. Data that are JSON may come with other
        white space than they were appended with.
        """
        return self._follow(f"/v1/streams/{quote(stream, safe='')}/events", {}, after, query)

    def subscribe_category(
        self, category: str | None, *, after: str | None = None, query: ReadQuery = ReadQuery()
    ) -> AsyncGenerator[Followed, None]:
        """Those there are, then those that come (see `Subscribable.subscribe_category`), as `subscribe` reads them."""
        return self._follow("/v1/streams", {"category": category}, after, query)

    async def _follow(
        self, path: str, of: Query, after: str | None, query: ReadQuery
    ) -> AsyncGenerator[Followed, None]:
        if after == "":  # which server-sent events take for none
            raise Invalid("after must be the position of an earlier event; leave it out to begin at the beginning")
        left = query.limit
        params = {**query_params(query), **of, "limit": left, "follow": "true"}
        async with aclosing(subscription(self._transport, "temporal", path, params, after)) as events:
            async for fields in events:
                yield Followed(from_mapping(orjson.loads(fields["data"])), fields["id"])
                if left is not None:
                    left = params["limit"] = left - 1  # of a connection that is made anew
                    if left == 0:
                        return

    async def end(self) -> str:
        """The position now (see `Subscribable.end`). Later reads show what is before it, whoever answers them: a replica that was
        deposed and does not know it yet may have less.
        """
        params = self.positions.params() | {"direction": "backward", "limit": 1}
        answer = await self._transport.request("temporal", "GET", "/v1/streams", query=params)
        position = str(answer.json()["position"])
        self.positions.reached(position)
        return position

    async def between(self, category: str | None, after: str, until: str) -> AsyncIterator[Event[bytes]]:
        """The events from one position to another (see `Subscribable.between`)."""
        if (ranges := positions.between(after, until)) is None:
            return
        async for page in self._pages("/v1/streams", ReadQuery(), category, after=ranges):
            for message in page:
                yield from_proto(message)

    async def state(
        self,
        stream: str,
        *,
        projection: str | None = None,
        version: int | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        deleted: bool = False,
    ) -> dict[str, Any]:
        """The state of a stream as a projection of the app folds it: `{stream, projection, version, state, ...}`."""
        answer = await self._transport.request(
            "temporal",
            "GET",
            f"/v1/streams/{quote(stream, safe='')}/state",
            query=self.positions.params()
            | {
                "projection": projection,
                "version": version,
                "as_of": _instant(as_of),
                "known_at": _instant(known_at),
                "deleted": "true" if deleted else None,
            },
        )
        document: dict[str, Any] = answer.json()
        return document

    async def states(
        self,
        category: str,
        *,
        projection: str | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        deleted: bool = False,
    ) -> AsyncIterator[dict[str, Any]]:
        """The state of each stream of a category, by name: `{stream, version, state, as_of, known_at}`.

        All hold for one recorded instant, which is now unless `known_at` is given; streams that had no event by then, or were
        deleted, are left out, the latter unless `deleted`.
        """
        known, after = _instant(known_at), None
        while True:
            query: Query = {
                **self.positions.params(),
                "category": category,
                "projection": projection,
                "as_of": _instant(as_of),
                "known_at": known,
                "deleted": "true" if deleted else None,
                "after": after,
                "limit": STATES,
            }
            page = (await self._transport.request("temporal", "GET", "/v1/streams/states", query=query)).json()
            for row in page["states"]:
                yield {**row, "as_of": page["as_of"], "known_at": page["known_at"]}
            known, after = page["known_at"], page["next"]
            if after is None:
                return

    async def chain(self, of: str, *, limit: int = 1000) -> dict[str, Any]:
        """The events of a chain of causes in all streams, without their data, by its correlation id (the id of what began it):
        `{chain, events: [{stream, version, id, type, source, causation_id, traceparent, ...}], hidden, whole}`.
        """
        query: Query = {"of": of, "limit": limit}
        answer = await self._transport.request("temporal", "GET", "/v1/streams/chain", query=query)
        document: dict[str, Any] = answer.json()
        return document

    async def find(self, event_id: str, *, before: datetime | None = None) -> dict[str, Any]:
        """An event of history by its id alone, as `chain` has it, but without its place in Kafka.

        It is looked for in the streams of a bounded number of events before an instant. Raises NotFound, saying how far.
        """
        query: Query = {"id": event_id, "before": None if before is None else format_instant(before)}
        answer = await self._transport.request("temporal", "GET", "/v1/streams/find", query=query)
        document: dict[str, Any] = answer.json()
        return document

    async def diff(
        self,
        stream: str,
        first: int | datetime,
        second: int | datetime,
        *,
        by: str | None = None,
        projection: str | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        deleted: bool = False,
    ) -> dict[str, Any]:
        """What changed in the state of a stream: `{from, to, changes: [{path, old, new}], ...}`.

        Between two versions, or two instants: of valid time, or of recorded time with `by="known_at"`. `old` is missing from
        a change where nothing stood, `new` where nothing stands any more.
        """
        query = self.positions.params() | {
            "from": _place(first),
            "to": _place(second),
            "by": by,
            "projection": projection,
            "as_of": _instant(as_of),
            "known_at": _instant(known_at),
            "deleted": "true" if deleted else None,
        }
        path = f"/v1/streams/{quote(stream, safe='')}/diff"
        document: dict[str, Any] = (await self._transport.request("temporal", "GET", path, query=query)).json()
        return document


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else format_instant(instant)


def _place(place: int | datetime) -> str:
    return str(place) if isinstance(place, int) else format_instant(place)


def _may_repeat(outcome: AppendOutcome) -> bool:
    return isinstance(outcome, NervError) and outcome.retry is not Retry.NEVER


def query_params(query: ReadQuery) -> dict[str, str | int | None]:
    """A read query as parameters of an HTTP request."""
    return {
        "from": query.from_version if query.from_version != 1 else None,
        "to": query.to_version,
        "direction": "backward" if query.backward else None,
        "types": ",".join(sorted(query.types)) or None,
        "streams": ",".join(sorted(query.streams)) or None,
        "as_of": _instant(query.as_of),
        "known_at": _instant(query.known_at),
        "deleted": "true" if query.deleted else None,
        "recorded_from": _instant(query.recorded_from),
    }


def append_message(request: AppendRequest) -> history_pb2.AppendRequest:
    """The message of an append request."""
    return history_pb2.AppendRequest(
        stream=request.stream,
        expect=_EXPECT[request.expected.kind],
        expected_version=request.expected.version,
        events=[to_proto(event) for event in request.events],
    )


def outcome_of(reply: history_pb2.AppendReply) -> AppendOutcome:
    """The outcome that a reply stands for."""
    if reply.HasField("appended"):
        done = reply.appended
        return Appended(
            done.first_version,
            done.last_version,
            done.position.partition,
            done.position.offset,
            from_us(done.recorded_time_us),
            done.duplicate,
        )
    return _error(reply.refused if reply.HasField("refused") else reply.failed)


def _error(problem: history_pb2.Problem) -> NervError:
    errors = orjson.loads(problem.errors) if problem.errors else []
    document = {"type": problem.type, "title": problem.title, "detail": problem.detail, "errors": errors}
    return from_problem(document, problem.status, problem.retry_after_seconds or None)


def _latest(message: history_pb2.Latest) -> Latest:
    if not message.version:
        return Latest()
    event: Event[bytes] | None = from_proto(message.event) if message.HasField("event") else None
    return Latest(message.version, from_us(message.time_us), event)


def _passed(token: str) -> tuple[int, int]:
    """How far a read of all partitions, from their beginnings, has come by its token, `0:42-100,1:17-90`; and how far it goes."""
    left = [part.partition(":")[2].partition("-") for part in token.split(",")]
    return sum(int(low) for low, _, _ in left), sum(int(high) for _, _, high in left)
