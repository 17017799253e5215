# SPDX-License-Identifier: Apache-2.0
"""What librdkafka says comes through Python's logging, of clients that nobody uses, too; the same thing seldom."""

import asyncio
import json
import logging
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress

import pytest

from nerv.errors import Unavailable
from nerv.kafka import (
    BatchConsumer,
    FencedWriter,
    KafkaSettings,
    Outgoing,
    Producer,
    TransactionalProducer,
    fenced,
    transactional,
)
from nerv.kafka.admin import Admin
from nerv.kafka.hearing import LOGGER, SELDOM_SECONDS, TEXTS, Lines, hear_all, keep_hearing
from nerv.kafka.survey import Survey

SECONDS = 30.0

# A service's process whose Kafka is away. It ends once its client has said so, or after a while without.
PROGRAM = """
import logging, sys, threading
from nerv.telemetry import configure_logs
configure_logs("broker", "b-1")
said = threading.Event()
logging.getLogger("librdkafka").addFilter(lambda record: said.set() or True)
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
admin = Admin(KafkaSettings(bootstrap_servers=sys.argv[1]), "away")
said.wait(30)
"""

# A command that ends before it is time to hear: what its client has said is heard at the end.
SHORT = """
import sys, time
from nerv.kafka import KafkaSettings, hearing
hearing.HEAR_SECONDS = 60.0
from nerv.kafka.admin import Admin
admin = Admin(KafkaSettings(bootstrap_servers=sys.argv[1]), "away")
time.sleep(2)
"""


@contextmanager
def heard() -> Iterator[list[str]]:
    """What passes to Python's logging."""
    lines: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    keeping = Keeping()
    logging.getLogger(LOGGER).addHandler(keeping)
    try:
        yield lines
    finally:
        logging.getLogger(LOGGER).removeHandler(keeping)


def nobody() -> KafkaSettings:
    """A Kafka that is away: a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return KafkaSettings(bootstrap_servers=f"127.0.0.1:{listening.getsockname()[1]}")


@asynccontextmanager
async def held(kind: str, settings: KafkaSettings) -> AsyncIterator[object]:
    """A client of this kind that has asked once, at most, and is left alone."""
    async with AsyncExitStack() as stack:
        if kind == "admin":
            yield Admin(settings, "away")
        elif kind == "survey":
            yield Survey(settings, "away")
        elif kind == "producer":
            yield await stack.enter_async_context(Producer(settings, "away"))
        elif kind == "consumer":
            yield await stack.enter_async_context(BatchConsumer(settings, "away", "away", topics=["t"]))
        elif kind == "transactional":
            made = TransactionalProducer(settings, "away", "away")
            stack.push_async_callback(made.close)
            with suppress(Unavailable):
                await made.start()
            yield made
        else:
            writer = FencedWriter(settings, "t", 0, "away")
            stack.push_async_callback(writer.close)
            with suppress(Unavailable):
                await writer.take_over(lambda token, name: Outgoing("t", token.encode(), name.encode(), [], 0))
            yield writer


@pytest.mark.parametrize("kind", ["admin", "survey", "producer", "consumer", "transactional", "fenced"])
async def test_a_client_that_is_left_alone_is_heard(
    kind: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says why it does not reach Kafka, by logging and not by raw lines, and once, not eight times a second."""
    monkeypatch.setattr(transactional, "INIT_SECONDS", 1.0)
    monkeypatch.setattr(fenced, "INIT_SECONDS", 1.0)
    settings = nobody()
    with heard() as lines:
        async with held(kind, settings) as _, asyncio.timeout(SECONDS):
            while not any(settings.bootstrap_servers in line for line in lines):  # noqa: ASYNC110 - a thread says it
                await asyncio.sleep(0.05)
            for _ in range(3):
                hear_all()
                await asyncio.sleep(0.5)  # the next ones come: eight in a second
    told = [line for line in lines if settings.bootstrap_servers in line and "Connection refused" in line]
    assert len(told) == 1, lines
    assert "FAIL [away" in told[0]
    assert "%3|" not in capfd.readouterr().err


async def test_who_is_closed_is_heard_no_more() -> None:
    """And is no error; who cannot be heard is told of once, and keeps nobody else from it."""
    made = TransactionalProducer(nobody(), "closed", "closed")
    await made.close()
    writer = FencedWriter(nobody(), "t", 0, "closed")
    await writer.close()
    async with Producer(nobody(), "closed") as producer:
        pass

    class Deaf:
        heard = 0

        def hear(self) -> None:
            """It fails, or not."""
            self.heard += 1
            raise OSError(f"deaf {id(self)}")

    first, second = Deaf(), Deaf()
    with heard() as lines:
        for one in (first, second):
            keep_hearing(one)
        hear_all()
        hear_all()
    for client in (made, writer, producer):
        client.hear()
    assert first.heard >= 2 <= second.heard
    mine = [line for line in lines if "deaf" in line]
    assert sorted(mine) == sorted(f"HEAR [Deaf] OSError('deaf {id(one)}')" for one in (first, second))
    assert not any("closed" in line for line in lines)


