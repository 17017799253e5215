# SPDX-License-Identifier: Apache-2.0
"""The decision on one append, pure: the memory store and the temporal service ask the same function."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from nerv.cloudevents.proto_format import to_us
from nerv.errors import IdConflict, NervError, VersionConflict
from nerv.history.lifecycle import refusal
from nerv.protocols.history import AppendRequest, Expect
from nerv.types import Event


class Known(NamedTuple):
    """What a stream remembers of an event id, for ever: its version, and a digest of the content."""

    version: int
    digest: bytes


class StreamView(Protocol):
    """What the decision needs to know of the streams."""

    def version(self, stream: str) -> int:
        """The stream's version; 0 when it does not exist."""
        ...

    def known(self, stream: str, event_id: str) -> Known | None:
        """The event of this id in the stream, or None."""
        ...

    def mark(self, stream: str) -> str | None:
        """The type of the last event that deleted, reopened or tombstoned the stream, or None (see `lifecycle`)."""
        ...


@dataclass(frozen=True, slots=True)
class Accept:
    """Append; the events get versions from `first_version` on."""

    first_version: int
    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """All of it was appended before, at these versions: the first answer holds."""

    first_version: int
    last_version: int


Verdict = Accept | Duplicate | NervError


def content_digest(event: Event[bytes]) -> bytes:
    """16 bytes of BLAKE2b over what makes the content of an event: source, type, time, data and its kind.

    Trace context and what history adds are left out: a retry comes with another trace.
    """
    parts = (
        event.source,
        event.type,
        str(to_us(event.time)),
        event.content_type,
        event.dataschema or "",
        event.correlation_id or "",
        event.causation_id or "",
    )
    return digest_of("\x00".join(parts).encode(), event.data)


def digest_of(head: bytes, data: bytes) -> bytes:
    """The digest of an event's data and of its other parts, in the order that `content_digest` names, with NUL between."""
    return hashlib.blake2b(b"%b\x00%b" % (head, data), digest_size=16).digest()


def judge(request: AppendRequest, view: StreamView) -> Verdict:
    """What becomes of a request. The ids are looked at before the version, so that a repeat gets its first answer.

    All ids known, with the same content and one after the other: Duplicate. Any id known otherwise, or twice in the
    request: IdConflict. Deleted or tombstoned: Gone. Wrong version: VersionConflict.
    """
    events = request.events
    digests = tuple([content_digest(event) for event in events])
    found = [view.known(request.stream, event.id) for event in events]
    if any(found):
        return _repeated(request, found, digests)
    if len(events) > 1 and len({event.id for event in events}) < len(events):
        return IdConflict(f"the request names an event id twice; each event of {request.stream} needs its own")
    version = view.version(request.stream)
    refused = refusal(request, view.mark(request.stream), version) or _expectation(request, version)
    return refused or Accept(version + 1, digests)


def _repeated(request: AppendRequest, found: list[Known | None], digests: tuple[bytes, ...]) -> Verdict:
    for event, known, digest in zip(request.events, found, digests, strict=True):
        if known is None:
            return IdConflict(
                f"only a part of these events is in {request.stream} already ({event.id} is not); "
                "repeat the whole request as it was, or use new ids"
            )
        if known.digest != digest:
            return IdConflict(f"{request.stream} has event {event.id} with other content, at version {known.version}")
    versions = [known.version for known in found if known is not None]
    if versions != list(range(versions[0], versions[0] + len(versions))):
        return IdConflict(f"these events are in {request.stream} already, but not one after the other")
    return Duplicate(versions[0], versions[-1])


def _expectation(request: AppendRequest, version: int) -> VersionConflict | None:
    expected = request.expected
    kind = expected.kind
    met = (
        kind is Expect.ANY
        or (kind is Expect.EXACT and version == expected.version)
        or (kind is Expect.NONE and version == 0)
        or (kind is Expect.EXISTS and version > 0)
    )
    if met:
        return None
    return VersionConflict(
        f"{request.stream} is at version {version}, not {expected}; read it again and decide anew",
        errors=[{"stream": request.stream, "version": version, "expected": str(expected)}],
    )
