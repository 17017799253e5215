# SPDX-License-Identifier: Apache-2.0
"""The mesh as a graph: what an app declares, what was seen in traffic, and what differs. Pure."""

from nerv.topology.comparing import compare
from nerv.topology.declared import declared, made
from nerv.topology.mermaid import mermaid
from nerv.topology.ways import Difference, Way, merged

__all__ = ["Difference", "Way", "compare", "declared", "made", "merged", "mermaid"]
