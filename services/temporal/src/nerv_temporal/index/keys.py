# SPDX-License-Identifier: Apache-2.0
"""Keys of the index. The first byte says what it is; a stream's name ends with NUL, which no name contains.

    e <stream> 00 <version: 8>     the event (nerv.api.event.v1.Event)
    i <stream> 00 <event id>       its version (8) and content digest (16), for ever
    l <partition: 4> <offset: 8>   a place of the log: recorded instant in microseconds (8), version (8), <stream> 00 <type>
    c <chain: 8> <partition: 4> <offset: 8>   an event with a correlation id, by a digest of it
    p <partition: 4>               next offset (8), last recorded instant in microseconds (8), next command (8), owner's address
    m                              topic id, and the format of the keys
and, in rooms of their own, s, t and d (`streams`), n and v (`snapshots`).
Numbers are big-endian and unsigned, so that keys sort as numbers do.
"""

import struct
from hashlib import blake2b
from typing import NamedTuple

from nerv.history import Known

META = b"m"
FORMAT = 6  # an index of another format is built anew from Kafka

_VERSION = struct.Struct(">Q")
_PARTITION = struct.Struct(">QQQ")
_PLACE_KEY = struct.Struct(">IQ")
_PLACE = struct.Struct(">QQ")


class Place(NamedTuple):
    """Where an event stands in the log, and what a reader selects by without loading it."""

    partition: int
    offset: int
    recorded_us: int
    version: int
    stream: str
    type: str


def event_key(stream: str, version: int) -> bytes:
    """The key of one event."""
    return b"e" + stream.encode() + b"\x00" + _VERSION.pack(version)


def pack_version(version: int) -> bytes:
    """A version, as it stands in keys and values."""
    return _VERSION.pack(version)


def pack_place(recorded_us: int, version: bytes, stream: bytes, kind: bytes) -> bytes:
    """What stands at a place of the log; the version is packed."""
    return b"%b%b%b\x00%b" % (_VERSION.pack(recorded_us), version, stream, kind)


def place_key(partition: int, offset: int) -> bytes:
    """The key of a place of the log."""
    return b"l" + _PLACE_KEY.pack(partition, offset)


def unpack_place(key: bytes, data: bytes) -> Place:
    """A place from its key and value."""
    partition, offset = _PLACE_KEY.unpack_from(key, 1)
    recorded_us, version = _PLACE.unpack_from(data)
    stream, _, kind = data[_PLACE.size :].decode().partition("\0")
    return Place(partition, offset, recorded_us, version, stream, kind)


def chain_of(correlation_id: bytes) -> bytes:
    """8 bytes for a chain of causes; none for an event that is in no chain."""
    return blake2b(correlation_id, digest_size=8).digest() if correlation_id else b""


def pack_chain(chain: bytes, partition: int, offset: int) -> bytes:
    """The key of an event as one of a chain, which is packed."""
    return b"c" + chain + _PLACE_KEY.pack(partition, offset)


def unpack_chain(key: bytes) -> tuple[int, int]:
    """Partition and offset of such a key."""
    partition, offset = _PLACE_KEY.unpack_from(key, 9)
    return partition, offset


def meta(topic_id: str) -> bytes:
    """What an index is of."""
    return f"{topic_id}/{FORMAT}".encode()


def id_key(stream: str, event_id: str) -> bytes:
    """The key of an event id."""
    return b"i" + stream.encode() + b"\x00" + event_id.encode()


def partition_key(partition: int) -> bytes:
    """The key of what is covered of a partition."""
    return b"p" + partition.to_bytes(4, "big")


def unpack_known(data: bytes) -> Known:
    """What is known of an event id."""
    return Known(_VERSION.unpack(data[:8])[0], data[8:])


def pack_partition(next_offset: int, recorded_us: int, next_command: int, address: str) -> bytes:
    """What is covered of a partition."""
    return _PARTITION.pack(next_offset, recorded_us, next_command) + address.encode()


def unpack_partition(data: bytes) -> tuple[int, int, str, int]:
    """Next offset, last recorded instant, owner's address, next command."""
    next_offset, recorded_us, next_command = _PARTITION.unpack_from(data)
    return next_offset, recorded_us, data[_PARTITION.size :].decode(), next_command
