# SPDX-License-Identifier: Apache-2.0
"""What the mesh does now: which events come, how many, under which keys; and who owns which partitions."""

from nerv_projector.mesh.board import Board
from nerv_projector.mesh.rates import Rates

__all__ = ["Board", "Rates"]
