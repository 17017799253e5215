# SPDX-License-Identifier: Apache-2.0
"""Owning a partition of history: what one tick writes, and commands that come over Kafka."""

from nerv_temporal.owner.partition import PartitionOwner

__all__ = ["PartitionOwner"]
