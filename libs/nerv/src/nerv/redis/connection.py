# SPDX-License-Identifier: Apache-2.0
"""Connections to Redis 7.0+ or Valkey, and their errors in our tree."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import redis
import redis.asyncio
from pydantic import BaseModel, ConfigDict
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from nerv.errors import Invalid, Misconfigured, Unavailable, UnknownOutcome

Redis: TypeAlias = redis.asyncio.Redis

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 10.0
MAX_CONNECTIONS = 64


class RedisSettings(BaseModel):
    """`NERV_REDIS__URL` and its kin. The password comes from a file."""

    model_config = ConfigDict(frozen=True)

    url: str = "redis://127.0.0.1:6379/0"
    username: str | None = None
    password_file: Path | None = None
    tls_ca_file: Path | None = None


def connect(settings: RedisSettings, client_name: str) -> Redis:
    """A client with bounded connections and time-outs. Close it with `aclose()`. Where all are at work, a command waits.

    It does not repeat commands by itself: a repeated XADD would write twice. Callers repeat what is idempotent.
    """
    options: dict[str, Any] = {}
    if settings.username is not None:
        options["username"] = settings.username
    if settings.password_file is not None:
        options["password"] = settings.password_file.read_text(encoding="utf-8").strip()
    if settings.tls_ca_file is not None:
        options["ssl_ca_certs"] = str(settings.tls_ca_file)
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.url,
        client_name=client_name,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=COMMAND_SECONDS,
        max_connections=MAX_CONNECTIONS,
        timeout=COMMAND_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(), 0),
        **options,
    )
    return redis.asyncio.Redis.from_pool(pool)


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Map redis-py's errors: a broken connection in mid-command is unknown, a refusal to connect happened to nobody.

    Views and queues are rebuildable and their scripts idempotent, so that UnknownOutcome means: run it again.
    """
    try:
        yield
    except redis.AuthenticationError as error:
        raise Misconfigured(f"Redis refuses our name or password ({what}); check NERV_REDIS__USERNAME") from error
    except (redis.exceptions.BusyLoadingError, redis.exceptions.MaxConnectionsError) as error:
        raise Unavailable(f"Redis is not ready ({what}): {error}", retry_after=1.0) from error
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise UnknownOutcome(f"Redis did not answer ({what}): {error}", retry_after=1.0) from error
    except redis.ResponseError as error:
        if str(error).startswith(("OOM", "MISCONF", "READONLY", "LOADING", "CLUSTERDOWN", "MASTERDOWN")):
            raise Unavailable(f"Redis takes no writes ({what}): {error}", retry_after=5.0) from error
        raise Invalid(f"Redis refused ({what}): {error}") from error


def wait_ready(url: str, seconds: float) -> None:
    """Wait until Redis answers PING. Raises Unavailable when time is up."""
    client = redis.Redis.from_url(url, socket_connect_timeout=1.0, socket_timeout=1.0)
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                client.ping()
            except redis.RedisError as error:
                if time.monotonic() > deadline:
                    raise Unavailable(f"Redis at {url} did not answer within {seconds:g} s: {error}") from error
                time.sleep(0.02)
            else:
                return
    finally:
        client.close()
