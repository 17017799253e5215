# SPDX-License-Identifier: Apache-2.0
"""What waits for a tick of history."""

from dataclasses import dataclass

from nerv.errors import NervError
from nerv.kafka import Outgoing, owning
from nerv.protocols import AppendRequest


@dataclass(frozen=True, slots=True)
class Command:
    """Where a request stands that came over Kafka, and who waits for the reply.

    One that is malformed has a `refusal`; one that does not even say who sent it becomes a dead `letter`.
    """

    offset: int
    id: str = ""
    sender: str = ""
    key: bytes = b""
    refusal: NervError | None = None
    letter: Outgoing | None = None


@dataclass(eq=False, slots=True)
class Waiting(owning.Waiting):
    """One append, one closing of recorded time (`closing_us`), or, with neither, one barrier; answered by an AppendOutcome.

    With `command` it came over Kafka: it is answered there, in the transaction that also takes it off the topic.
    """

    append: AppendRequest | None = None
    closing_us: int = 0
    command: Command | None = None
