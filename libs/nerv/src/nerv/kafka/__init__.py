# SPDX-License-Identifier: Apache-2.0
"""The only room that imports confluent-kafka: produce, consume, own a partition, describe and make topics."""

from nerv.kafka.consumer import BatchConsumer, Rebalance
from nerv.kafka.fenced import CommitFailed, FencedWriter, RecordsRefused
from nerv.kafka.membership import Membership
from nerv.kafka.partitioner import partition_of
from nerv.kafka.producer import Bounds, Producer
from nerv.kafka.records import Delivery, Outgoing, Position, Received
from nerv.kafka.settings import KafkaSettings
from nerv.kafka.transactional import TransactionalProducer

__all__ = [
    "BatchConsumer",
    "Bounds",
    "CommitFailed",
    "Delivery",
    "FencedWriter",
    "KafkaSettings",
    "Membership",
    "Outgoing",
    "Position",
    "Producer",
    "Rebalance",
    "Received",
    "RecordsRefused",
    "TransactionalProducer",
    "partition_of",
]
