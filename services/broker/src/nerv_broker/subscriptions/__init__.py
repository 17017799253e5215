# SPDX-License-Identifier: Apache-2.0
"""Reading a topic as it grows: where to start, and server-sent events."""

from nerv_broker.subscriptions.positions import Start, parse_start
from nerv_broker.subscriptions.stream import Subscriptions

__all__ = ["Start", "Subscriptions", "parse_start"]
