# SPDX-License-Identifier: Apache-2.0
"""Keys of the index. The first byte says what it is; a stream's name ends with NUL, which no name contains.

    e <stream> 00 <version: 8>     the event (nerv.api.event.v1.Event)
    i <stream> 00 <event id>       its version (8) and content digest (16), for ever
    s <stream>                     the stream's version (8)
    p <partition: 4>               next offset (8), last recorded instant in microseconds (8), owner's address
    m                              topic id
Numbers are big-endian and unsigned, so that keys sort as numbers do.
"""

import struct

from nerv.history import Known

META = b"m"
EVENTS = b"e"

_VERSION = struct.Struct(">Q")
_PARTITION = struct.Struct(">QQ")


def event_key(stream: str, version: int) -> bytes:
    """The key of one event."""
    return b"e" + stream.encode() + b"\x00" + _VERSION.pack(version)


def split_event_key(key: bytes) -> tuple[str, int]:
    """Stream and version of an event's key."""
    return key[1:-9].decode(), _VERSION.unpack(key[-8:])[0]


def category_bounds(category: str | None) -> tuple[bytes, bytes]:
    """First possible key of a category's events, and the first one beyond; None is every category.

    A category's streams are `<category>` itself and all that begin with `<category>-`.
    """
    if category is None:
        return b"e", b"f"
    return b"e" + category.encode(), b"e" + category.encode() + b"."


def id_key(stream: str, event_id: str) -> bytes:
    """The key of an event id."""
    return b"i" + stream.encode() + b"\x00" + event_id.encode()


def stream_key(stream: str) -> bytes:
    """The key of a stream's version."""
    return b"s" + stream.encode()


def partition_key(partition: int) -> bytes:
    """The key of what is covered of a partition."""
    return b"p" + partition.to_bytes(4, "big")


def pack_version(version: int) -> bytes:
    """A version as 8 bytes."""
    return _VERSION.pack(version)


def unpack_version(data: bytes | None) -> int:
    """The version in 8 bytes; 0 for None."""
    return 0 if data is None else int(_VERSION.unpack(data)[0])


def pack_known(known: Known) -> bytes:
    """Version and digest of an event id."""
    return _VERSION.pack(known.version) + known.digest


def unpack_known(data: bytes) -> Known:
    """What is known of an event id."""
    return Known(_VERSION.unpack(data[:8])[0], data[8:])


def pack_partition(next_offset: int, recorded_us: int, address: str) -> bytes:
    """What is covered of a partition."""
    return _PARTITION.pack(next_offset, recorded_us) + address.encode()


def unpack_partition(data: bytes) -> tuple[int, int, str]:
    """Next offset, last recorded instant, owner's address."""
    next_offset, recorded_us = _PARTITION.unpack(data[:16])
    return next_offset, recorded_us, data[16:].decode()
