# SPDX-License-Identifier: Apache-2.0
"""Work as a graph of small units, run where and in such pieces as pays."""

from nerv.partition.declare import Partition
from nerv.partition.partitioner import QuantumPartitioner
from nerv.partition.record import Progress, RunRecord, Span
from nerv.partition.unit import Each, Unit

__all__ = ["Each", "Partition", "Progress", "QuantumPartitioner", "RunRecord", "Span", "Unit"]
