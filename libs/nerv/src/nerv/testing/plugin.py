# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: a real Kafka and a real Redis for a session, started when the first test asks for one.

Where KAFKA_BOOTSTRAP_SERVERS or REDIS_URL is set, that server is used and nothing is started for it.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nerv.dev import kafka as kafka_server
from nerv.dev import redis as redis_server
from nerv.dev.guard import guard, mark
from nerv.dev.ports import Ports
from nerv.dev.processes import stop_together
from nerv.dev.servers import KAFKA_VARIABLE, REDIS_VARIABLE, STOP_SECONDS, given
from nerv.dev.starting import Server
from nerv.telemetry.sampling import ARGUMENT


def pytest_configure(config: pytest.Config) -> None:
    """No trace begins by chance in a test; one that a test begins is recorded."""
    os.environ.setdefault(ARGUMENT, "0")


@pytest.fixture(scope="session")
def _servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """Where the servers of the session live, and an environment by which they are ended even when pytest is killed."""
    token = uuid.uuid4().hex[:12]
    with guard(token):
        yield tmp_path_factory.mktemp("servers"), mark(dict(os.environ), token)


@pytest.fixture(scope="session")
def kafka(_servers_folder: tuple[Path, dict[str, str]]) -> Iterator[str]:
    """The bootstrap servers of a real Kafka, for the whole session: use names of your own."""
    folder, environment = _servers_folder
    yield from _address(
        given(KAFKA_VARIABLE),
        lambda: kafka_server.start(folder / "kafka", environment, log=folder / "kafka.log", ports=Ports(folder)),
    )


@pytest.fixture(scope="session")
def redis_url(_servers_folder: tuple[Path, dict[str, str]]) -> Iterator[str]:
    """The URL of a real Redis, for the whole session: use a mesh name of your own, and never flush it."""
    folder, environment = _servers_folder
    yield from _address(
        given(REDIS_VARIABLE),
        lambda: redis_server.start(folder / "redis", environment, log=folder / "redis.log", ports=Ports(folder)),
    )


@pytest.fixture
def mesh_name() -> str:
    """A mesh name that nobody else has: prefix of topics, keys and groups."""
    return f"t{uuid.uuid4().hex[:8]}"


def _address(address: str | None, start: Callable[[], Server]) -> Iterator[str]:
    if address is not None:
        yield address
        return
    server = start()
    try:
        yield server.address
    finally:
        if server.process is not None:
            stop_together([server.process], STOP_SECONDS)
