# SPDX-License-Identifier: Apache-2.0
"""Partitions with one writer each, fenced by Kafka: who should own one, taking over, and one transaction a tick.

Kafka's group says who is alive and who should own a partition (`Membership`); it proves nothing. An owner takes over by two
fences (`FencedWriter`), reads up to the second, and serves from then on: what waits for it (`Queue`) is written tick by tick.
Any failure ends in a new take-over. Subclasses of `Owner` say what a tick writes.
"""

from nerv.kafka.owning.fences import Fence, fence_of, fence_record
from nerv.kafka.owning.owner import Owner, Ownership
from nerv.kafka.owning.owners import Owners
from nerv.kafka.owning.waiting import Queue, Waiting

__all__ = ["Fence", "Owner", "Owners", "Ownership", "Queue", "Waiting", "fence_of", "fence_record"]
