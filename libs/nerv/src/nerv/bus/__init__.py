# SPDX-License-Identifier: Apache-2.0
"""The reactive event mesh of one process: signals, middleware, lanes, and bridges to Kafka and Redis.

The bridges are in `nerv.bus.bridge`, `nerv.bus.kafka_wire` and `nerv.bus.redis_wire`: a bus alone needs neither server.
"""

from nerv.bus.bus import EventBus
from nerv.bus.chain import Chain, Outcome, Passed, Step
from nerv.bus.model import Delay, Handler, Lanes, Overflow, Routed, Selector, SubscriberFailed
from nerv.bus.subscription import Subscription

__all__ = [
    "Chain",
    "Delay",
    "EventBus",
    "Handler",
    "Lanes",
    "Outcome",
    "Overflow",
    "Passed",
    "Routed",
    "Selector",
    "Step",
    "SubscriberFailed",
    "Subscription",
]
