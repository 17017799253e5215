# SPDX-License-Identifier: Apache-2.0
"""What the handlers of sync work with."""

from dataclasses import dataclass

from nerv.app import App
from nerv.client import Client
from nerv.protocols import Clock
from nerv_sync.journal import Journal
from nerv_sync.opened import Synchronizers
from nerv_sync.pairs import Pairs
from nerv_sync.runs import Runs
from nerv_sync.settings import SyncSettings
from nerv_sync.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Deps:
    """What the handlers work with."""

    settings: SyncSettings
    app: App
    pairs: Pairs
    synchronizers: Synchronizers
    runs: Runs
    journal: Journal
    shelf: Shelf
    client: Client
    clock: Clock
