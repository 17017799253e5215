# SPDX-License-Identifier: Apache-2.0
"""What the index knows of a stream as a whole, and of its events that arrived late.

    s <stream>                                     version (8), latest time (8), versions of its last late event (8) and mark (8)
    d <stream> 00 <version: 8>                     an event that deleted, reopened or tombstoned it: a mark
    t <stream> 00 <time: 8> <version: 8>           an event that happened before one that stands before it

An event is late if an earlier version has a later `time`. All others are in order of time as they are in order of version,
so that a fold by time needs an index of the late ones only.
"""

import struct
from typing import NamedTuple

from nerv_temporal.index.snapshots import BIAS

_STREAM = struct.Struct(">QQQQ")
_LATE = struct.Struct(">QQ")


class StreamState(NamedTuple):
    """A stream as a whole: its version, the latest time of its events (microseconds), versions of its last late one and mark."""

    version: int = 0
    latest_us: int = -BIAS
    late: int = 0
    marked: int = 0

    def after(self, version: int, time_us: int, *, mark: bool) -> "StreamState":
        """With one event more."""
        marked = version if mark else self.marked
        if time_us < self.latest_us:
            return StreamState(version, self.latest_us, version, marked)
        return StreamState(version, time_us, self.late, marked)


def stream_key(stream: str) -> bytes:
    """The key of a stream."""
    return b"s" + stream.encode()


def category_bounds(category: str | None) -> tuple[bytes, bytes]:
    """First possible key of the streams of a category, and the first one beyond; None is every category."""
    if category is None:
        return b"s", b"t"
    return stream_key(category), stream_key(category) + b"."


def pack_stream(state: StreamState) -> bytes:
    """A stream as a whole."""
    return _STREAM.pack(state.version, state.latest_us + BIAS, state.late, state.marked)


def unpack_stream(data: bytes | None) -> StreamState:
    """A stream as a whole; None is one that does not exist."""
    if data is None:
        return StreamState()
    version, latest, late, marked = _STREAM.unpack(data)
    return StreamState(version, latest - BIAS, late, marked)


def late_key(stream: str, time_us: int, version: int) -> bytes:
    """The key of a late event."""
    return b"t" + stream.encode() + b"\x00" + _LATE.pack(time_us + BIAS, version)


def mark_key(stream: str, version: int) -> bytes:
    """The key of a mark."""
    return b"d" + stream.encode() + b"\x00" + version.to_bytes(8, "big")


def version_in(key: bytes) -> int:
    """The version in the key of a late event or a mark."""
    return int.from_bytes(key[-8:], "big")
