# SPDX-License-Identifier: Apache-2.0
"""An archive of history: lines of JSON in frames of zstd (`zstd -dc` reads it), each frame complete and checked by itself.

    frame   {"archive": 1, "category": ..., "known_at": ..., "made_at": ...}
    frame   CloudEvents, one a line, then {"events": <so far>, "digest": <so far>}
    ...
    frame   {"end": true, "events": <in all>, "digest": <of all>}

The digest is BLAKE2b, 32 bytes, over the lines of all events. Who writes on after an interruption begins behind the last frame
that is complete.
"""

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

import orjson
import zstandard

from nerv.cloudevents.json_format import from_structured, to_structured
from nerv.errors import Invalid
from nerv.types import Description, Event, format_instant, parse_instant, utc_now

FORMAT = 1
LEVEL = 10  # of zstd: an archive is written once; 3 makes it a tenth larger, 19 five times as slow
FRAME_BYTES = 64 * 1024 * 1024  # a frame may not be larger when it is unpacked
CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Header:
    """What an archive holds: the events of a category (None: of all streams) as they were known at an instant."""

    category: str | None
    known_at: datetime
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Checked:
    """How far an archive is whole: so many events, up to a byte of the file; `ended` if that is all."""

    header: Header
    events: int
    size: int
    last: Event[bytes] | None
    ended: bool
    digest: str


class CutShort(Invalid):
    """The file ends before the archive does, or is damaged. `checked` says how far it is whole."""

    title = "Archive cut short"

    checked: Checked | None = None

    @classmethod
    def behind(cls, checked: Checked | None, detail: str) -> Self:
        """The error for a file that is whole up to there."""
        error = cls(detail)
        error.checked = checked
        return error


class ArchiveWriter:
    """Writes an archive, a frame at a time, each on the disk before the next. Use as a context manager."""

    def __init__(self, path: Path, header: Header, going_on: Checked | None = None) -> None:
        """Begin a file, which must not exist; or go on behind what was checked of it."""
        self._digest = hashlib.blake2b(digest_size=32)
        self.events = 0
        if going_on is None:
            self._file: BinaryIO = path.open("xb")
            self._frame([_header_line(header)])
            return
        for block in read(path, going_on):
            self._count(block.lines)
        self._file = path.open("r+b")
        self._file.truncate(going_on.size)
        self._file.seek(going_on.size)

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, events: Sequence[Event[bytes]]) -> None:
        """Add events as one frame."""
        lines = [_line(event) for event in events]
        self._count(lines)
        self._frame([*lines, orjson.dumps({"events": self.events, "digest": self._digest.hexdigest()})])

    def end(self) -> str:
        """Say that this is all; answers the digest."""
        digest = self._digest.hexdigest()
        self._frame([orjson.dumps({"end": True, "events": self.events, "digest": digest})])
        return digest

    def describe(self) -> Description:
        """The writer as data."""
        return Description("ArchiveWriter", self._file.name, counters={"events": self.events})

    def _count(self, lines: Sequence[bytes]) -> None:
        self.events += len(lines)
        for line in lines:
            self._digest.update(line + b"\n")

    def _frame(self, lines: Sequence[bytes]) -> None:
        data = b"".join(line + b"\n" for line in lines)
        self._file.write(zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(data))
        self._file.flush()
        os.fsync(self._file.fileno())


@dataclass(frozen=True, slots=True)
class Block:
    """The events of one frame, with their lines."""

    lines: Sequence[bytes]

    def events(self) -> list[Event[bytes]]:
        """The events, as they were recorded."""
        return [from_structured(line) for line in self.lines]


def check(path: Path) -> Checked:
    """Read the whole archive and hold it against its counts and digests.

    Raises CutShort for one that does not end, or is damaged; Invalid for a file that is none.
    """
    digest = hashlib.blake2b(digest_size=32)
    checked: Checked | None = None
    try:
        for lines, end in _frames(path):
            if checked is None:
                checked = Checked(_header(path, lines), 0, end, None, False, digest.hexdigest())
            else:
                checked = _checked(path, checked, lines, end, digest)
    except (zstandard.ZstdError, EOFError, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CutShort.behind(checked, _said(path, checked, str(error))) from None
    if checked is None or not checked.ended:
        raise CutShort.behind(checked, _said(path, checked, "it does not end"))
    return checked


def read(path: Path, checked: Checked) -> Iterator[Block]:
    """The events, a frame at a time, of what was checked."""
    for number, (lines, end) in enumerate(_frames(path)):
        if number and not (end == checked.size and checked.ended):
            yield Block(lines[:-1])
        if end == checked.size:
            return


def _checked(path: Path, before: Checked, lines: list[bytes], end: int, digest: Any) -> Checked:
    if before.ended:
        raise Invalid(f"{path} goes on behind its end")
    for line in lines[:-1]:
        digest.update(line + b"\n")
    told, events = orjson.loads(lines[-1]), before.events + len(lines) - 1
    if told["events"] != events or told["digest"] != digest.hexdigest():
        raise ValueError(f"{told['events']} events with digest {told['digest'][:12]} were written, {events} are there")
    last = from_structured(lines[-2]) if len(lines) > 1 else before.last
    return replace(before, events=events, size=end, last=last, ended="end" in told, digest=told["digest"])


def _frames(path: Path) -> Iterator[tuple[list[bytes], int]]:
    """The lines of each frame, and where it ends."""
    with path.open("rb") as file:
        held, position = b"", 0
        while held or (held := file.read(CHUNK)):
            if len(held) < 18:
                held += file.read(CHUNK)  # enough to tell how large it is
            size = zstandard.get_frame_parameters(held).content_size
            if size > FRAME_BYTES:
                raise Invalid(f"{path} has a frame of {size} bytes; the limit is {FRAME_BYTES}")
            unpacker, parts = zstandard.ZstdDecompressor().decompressobj(), list[bytes]()
            while not unpacker.eof:
                if not held and not (held := file.read(CHUNK)):
                    raise EOFError("it ends within a frame")
                parts.append(unpacker.decompress(held))
                position += len(held)
                held = b""
            held = unpacker.unused_data
            position -= len(held)
            yield b"".join(parts).splitlines(), position


def _line(event: Event[bytes]) -> bytes:
    """The event on one line. Data that JSON would not give back to the byte are written as base64: ids stand for contents."""
    document = to_structured(event)
    if "data" in document and not _given_back(event.data):
        del document["data"]
        document["data_base64"] = base64.b64encode(event.data).decode()
    return orjson.dumps(document)


def _given_back(data: bytes) -> bool:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return found is not None and orjson.dumps(found) == data


def _header_line(header: Header) -> bytes:
    return orjson.dumps(
        {
            "archive": FORMAT,
            "category": header.category,
            "known_at": format_instant(header.known_at),
            "made_at": format_instant(header.made_at),
        }
    )


def _header(path: Path, lines: list[bytes]) -> Header:
    try:
        found = orjson.loads(lines[0])
        if found["archive"] != FORMAT:
            raise Invalid(f"{path} is an archive of format {found['archive']}; this version of NERV reads {FORMAT}")
        return Header(found["category"], parse_instant(found["known_at"]), parse_instant(found["made_at"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError) as error:
        raise Invalid(f"{path} is no archive of history ({error!r})") from None


def _said(path: Path, checked: Checked | None, why: str) -> str:
    whole = 0 if checked is None else checked.events
    return (
        f"{path} is cut short or damaged behind {whole} events: {why}. Export again with --resume, which goes on there"
    )


def header_now(category: str | None) -> Header:
    """The header of an archive of what is known now."""
    now = utc_now()
    return Header(category, now, now)
