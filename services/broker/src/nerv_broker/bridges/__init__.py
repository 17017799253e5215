# SPDX-License-Identifier: Apache-2.0
"""The bridges of the app: signals, topics and streams, joined."""

from nerv_broker.bridges.running import Bridges

__all__ = ["Bridges"]
