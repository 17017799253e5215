# SPDX-License-Identifier: Apache-2.0
"""Reading a topic: where to start and end, which events, how fast, and server-sent events."""

from nerv_broker.subscriptions.asked import asked
from nerv_broker.subscriptions.stream import Subscriptions

__all__ = ["Subscriptions", "asked"]
