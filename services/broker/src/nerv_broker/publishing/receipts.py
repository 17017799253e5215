# SPDX-License-Identifier: Apache-2.0
"""What was published, as far as it is remembered: every replica follows `<mesh>.receipts.v1`."""

import asyncio
import struct
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

import structlog

from nerv.api.event.v1 import publish_pb2
from nerv.kafka import Received
from nerv.kafka.admin import Admin, check_partitions
from nerv.kafka.following import Follower
from nerv.kafka.owning import fence_of
from nerv.types import Description, EventType
from nerv_broker.publishing.judging import Receipt
from nerv_broker.settings import BrokerSettings

log = structlog.get_logger(__name__)

_PACKED = struct.Struct(">16sIIq")
FENCE = EventType.FENCE.encode()
# A transaction takes two offsets at least, that of a single event two; the rest is for fences and barriers.
OFFSETS_A_RECEIPT = 3


class Window:
    """The last receipts of one partition by each of their ids: at least `size` ids, at most twice as many.

    Two generations, of which the older is dropped when the younger is full: to forget the oldest one by one would cost a
    scan, or twice the memory. An id takes 150 bytes or so.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}
        self._topics: list[str] = []
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, name: bytes) -> Receipt | None:
        """The receipt of an id, or None."""
        packed = self._young.get(name) or self._old.get(name)
        if packed is None:
            return None
        digest, topic, partition, offset = _PACKED.unpack(packed)
        return Receipt(digest, self._topics[topic], partition, offset)

    def add(self, names: Iterable[bytes], receipt: Receipt) -> None:
        """Remember it; what is known already is not known anew."""
        packed = _PACKED.pack(receipt.digest, self._number(receipt.topic), receipt.partition, receipt.offset)
        for name in names:
            if name not in self._young and name not in self._old:
                self._young[name] = packed
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}

    def _number(self, topic: str) -> int:
        number = self._numbers.get(topic)
        if number is None:
            number = self._numbers[topic] = len(self._topics)
            self._topics.append(topic)
        return number


class Receipts:
    """The windows of all partitions, and who owns which. Use as `async with`: entering begins to read, `caught_up` waits."""

    def __init__(self, settings: BrokerSettings, admin: Admin) -> None:
        self._settings, self._admin = settings, admin
        self._windows = [Window(settings.broker.receipts) for _ in range(settings.partitions)]
        self._addresses = [""] * settings.partitions
        self.follower = Follower(
            settings.kafka,
            f"broker-{settings.instance}-receipts",
            settings.receipts,
            settings.partitions,
            self._apply,
            most=OFFSETS_A_RECEIPT * settings.broker.receipts,
        )

    async def __aenter__(self) -> Self:
        found = await asyncio.to_thread(self._admin.state_of, self._settings.receipts)
        check_partitions(found.name, self._settings.partitions, found.partitions)
        await self.follower.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.follower.__aexit__(kind, error, trace)

    async def caught_up(self) -> None:
        """Wait until everything is read that was there at the start."""
        await self.follower.caught_up()

    def crash(self, error: Exception) -> None:
        """Have the service end with this error."""
        self.follower.crash(error)

    def window(self, partition: int) -> Window:
        """What is remembered of a partition."""
        return self._windows[partition]

    @property
    def deadletters(self) -> str:
        """Where owners write what does not fit its topic."""
        return self._settings.deadletters

    def address(self, partition: int) -> str:
        """Where the last owner that this replica has read of takes requests; empty where there was none."""
        return self._addresses[partition]

    def describe(self) -> Description:
        """The receipts as data: how many ids are remembered."""
        return Description(
            "Receipts", self._settings.receipts, counters={"ids": sum(len(window) for window in self._windows)}
        )

    def _apply(self, batch: Sequence[Received]) -> None:
        for record in batch:
            try:
                self._read(record)
            except Exception as error:  # protobuf's DecodeError is not one type over its implementations
                # Only owners write here. What somebody else wrote is no receipt of ours.
                log.warning(
                    "receipts.malformed", partition=record.partition(), offset=record.offset(), error=str(error)
                )

    def _read(self, record: Received) -> None:
        value, partition = record.value() or b"", record.partition()
        if ("ce_type", FENCE) in (record.headers() or ()):
            self._addresses[partition] = fence_of(value).address
            return
        message = publish_pb2.Receipts.FromString(value)
        self._addresses[partition] = message.address
        window = self._windows[partition]
        for one in message.receipts:
            window.add(one.ids, Receipt(one.digest, one.topic, one.partition, one.offset))
