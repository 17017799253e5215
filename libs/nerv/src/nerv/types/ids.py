# SPDX-License-Identifier: Apache-2.0
"""Identity: strings that are told apart by type, and cost nothing while running."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NewType
from uuid import UUID

import uuid_utils

from nerv.errors import Invalid, TooLarge

EntityId = NewType("EntityId", str)
EventId = NewType("EventId", str)
ResourceId = NewType("ResourceId", str)
VersionId = NewType("VersionId", int)

UNDECODABLE = "\ufffd"  # what decoders put for bytes that are not UTF-8: different names would become the same
ID_LIMIT = 256  # characters (rule 14)


def new_event_id() -> EventId:
    """A time-ordered id (UUIDv7, RFC 9562)."""
    return EventId(str(uuid_utils.uuid7()))


def new_entity_id() -> EntityId:
    """As above, for an entity that has no name of its own."""
    return EntityId(str(uuid_utils.uuid7()))


def new_resource_id() -> ResourceId:
    """As above, for a resource that has no name of its own."""
    return ResourceId(str(uuid_utils.uuid7()))


def instant_of(made: str) -> datetime:
    """When a time-ordered id was made, UTC, to the millisecond. Raises Invalid for an id that is no UUIDv7."""
    try:
        found = UUID(made)
    except (ValueError, AttributeError, TypeError):
        found = None
    if found is None or found.version != 7:
        raise Invalid(f"{made!r} is not a time-ordered id (UUIDv7), so it does not say when it was made")
    return datetime.fromtimestamp((found.int >> 80) / 1000, UTC)


def check_version(value: object, what: str = "version") -> VersionId:
    """`value` as the version of a stream: a whole number from 0 (nothing yet) to 2^63 - 1. Raises Invalid."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise Invalid(f"{what} must be a whole number from 0 to 2^63 - 1, not {value!r}")
    return VersionId(value)


def check_ids(values: Sequence[Any], what: str) -> None:
    """Each of them, as `check_id`, in a few passes over all. Raises Invalid, TooLarge or TypeError, without saying which."""
    joined = "".join(values)
    if values and not (min(map(len, values)) > 0 and max(map(len, values)) <= ID_LIMIT):
        raise TooLarge(f"one {what} of {len(values)} is empty, or has more than {ID_LIMIT} characters")
    if not joined.isprintable() or UNDECODABLE in joined:
        raise Invalid(f"one {what} of {len(values)} contains a character that cannot be printed, or is not UTF-8")


def check_id(value: object, what: str) -> str:
    """`value` as an id: 1 to 256 characters, none of them a control character.

    Raises Invalid or TooLarge, naming `what`.
    """
    if type(value) is str and 0 < len(value) <= ID_LIMIT and value.isprintable() and UNDECODABLE not in value:
        return value  # as nearly all are; the rest says what is wrong
    if not isinstance(value, str) or not value:
        raise Invalid(f"{what} must be a string that is not empty")
    if len(value) > ID_LIMIT:
        raise TooLarge(f"{what} has {len(value)} characters; the limit is {ID_LIMIT}")
    if not value.isprintable():  # CR, LF and NUL could split a header that an id is copied into (rule 23)
        raise Invalid(f"{what} contains a control character or another one that cannot be printed")
    if UNDECODABLE in value:
        raise Invalid(f"{what} is not UTF-8: a character of it was lost on the way")
    return value
