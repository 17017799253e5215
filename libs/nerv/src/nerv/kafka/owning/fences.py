# SPDX-License-Identifier: Apache-2.0
"""The record by which a new owner shuts out those before it, and says where it can be reached. A CloudEvent like all others."""

from dataclasses import dataclass
from datetime import datetime

from nerv.api.history.v1 import history_pb2
from nerv.cloudevents import to_headers
from nerv.kafka.records import Outgoing
from nerv.types import Event, EventType

PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class Fence:
    """A new owner, reachable at `address`. `token` is one take-over's, `producer` is "a" or "b"."""

    owner: str
    address: str
    token: str
    producer: str


def fence_record(topic: str, partition: int, fence: Fence, now: datetime, source: str) -> Outgoing:
    """The record of a fence; `source` is the service."""
    value = history_pb2.Fence(
        owner=fence.owner, address=fence.address, token=fence.token, producer=fence.producer
    ).SerializeToString()
    event = Event(f"{fence.token}-{fence.producer}", source, EventType.FENCE, now, value, content_type=PROTOBUF)
    return Outgoing(topic, value, None, to_headers(event), partition)


def fence_of(value: bytes) -> Fence:
    """The fence in the data of a record of that type."""
    fence = history_pb2.Fence.FromString(value)
    return Fence(fence.owner, fence.address, fence.token, fence.producer)
