# SPDX-License-Identifier: Apache-2.0
"""The worker process: takes hops of pickled units from the process that started it, runs them and answers.

What is unpickled here comes over a socket pair from the parent, which made it itself; nothing from outside gets in (rule 22).
"""

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

from nerv.errors import Internal
from nerv.partition.calling import awaited, is_awaitable

READY = "ready"


class Hop(NamedTuple):
    """What the parent sends: units with their inputs, each pickled by itself, so that a bad one spoils no other."""

    jobs: Sequence[bytes]
    seconds: float  # after which the rest is given back
    cancels: bool  # the first failure ends the hop


class Reply(NamedTuple):
    """How one unit of a hop ended: its pickled result or error. Instants are of `time.monotonic`, which processes share."""

    ok: bool
    payload: bytes
    began: float
    ended: float


def pack(value: object) -> bytes:
    """Pickled as multiprocessing does it."""
    return bytes(ForkingPickler.dumps(value))


def unpack(payload: bytes) -> Any:
    """The value again."""
    return ForkingPickler.loads(payload)


def serve(connection: Connection, begun: "ctypes.c_longlong", memory: int = 0) -> None:
    """Run hops until the parent says None or is gone. `begun` tells the parent how far the hop is, should this process die.

    `memory` bounds the address space, bytes (0: not at all): a unit that wants more raises MemoryError.
    """
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    threading.Thread(target=_end_with_parent, name="nerv-parent", daemon=True).start()
    runner = asyncio.Runner()
    with contextlib.suppress(EOFError, OSError), connection:
        connection.send(READY)
        while (hop := connection.recv()) is not None:
            connection.send(_hop(hop, begun, runner))
    runner.close()


def _end_with_parent() -> None:
    """When the parent is killed nobody waits for the unit that runs here, and nobody would end it if it hangs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _hop(hop: Hop, begun: "ctypes.c_longlong", runner: asyncio.Runner) -> list[Reply]:
    replies: list[Reply] = []
    ended = time.monotonic()
    limit = ended + hop.seconds
    for place, job in enumerate(hop.jobs):
        if place and ended > limit:
            break
        begun.value = place
        began = time.monotonic()
        ok, payload = _run(job, runner)
        ended = time.monotonic()
        replies.append(Reply(ok, payload, began, ended))
        if not ok and hop.cancels:
            break
    return replies


def _run(job: bytes, runner: asyncio.Runner) -> tuple[bool, bytes]:
    try:
        unit, inputs, parts = unpack(job)
        value = unit.run(inputs) if parts is None else unit.merge(parts)
        if is_awaitable(value):
            value = runner.run(awaited(value))
        return True, pack(value)
    except BaseException as error:  # whatever a unit raises is its own failure
        return False, _pack_error(error)


def _pack_error(error: BaseException) -> bytes:
    """The error with where it came from; one that does not survive pickling is told of by its text."""
    where = "".join(traceback.format_tb(error.__traceback__))
    try:
        error.add_note(f"raised in a worker process:\n{where}")
        payload = pack(error)
        unpack(payload)
    except Exception:  # user classes fail in any way when they are pickled
        text = "".join(traceback.format_exception_only(error)).strip()
        return pack(Internal(text))
    return payload