def test_lines_of_a_service_are_json_and_say_whose_they_are() -> None:
    """Those of Kafka's client, which are said in a thread of its own, like all others."""
    server = nobody().bootstrap_servers
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, server], capture_output=True, text=True, timeout=60, check=True
    )
    [told] = [json.loads(line) for line in done.stderr.splitlines()]
    assert (told["service"], told["instance"], told["level"]) == ("broker", "b-1", "error")
    assert server in told["event"]


def test_what_is_said_last_is_heard_at_the_end() -> None:
    """By a person, too, in words and not in raw lines."""
    server = nobody().bootstrap_servers
    done = subprocess.run([sys.executable, "-c", SHORT, server], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.startswith("FAIL [away")
    assert (server in done.stderr, done.stderr.count("\n")) == (True, 1)


Say = Callable[..., str | None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which only the test moves."""
    now = [1000.0]
    monkeypatch.setattr("nerv.kafka.hearing.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def say(clock: list[float]) -> Iterator[Say]:
    """What becomes of a text that librdkafka says: a line, or None."""
    made = Lines()
    with heard() as lines:

        def one(
            text: str, client: str = "c#producer-1", thread: str = "main", level: int = logging.ERROR
        ) -> str | None:
            before = len(lines)
            made.log(level, "%s [%s] %s", "FAIL", client, f"[thrd:{thread}]: {text}")
            return lines[-1] if len(lines) > before else None

        yield one


def test_the_same_text_passes_once_and_is_counted(say: Say, clock: list[float]) -> None:
    """Whichever client and thread says it, however long the connection had stood, and what librdkafka itself left out."""
    assert say("x:1/1: refused (after 0ms in state CONNECT)") == (
        "FAIL [c#producer-1] [thrd:main]: x:1/1: refused (after 0ms in state CONNECT)"
    )
    assert say("x:1/1: refused (after 7ms in state CONNECT)", client="d#consumer-1") is None
    assert say("x:1/1: refused (after 1ms in state UP)", thread="x:1/1") is None
    assert say("x:1/1: refused (after 0ms in state CONNECT, 29 identical error(s) suppressed)") is None
    assert say("x:2/2: refused (after 0ms in state CONNECT)") is not None
    clock[0] += SELDOM_SECONDS
    again = say("x:1/1: refused (after 9ms in state CONNECT)")
    assert again is not None
    assert again.endswith("(after 9ms in state CONNECT); 3 more like it since the last of these lines")
    clock[0] += SELDOM_SECONDS
    assert str(say("x:1/1: refused")).endswith("x:1/1: refused")


def test_what_is_critical_passes_always(say: Say) -> None:
    """As of each of two writers that are shut out."""
    assert say("Fatal error: fenced", client="a#producer-1", level=logging.CRITICAL) is not None
    assert say("Fatal error: fenced", client="b#producer-2", level=logging.CRITICAL) is not None


def test_few_texts_are_remembered(say: Say) -> None:
    """Those that were said last."""
    assert all(say(f"number {number}") for number in range(TEXTS + 1))
    assert say("number 0") is not None
    assert say(f"number {TEXTS}") is None


def test_the_call_that_polls_goes_on_whatever_becomes_of_a_line() -> None:
    """confluent-kafka ends it with what the logger raises, and what it has read is lost."""

    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError(record.getMessage())

    logger = logging.getLogger(LOGGER)
    logger.addFilter(refuse)
    try:
        Lines().log(logging.ERROR, "%s [%s] %s", "FAIL", "c", "text")
    finally:
        logger.removeFilter(refuse)


def test_threads_say_things_at_the_same_time() -> None:
    """Each text passes once, and all of them do."""
    made, clear = Lines(), sys.getswitchinterval()
    texts = [f"number {number}" for number in range(3000)]
    with heard() as lines:
        sys.setswitchinterval(1e-5)
        try:
            with ThreadPoolExecutor(4) as pool:
                for text in texts:
                    pool.submit(made.log, logging.ERROR, "%s [%s] %s", "FAIL", "c", text)
                    pool.submit(made.log, logging.ERROR, "%s [%s] %s", "FAIL", "d", text)
        finally:
            sys.setswitchinterval(clear)
    assert Counter(line.partition("] ")[2] for line in lines) == Counter(texts)
