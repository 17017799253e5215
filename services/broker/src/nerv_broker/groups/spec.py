# SPDX-License-Identifier: Apache-2.0
"""What a group is: which events it hears, how they are spread over its members, and how often they are tried. Pure."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from nerv.errors import Invalid
from nerv.types import check_id
from nerv_broker.subscriptions.choosing import LONGEST, AsJson, Chooses, Wanted, chooser

NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
PATTERNS = 100

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Strategy(StrEnum):
    """Who gets an event. In each of them the events of a key come in order, one at a time."""

    ROUND_ROBIN = "round-robin"  # whoever asks first
    BY_KEY = "by-key"  # the events of a key go to the same member while it is there
    SINGLE = "single"  # one member gets all, another when it is gone


class GroupSpec(BaseModel):
    """A group as it is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: Name
    types: tuple[Name, ...] = Field((), max_length=PATTERNS, description="Only events of these types; may end with *.")
    subjects: tuple[Name, ...] = Field((), max_length=PATTERNS, description="Only events about these; may end with *.")
    where: str | None = Field(None, max_length=LONGEST, description="Only events whose data this JMESPath finds true.")
    start: str = Field(
        "latest", alias="from", max_length=100_000, description="earliest, latest, positions, an instant."
    )
    strategy: Strategy = Strategy.ROUND_ROBIN
    max_attempts: int = Field(
        5, ge=1, le=1000, description="Then the event goes to the dead letters and its key stops."
    )
    first_retry_seconds: float = Field(1.0, gt=0, le=3600, description="Doubled with each attempt.")
    longest_retry_seconds: float = Field(60.0, gt=0, le=86_400)
    lease_seconds: float = Field(30.0, ge=0.1, le=3600, description="What is not answered by then is tried again.")
    window: int = Field(1000, ge=1, le=10_000, description="Events of a partition that are under way at most.")

    def chooser(self, as_json: AsJson | None = None) -> Chooses:
        """Whether an event is for the group; `as_json` reads data that are not JSON. Raises Invalid."""
        return chooser(Wanted(frozenset(self.types), frozenset(self.subjects), self.where), as_json)

    def data(self) -> dict[str, Any]:
        """As its `created` event has it."""
        return self.model_dump(mode="json", by_alias=True)


def parse_spec(document: Any) -> GroupSpec:
    """The group that a JSON document asks for. Raises Invalid, with the path of each fault."""
    try:
        spec = GroupSpec.model_validate(document)
    except ValidationError as error:
        faults = [
            {"path": "/".join(map(str, fault["loc"])), "detail": fault["msg"]}
            for fault in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        first = faults[0]
        raise Invalid(f"this is no group: {first['path'] or 'body'}: {first['detail']}", errors=faults) from None
    spec.chooser()
    return spec


def check_name(name: str) -> str:
    """The name of a group: it names a stream, Redis keys and a consumer group. Raises Invalid or TooLarge."""
    if not re.fullmatch(NAME, check_id(name, "subscription")):
        raise Invalid(
            f"a group's name is small letters, digits, dots, dashes and underscores, at most 64, not {name[:64]!r}"
        )
    return name


def starts(data: Mapping[str, Any]) -> dict[int, int]:
    """The offset that each partition starts at, from what the `created` event keeps."""
    return {int(partition): offset for partition, offset in data["start"].items()}
