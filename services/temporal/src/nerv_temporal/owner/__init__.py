# SPDX-License-Identifier: Apache-2.0
"""Owning a partition: take over, serve ticks, let go."""

from nerv_temporal.owner.owners import Owners
from nerv_temporal.owner.partition import PartitionOwner

__all__ = ["Owners", "PartitionOwner"]
