# SPDX-License-Identifier: Apache-2.0
"""Bare records on the command line, as `kcat` reads and writes them: a format for output, delimiters for input. Pure."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from nerv.client.topics import Record
from nerv.errors import Invalid

PIECE = 65_536
LONGEST = 1024 * 1024  # bytes of one message before we give up on finding its end
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}
SIGNS = "%s value, %k key, %h headers, %S and %K sizes (-1: none), %t topic, %p partition, %o offset, %T time stamp (ms), %%"


def unescaped(text: str, option: str) -> str:
    """With line breaks for `\\n`, and so on. Raises Invalid."""
    parts = iter(text)
    found = []
    for character in parts:
        if character == "\\":
            character = ESCAPES.get(next(parts, ""), "")
            if not character:
                raise Invalid(f"{option}: after a backslash comes one of {' '.join(ESCAPES)}")
        found.append(character)
    return "".join(found)


class Format:
    """A line for each record, by kcat's signs."""

    def __init__(self, text: str) -> None:
        """Raises Invalid, with the signs that there are."""
        self._parts: list[bytes | str] = []
        parts = iter(unescaped(text, "--format"))
        for character in parts:
            if character != "%":
                self._parts.append(character.encode())
                continue
            sign = next(parts, "")
            if not sign or sign not in "skhSKtpoT%":
                raise Invalid(f"--format has no %{sign}; there are {SIGNS}")
            self._parts.append(b"%" if sign == "%" else sign)

    def line(self, topic: str, record: Record) -> bytes:
        """What is printed of a record."""
        return b"".join(part if isinstance(part, bytes) else _what(part, topic, record) for part in self._parts)


def _what(sign: str, topic: str, record: Record) -> bytes:
    match sign:
        case "s":
            return record.value or b""
        case "k":
            return record.key or b""
        case "h":
            return b",".join(name.encode() + b"=" + (value or b"") for name, value in record.headers)
        case "S":
            return _size(record.value)
        case "K":
            return _size(record.key)
        case "t":
            return topic.encode()
        case "p":
            return str(record.partition).encode()
        case "o":
            return str(record.offset).encode()
        case _:
            return str(record.timestamp).encode()


def _size(data: bytes | None) -> bytes:
    return b"-1" if data is None else str(len(data)).encode()


def messages(stream: BinaryIO, delimiter: bytes) -> Iterator[bytes]:
    """What stands between delimiters; the last one needs none behind it. Raises Invalid for one without an end."""
    held = b""
    while piece := stream.read1(PIECE) if hasattr(stream, "read1") else stream.read(PIECE):
        *whole, held = (held + piece).split(delimiter)
        yield from whole
        if len(held) > LONGEST:
            raise Invalid(f"a message has more than {LONGEST} bytes; is --delimiter right?")
    if held:
        yield held


def record(
    message: bytes,
    key: str | None,
    key_delimiter: bytes | None,
    headers: Sequence[tuple[str, bytes]],
    partition: int | None,
) -> Record:
    """A message as a record: with the key before the delimiter, or the one that all have. An empty value with a key is none: it
    deletes the key where a topic is compacted.
    """
    value: bytes | None = message
    own = None if key is None else key.encode()
    if key_delimiter is not None:
        before, found, after = message.partition(key_delimiter)
        if found:
            own, value = before, after or None
    return Record(value, own, headers, partition)
