# SPDX-License-Identifier: Apache-2.0
"""The events of the stream `subscription-<name>`: each says what somebody has decided, none can be taken back.

| type `nerv.subscription.<kind>.v1` | data |
| --- | --- |
| `created`, `deleted` | what a group is (`spec`), who made or deleted it |
| `taken` | `epoch`, `partitions`: from here on only who has this epoch decides for these partitions |
| `moved` | `next`: the offset to go on from in every partition, all before it are acknowledged or dead letters; `created`: the |
| | version of the subscription's own creation |
| `parked` | `letters` that were written to the dead letters; the key of each stops until they are replayed or discarded |
| `skipped` | `origins` that are passed over without having been processed |
| `replayed` | `origins` of letters that go to the subscriber again; `rate` a second at most |
| `released` | `key`: all letters of it go to the subscriber again, in order, and then it goes on |
| `resolved` | `origins` of replayed letters that were processed |
| `discarded` | `origins` of letters that nobody wants any more |
| `edited` | `origin` of a letter, and the `place` of the edition that a replay takes from now on |

A partition is `topic/partition`, an origin `topic/partition/offset`, a place `partition:offset` of the dead letters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from nerv.types import Event, new_event_id

CATEGORY: Final = "subscription"
SOURCE: Final = "nerv:subscription"


class Kind(StrEnum):
    """What was decided; the type of the event."""

    CREATED = "nerv.subscription.created.v1"
    DELETED = "nerv.subscription.deleted.v1"
    TAKEN = "nerv.subscription.taken.v1"
    MOVED = "nerv.subscription.moved.v1"
    PARKED = "nerv.subscription.parked.v1"
    SKIPPED = "nerv.subscription.skipped.v1"
    REPLAYED = "nerv.subscription.replayed.v1"
    RELEASED = "nerv.subscription.released.v1"
    RESOLVED = "nerv.subscription.resolved.v1"
    DISCARDED = "nerv.subscription.discarded.v1"
    EDITED = "nerv.subscription.edited.v1"


@dataclass(frozen=True, slots=True)
class Fact:
    """One decision. Its id makes a repeated append harmless."""

    kind: Kind
    data: Mapping[str, Any]
    id: str = field(default_factory=new_event_id)

    def event(self, now: datetime) -> Event[bytes]:
        """As the stream holds it."""
        return Event(self.id, SOURCE, self.kind.value, now, orjson.dumps(self.data))


def stream_of(name: str) -> str:
    """The stream of a subscription."""
    return f"{CATEGORY}-{name}"
