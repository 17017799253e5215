# SPDX-License-Identifier: Apache-2.0
"""The types everything else speaks in: ids, instants, the event as it travels, kinds and states."""

from nerv.types.event import Event
from nerv.types.ids import EntityId, EventId, ResourceId, VersionId, check_id, new_event_id
from nerv.types.instants import format_instant, parse_instant, utc_now
from nerv.types.kinds import EffectType, EventType, LifecycleState
from nerv.types.streams import category_of, entity_of

__all__ = [
    "EffectType",
    "EntityId",
    "Event",
    "EventId",
    "EventType",
    "LifecycleState",
    "ResourceId",
    "VersionId",
    "category_of",
    "check_id",
    "entity_of",
    "format_instant",
    "new_event_id",
    "parse_instant",
    "utc_now",
]
