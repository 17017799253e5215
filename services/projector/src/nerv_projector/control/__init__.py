# SPDX-License-Identifier: Apache-2.0
"""Which version of each projection is live, and what else operators have decided: records of a compacted topic."""

from nerv_projector.control.model import Control
from nerv_projector.control.topic import ControlTopic

__all__ = ["Control", "ControlTopic"]
