# SPDX-License-Identifier: Apache-2.0
"""What the handlers work with."""

from dataclasses import dataclass

from nerv.app import App
from nerv.kafka.owning import Owners
from nerv.protocols import Clock
from nerv_temporal.feeds import Feeds
from nerv_temporal.owner import PartitionOwner
from nerv_temporal.router import Router
from nerv_temporal.settings import TemporalSettings
from nerv_temporal.tail import Tail


@dataclass(frozen=True, slots=True)
class Deps:
    """What the handlers work with."""

    settings: TemporalSettings
    app: App
    router: Router
    owners: Owners[PartitionOwner]
    tail: Tail
    feeds: Feeds
    clock: Clock
