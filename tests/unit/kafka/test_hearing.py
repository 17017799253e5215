# SPDX-License-Identifier: Apache-2.0
"""What librdkafka says comes through Python's logging, of clients that nobody uses, too; the same thing seldom."""

import asyncio
import json
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
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
from nerv.kafka.hearing import SELDOM_SECONDS, TEXTS, Seldom, librdkafka
from nerv.kafka.survey import Survey

SECONDS = 30.0

# A service's process whose Kafka is away: what it says itself and what its client does, for as long as a line takes.
PROGRAM = """
import sys, time
from nerv.telemetry import configure_logs
configure_logs("broker", "b-1")
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
admin = Admin(KafkaSettings(bootstrap_servers=sys.argv[1]), "away")
time.sleep(3)
"""


@contextmanager
def heard() -> Iterator[list[str]]:
    """What passes to Python's logging."""
    lines: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    keeping = Keeping()
    librdkafka.addHandler(keeping)
    try:
        yield lines
    finally:
        librdkafka.removeHandler(keeping)


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
            await asyncio.sleep(1.5)  # the next ones come
    told = [line for line in lines if settings.bootstrap_servers in line and "Connection refused" in line]
    assert len(told) == 1, lines
    assert "FAIL [away" in told[0]
    assert "%3|" not in capfd.readouterr().err


def test_lines_of_a_service_are_json_and_say_whose_they_are() -> None:
    """Those of Kafka's client, which are said in a thread of its own, like all others."""
    server = nobody().bootstrap_servers
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, server], capture_output=True, text=True, timeout=60, check=True
    )
    [told] = [json.loads(line) for line in done.stderr.splitlines()]
    assert (told["service"], told["instance"], told["level"]) == ("broker", "b-1", "error")
    assert server in told["event"]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[..., str | None], Callable[[float], None]]:
    """What a text becomes, said as librdkafka does, or None; and how time goes on."""
    now, seldom = [1000.0], Seldom()
    monkeypatch.setattr("nerv.kafka.hearing.time.monotonic", lambda: now[0])

    def one(text: str, client: str = "c#producer-1", thread: str = "main", kind: str = "FAIL") -> str | None:
        words = (kind, client, f"[thrd:{thread}]: {text}")
        record = logging.LogRecord("librdkafka", logging.ERROR, "", 0, "%s [%s] %s", words, None)
        return record.getMessage() if seldom.filter(record) else None

    def later(seconds: float) -> None:
        now[0] += seconds

    return one, later


def test_the_same_text_passes_once_and_is_counted(
    say: tuple[Callable[..., str | None], Callable[[float], None]],
) -> None:
    """Whichever client and thread says it, however long the connection had stood."""
    one, later = say
    assert one("x:1/1: refused (after 0ms in state CONNECT)") == (
        "FAIL [c#producer-1] [thrd:main]: x:1/1: refused (after 0ms in state CONNECT)"
    )
    assert one("x:1/1: refused (after 7ms in state CONNECT)", client="d#consumer-1") is None
    assert one("x:1/1: refused (after 1ms in state UP)", thread="x:1/1") is None
    assert one("x:2/2: refused (after 0ms in state CONNECT)") is not None
    later(SELDOM_SECONDS)
    again = one("x:1/1: refused (after 9ms in state CONNECT)")
    assert again is not None
    assert again.endswith("(after 9ms in state CONNECT); 2 more like it since the last of these lines")
    later(SELDOM_SECONDS)
    assert str(one("x:1/1: refused")).endswith("x:1/1: refused")


def test_few_texts_are_remembered(say: tuple[Callable[..., str | None], Callable[[float], None]]) -> None:
    """Those that were said last."""
    one, _ = say
    assert all(one(f"number {number}") for number in range(TEXTS + 1))
    assert one("number 0") is not None
    assert one(f"number {TEXTS}") is None


def test_what_is_no_line_of_librdkafka_passes_too() -> None:
    """As one of a program that uses the same logger."""
    record = logging.LogRecord("librdkafka", logging.ERROR, "", 0, "as it is: 100 %", None, None)
    assert Seldom().filter(record)
