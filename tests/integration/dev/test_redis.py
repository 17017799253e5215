# SPDX-License-Identifier: Apache-2.0
"""The Redis of a development machine where others may reach it."""

import os
import secrets
import stat
from pathlib import Path

import pytest
from redis import AuthenticationError, Redis

from nerv.dev import redis as redis_server
from nerv.dev.ports import Ports
from nerv.dev.processes import stop_together
from nerv.redis import connection

STOP_SECONDS = 5.0


def test_redis_with_a_password_lets_in_only_who_has_its_address(tmp_path: Path) -> None:
    """The answered address holds the password; without it nothing is answered, and nobody else can read the file it is in."""
    password = secrets.token_hex(8)
    server = redis_server.start(
        tmp_path, dict(os.environ), log=tmp_path / "redis.log", ports=Ports(tmp_path), password=password
    )
    assert server.process is not None
    try:
        assert server.address.startswith(f"redis://:{password}@127.0.0.1:")
        connection.wait_ready(server.address, STOP_SECONDS)
        stranger = Redis.from_url(server.address.replace(f":{password}@", ""))
        with stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        assert stat.S_IMODE((tmp_path / "secret.conf").stat().st_mode) == 0o600
        assert password not in " ".join(server.process.command.arguments)
    finally:
        stop_together([server.process], STOP_SECONDS)
