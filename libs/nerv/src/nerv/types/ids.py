# SPDX-License-Identifier: Apache-2.0
"""Identity: strings that are told apart by type, and cost nothing while running."""

import re
from typing import NewType

import uuid_utils

from nerv.errors import Invalid, TooLarge

EntityId = NewType("EntityId", str)
EventId = NewType("EventId", str)
ResourceId = NewType("ResourceId", str)
VersionId = NewType("VersionId", int)

ID_LIMIT = 256  # characters (rule 14)

# Control characters (CR, LF, NUL among them) could split a header that an id is copied into (rule 23).
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def new_event_id() -> EventId:
    """A time-ordered id (UUIDv7, RFC 9562)."""
    return EventId(str(uuid_utils.uuid7()))


def check_id(value: object, what: str) -> str:
    """`value` as an id: 1 to 256 characters, none of them a control character.

    Raises Invalid or TooLarge, naming `what`.
    """
    if not isinstance(value, str) or not value:
        raise Invalid(f"{what} must be a string that is not empty")
    if len(value) > ID_LIMIT:
        raise TooLarge(f"{what} has {len(value)} characters; the limit is {ID_LIMIT}")
    if _CONTROL.search(value) or not value.isprintable():
        raise Invalid(f"{what} contains a control character or another one that cannot be printed")
    return value
