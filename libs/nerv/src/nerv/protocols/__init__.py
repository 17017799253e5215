# SPDX-License-Identifier: Apache-2.0
"""The ports: what services and components ask of each other. Each has a contract suite in `nerv.testing`."""

from nerv.protocols.clock import Clock
from nerv.protocols.history import Appended, AppendOutcome, AppendRequest, Expected, History, ReadQuery
from nerv.protocols.snapshots import Snapshots

__all__ = ["AppendOutcome", "AppendRequest", "Appended", "Clock", "Expected", "History", "ReadQuery", "Snapshots"]
