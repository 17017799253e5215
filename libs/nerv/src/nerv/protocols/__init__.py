# SPDX-License-Identifier: Apache-2.0
"""What services and components ask of each other. Each protocol has a contract suite in `nerv.testing.contracts`.

Six words of the vision (observable, versioned, projectable, effectful, quantum unit, boundary), and the ports: clock,
history, queue, snapshots, source, views, wire.
"""

from nerv.protocols.boundary import Boundary
from nerv.protocols.clock import Clock
from nerv.protocols.effectful import Effectful
from nerv.protocols.history import (
    Appended,
    AppendOutcome,
    AppendRequest,
    Expected,
    Followed,
    History,
    Latest,
    ReadQuery,
    Subscribable,
)
from nerv.protocols.observable import Observable
from nerv.protocols.projectable import Projectable
from nerv.protocols.quantum import QuantumUnit
from nerv.protocols.snapshots import Snapshots
from nerv.protocols.versioned import Versioned

__all__ = [
    "AppendOutcome",
    "AppendRequest",
    "Appended",
    "Boundary",
    "Clock",
    "Effectful",
    "Expected",
    "Followed",
    "History",
    "Latest",
    "Observable",
    "Projectable",
    "QuantumUnit",
    "ReadQuery",
    "Snapshots",
    "Subscribable",
    "Versioned",
]
