# SPDX-License-Identifier: Apache-2.0
"""Who owns which partitions, and which moved, as all replicas see it."""

from collections.abc import AsyncIterator

import pytest

from nerv.redis import RedisSettings, connect
from nerv_projector.mesh.board import ALIVE_SECONDS, Board, Row


@pytest.fixture
async def board(redis_url: str, mesh_name: str) -> AsyncIterator[Board]:
    """A board of its own."""
    redis = connect(RedisSettings(url=redis_url), "test")
    yield Board(redis, mesh_name)
    await redis.aclose()


async def test_a_partition_that_goes_to_another_has_moved(board: Board) -> None:
    """Those that somebody takes for the first time, or has already, have not; the newest moves are told first."""
    assert await board.took("one", [0, 1, 2, 3]) == []
    assert await board.took("one", [0, 1]) == []
    await board.took("two", [2, 3])
    await board.took("one", [3])
    told = [(move.partition, move.before, move.after) for move in await board.moves()]
    assert told[0] == (3, "two", "one")
    assert sorted(told[1:]) == [(2, "one", "two"), (3, "one", "two")]
    assert {p: row.owner for p, row in (await board.alive()).items()} == {0: "one", 1: "one", 2: "two", 3: "one"}


async def test_an_owner_that_says_nothing_any_more_is_not_shown(board: Board) -> None:
    """It is still known from whom a partition moves."""
    now = await board.now()
    await board.say({0: Row("gone", now, now - ALIVE_SECONDS - 1), 1: Row("here", now, now, 7, {"a": [1]}, {"k": 2})})
    assert await board.alive() == {1: Row("here", now, now, 7, {"a": [1]}, {"k": 2})}
    [move] = await board.took("here", [0])
    assert (move.partition, move.before, move.after) == (0, "gone", "here")
