# SPDX-License-Identifier: Apache-2.0
"""Hear what Kafka's client library has to say.

librdkafka writes raw lines to standard error, or keeps them, as it keeps errors, in the client until that is polled. Ours go
through Python's logging. Consumers poll all the time; whoever does not is polled here once a second: while Kafka is away an idle
client hears of two to four errors a second, which it would keep for ever.
"""

import logging
import re
import threading
import time
from typing import Protocol
from weakref import WeakSet

import structlog

HEAR_SECONDS = 1.0
SELDOM_SECONDS = 30.0  # a client that is refused says so eight times a second
TEXTS = 256  # that are remembered

log = structlog.get_logger(__name__)
librdkafka = logging.getLogger("librdkafka")
_PASSING = re.compile(r"^\[thrd:[^\]]*\]: | \(after [^()]*\)$")  # the thread, and for how long there was a connection


class Seldom(logging.Filter):
    """Lets the same text pass once in 30 s, whichever client says it; the next one tells how many there were between."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one passes. Its arguments are librdkafka's: the kind, the client, and the text."""
        *_, text = record.args if isinstance(record.args, tuple) and record.args else (record.getMessage(),)
        key = _PASSING.sub("", str(text))
        now = time.monotonic()
        last, between = self._said.pop(key, (-SELDOM_SECONDS, 0))
        if now - last < SELDOM_SECONDS:
            self._said[key] = (last, between + 1)
            return False
        while len(self._said) >= TEXTS:
            del self._said[next(iter(self._said))]
        self._said[key] = (now, 0)
        if between:
            record.msg, record.args = f"{record.getMessage()}; {between} more like it since the last of these lines", ()
        return True


librdkafka.addFilter(Seldom())


class Hears(Protocol):
    """Whoever holds a client that nothing else polls."""

    def hear(self) -> None:
        """Have the client polled, by the thread that may; does not wait. Called by a thread of its own once a second."""
        ...


_all: WeakSet[Hears] = WeakSet()
_lock = threading.Lock()
_thread: threading.Thread | None = None


def keep_hearing(one: Hears) -> None:
    """Call its `hear` once a second for as long as it lives."""
    global _thread
    with _lock:
        _all.add(one)
        if _thread is None or not _thread.is_alive():  # as in a process that was forked
            _thread = threading.Thread(target=_run, name="kafka-hearing", daemon=True)
            _thread.start()


def _run() -> None:
    while True:
        time.sleep(HEAR_SECONDS)
        _hear_all()


def _hear_all() -> None:
    with _lock:
        there = list(_all)
    for one in there:
        try:
            one.hear()
        except Exception:  # of one client; the others are heard all the same
            log.exception("hearing")
