# SPDX-License-Identifier: Apache-2.0
"""Hear what Kafka's client library has to say.

librdkafka writes raw lines to standard error, or keeps them, as it keeps errors, in the client until that is polled. Ours go
through Python's logging. Consumers poll all the time; whoever does not is polled here once a second: while Kafka is away an idle
client hears of two to four errors a second, which it would keep for ever.
"""

import atexit
import logging
import re
import threading
import time
from contextlib import suppress
from typing import Protocol
from weakref import ref

HEAR_SECONDS = 1.0
SELDOM_SECONDS = 30.0  # a client that is refused says so eight times a second
TEXTS = 256  # that are remembered
LOGGER = "librdkafka"
# What differs in a text that is said again: the thread, and how long the connection had stood.
_PASSING = re.compile(r"^\[thrd:[^\]]*\]: | \(after \d+ms in state [^()]*(?:\(s\) suppressed)?\)$")


class Lines:
    """What clients have as their `logger`. The same text passes once in 30 s, whichever client says it; the next one tells how
    many there were between. What is critical passes always. For any thread."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, int]] = {}
        # Not a plain lock: what the collector frees while it is held may say something, too.
        self._lock = threading.RLock()

    def log(self, level: int, form: str, kind: str, client: str, text: str) -> None:
        """Called by confluent-kafka within the call that polls, in its thread. Raises nothing: that would end this call, and lose
        what it has read."""
        with suppress(Exception):
            between = self._between(text) if level < logging.CRITICAL else 0
            if between is not None:
                more = f"; {between} more like it since the last of these lines" if between else ""
                logging.getLogger(LOGGER).log(level, f"{form}%s", kind, client, text, more)

    def _between(self, text: str) -> int | None:
        """How many were left out since this text has passed; None when it is left out."""
        key, now = _PASSING.sub("", text), time.monotonic()
        with self._lock:
            last, between = self._said.pop(key, (-SELDOM_SECONDS, 0))
            if now - last < SELDOM_SECONDS:
                self._said[key] = (last, between + 1)
                return None
            if len(self._said) >= TEXTS:
                self._said.pop(next(iter(self._said)))
            self._said[key] = (now, 0)
            return between


class Hears(Protocol):
    """Whoever holds a client that nothing else polls."""

    def hear(self) -> None:
        """Have the client polled, by the thread that may; does not wait. Called once a second by a thread of its own."""
        ...


lines = Lines()
_all: list[ref[Hears]] = []
_lock = threading.RLock()
_ending = threading.Event()
_thread: threading.Thread | None = None


def keep_hearing(one: Hears) -> None:
    """Call its `hear` once a second for as long as it lives."""
    global _thread
    with _lock:
        _all.append(ref(one))
        if _thread is None:
            _thread = threading.Thread(target=_run, name="kafka-hearing", daemon=True)
            _thread.start()
            atexit.register(_end, _thread)


def _run() -> None:
    while not _ending.wait(HEAR_SECONDS):
        hear_all()


def _end(thread: threading.Thread) -> None:
    _ending.set()
    thread.join(HEAR_SECONDS)
    hear_all()  # what the last second brought is said, too: often why it ends


def hear_all() -> None:
    """Hear everybody now. One who cannot be heard is told of, and keeps nobody else from it."""
    with _lock:
        there = [(known, one) for known in _all if (one := known()) is not None]
        _all[:] = [known for known, _ in there]
    for _, one in there:
        try:
            one.hear()
        except Exception as error:  # whatever it is: the others are heard
            lines.log(logging.ERROR, "%s [%s] %s", "HEAR", type(one).__name__, repr(error))
