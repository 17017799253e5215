# SPDX-License-Identifier: Apache-2.0
"""The types everything else speaks in: ids, instants, events, effects, resources, states, principals, descriptions."""

from nerv.types.description import Description, Health
from nerv.types.effect import Effect
from nerv.types.event import Event
from nerv.types.frozen import frozen
from nerv.types.ids import (
    EntityId,
    EventId,
    ResourceId,
    VersionId,
    check_id,
    check_ids,
    check_version,
    instant_of,
    new_entity_id,
    new_event_id,
    new_resource_id,
)
from nerv.types.instants import format_instant, parse_instant, utc_now
from nerv.types.kinds import EffectType, EventType, LifecycleState
from nerv.types.principal import ANYONE, Principal
from nerv.types.resource import Resource
from nerv.types.stamp import Stamp
from nerv.types.streams import category_of, entity_of
from nerv.types.variables import E, K, P, R, S, T, V
from nerv.types.versioned import VersionedState

__all__ = [
    "ANYONE",
    "Description",
    "E",
    "Effect",
    "EffectType",
    "EntityId",
    "Event",
    "EventId",
    "EventType",
    "Health",
    "K",
    "LifecycleState",
    "P",
    "Principal",
    "R",
    "Resource",
    "ResourceId",
    "S",
    "Stamp",
    "T",
    "V",
    "VersionId",
    "VersionedState",
    "category_of",
    "check_id",
    "check_ids",
    "check_version",
    "entity_of",
    "format_instant",
    "frozen",
    "instant_of",
    "new_entity_id",
    "new_event_id",
    "new_resource_id",
    "parse_instant",
    "utc_now",
]
