# SPDX-License-Identifier: Apache-2.0
"""Commands are written by hiredis, and are the same bytes that redis-py writes."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis import DataError
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from nerv.redis import RedisSettings, connect

NUMBERS = st.integers() | st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.binary(max_size=20_000)


def made(url: str) -> Any:
    """A connection as a client of ours makes it; it is not open."""
    pool: Any = connect(RedisSettings(url=url), "test").connection_pool
    return pool.make_connection()


@given(st.lists(NUMBERS | TEXTS, max_size=20))
@example(args=[b"x" * 20_000, "y", bytearray(b"z"), memoryview(b"v")])
def test_commands_are_those_of_redis_py(args: list[Any]) -> None:
    """Also those that redis-py writes in several pieces."""
    command = ("CONFIG SET", *args)
    [written] = made("redis://127.0.0.1:1").pack_command(*command)
    assert written == b"".join(bytes(part) for part in Connection().pack_command(*command))


@given(st.lists(st.tuples(st.just("SET"), TEXTS, TEXTS), max_size=5))
@example(commands=[("SET", "a", b"x" * 20_000), ("SET", "b", "y")])
def test_so_are_pipelines(commands: list[tuple[Any, ...]]) -> None:
    """They go through the same door."""
    ours = made("redis://127.0.0.1:1").pack_commands(commands)
    assert b"".join(ours) == b"".join(bytes(part) for part in Connection().pack_commands(commands))


@pytest.mark.parametrize("wrong", [None, True, object(), ["a"]])
def test_what_is_no_argument_is_refused(wrong: object) -> None:
    """Nothing of it is sent."""
    with pytest.raises(DataError):
        made("redis://127.0.0.1:1").pack_command("SET", "a", wrong)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://127.0.0.1:1", Connection),
        ("rediss://127.0.0.1:1", SSLConnection),
        ("unix:///nowhere", UnixDomainSocketConnection),
    ],
)
def test_connections_are_of_the_kind_that_the_url_says(url: str, kind: Any) -> None:
    """Over TLS, too."""
    connection = made(url)
    assert isinstance(connection, kind)
    assert type(connection).pack_command is not kind.pack_command
