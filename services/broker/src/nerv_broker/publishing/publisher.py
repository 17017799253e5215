# SPDX-License-Identifier: Apache-2.0
"""Publish once, by whichever replica owns the key of each event."""

from collections.abc import Callable, Mapping, Sequence

import orjson

from nerv.api.event.v1 import publish_pb2
from nerv.cloudevents import from_proto
from nerv.cloudevents.proto_format import to_proto
from nerv.errors import Forbidden, Internal, Invalid, Misconfigured, Unauthenticated, from_problem
from nerv.kafka import partition_of
from nerv.kafka.owning import Owners, Ownership
from nerv.service.forwarding import FORWARDED, Forwarder
from nerv.types import check_id
from nerv_broker.publishing.judging import HASH_BYTES, Outcome, Placed, Publication, owner_key
from nerv_broker.publishing.owner import PublicationOwner
from nerv_broker.publishing.receipts import Receipts

PATH = "/v1/publications"
PROTOBUF = "application/x-protobuf"


class Publisher(Forwarder):
    """Any replica takes any event. Use as `async with`."""

    def __init__(
        self,
        ownership: Ownership,
        owners: Owners[PublicationOwner],
        receipts: Receipts,
        token: Callable[[], str] | None,
    ) -> None:
        super().__init__(ownership, owners, receipts.address)
        self._partitions = ownership.partitions
        self._local = owners
        self._token = token

    async def publish(self, publications: Sequence[Publication], *, forwarded: bool = False) -> list[Outcome]:
        """Outcomes in order. Those of one topic and key are published in order; owners are asked side by side.

        What was `forwarded` to this replica is not forwarded again.
        """
        headers = {FORWARDED: "1"} if forwarded else {}

        async def ask(partition: int, part: Sequence[Publication]) -> Sequence[Outcome]:
            owner = self._local.serving(partition)
            if owner is not None:
                return await owner.publish(part)
            return await self._hand_over(partition, part, headers)

        return await self.spread(publications, lambda one: partition_of(owner_key(one), self._partitions), ask, headers)

    async def _hand_over(
        self, partition: int, part: Sequence[Publication], headers: Mapping[str, str]
    ) -> Sequence[Outcome]:
        # In the broker's own name: whoever asked may publish events, which are checked here, but not hand over what
        # nobody checks again.
        sent = {**headers, "content-type": PROTOBUF}
        if self._token is not None:
            sent["authorization"] = f"Bearer {self._token()}"
        try:
            answer = await self.forward(partition, "POST", PATH, {}, sent, to_message(part))
        except (Unauthenticated, Forbidden) as error:
            raise Misconfigured(f"NERV_CLIENT__TOKEN_FILE of the broker: {error.detail}") from None
        return _outcomes(answer.body, len(part))


def to_message(publications: Sequence[Publication]) -> bytes:
    """Publications as one replica hands them to another."""
    batch = publish_pb2.PublishBatch()
    for one in publications:
        batch.publications.add(
            topic=one.topic, key=one.key, event=to_proto(one.event), ids=one.ids, digest=one.digest, unfit=one.unfit
        )
    return batch.SerializeToString()


def from_message(body: bytes) -> list[Publication]:
    """Publications as they came. Raises Invalid."""
    try:
        batch = publish_pb2.PublishBatch.FromString(body)
    except Exception as error:  # protobuf's DecodeError is not one type over its implementations
        raise Invalid(f"the body is not a nerv.api.event.v1.PublishBatch: {error}") from None
    return [_publication(one) for one in batch.publications]


def _publication(one: publish_pb2.Publication) -> Publication:
    key = one.key if one.HasField("key") else None
    unfit = one.unfit if one.HasField("unfit") else None
    found = Publication(one.topic, key, from_proto(one.event), tuple(one.ids), one.digest, unfit)
    event = found.event
    optional = (event.subject, event.partition_key, event.correlation_id, event.causation_id, event.dataschema)
    for text in (event.id, event.source, event.type, event.content_type, *optional):
        if text is not None:
            check_id(text, "an attribute of the event")
    if not f"{event.traceparent}{event.tracestate}".isprintable():
        raise Invalid("a trace context has no control characters")
    if {len(name) for name in (*found.ids, found.digest)} != {HASH_BYTES} or len(found.ids) not in (1, 2):
        raise Invalid(f"a publication has one id or two, and a digest, of {HASH_BYTES} bytes each")
    return found


def to_document(outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    """Outcomes as one replica answers another."""
    return [
        one._asdict() if isinstance(one, Placed) else {"problem": one.problem(), "retry_after": one.retry_after}
        for one in outcomes
    ]


def _outcomes(body: bytes, count: int) -> list[Outcome]:
    found: list[Outcome] = []
    for row in orjson.loads(body)["outcomes"]:
        problem = row.get("problem")
        found.append(Placed(**row) if problem is None else from_problem(problem, problem["status"], row["retry_after"]))
    if len(found) != count:
        raise Internal(f"the owner answered {len(found)} outcomes for {count} events")
    return found
