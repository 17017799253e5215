# SPDX-License-Identifier: Apache-2.0
"""Connections to Redis 7.0+ or Valkey, and their errors in our tree."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import redis
import redis.asyncio
from pydantic import BaseModel, ConfigDict, model_validator
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.connection import HiredisRespSerializer
from redis.credentials import CredentialProvider

from nerv.errors import Invalid, Misconfigured, NervError, Unavailable, UnknownOutcome
from nerv.telemetry import counter
from nerv.telemetry import names as n

Redis: TypeAlias = redis.asyncio.Redis

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 10.0
MAX_CONNECTIONS = 64
SSL_PARTS = ("ca", "certificate", "key")


_failures = counter(n.REDIS_FAILURES)


class RedisSettings(BaseModel):
    """`NERV_REDIS__URL` and its kin: `rediss://` is TLS, with the hosts that the CA vouches for. Secrets come from files."""

    model_config = ConfigDict(frozen=True)

    url: str = "redis://127.0.0.1:6379/0"
    username: str | None = None
    password_file: Path | None = None
    ssl_ca_file: Path | None = None  # those whom the machine trusts, without it
    ssl_certificate_file: Path | None = None  # of ours, where Redis asks its clients for one
    ssl_key_file: Path | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "RedisSettings":
        named = [f"SSL_{part.upper()}_FILE" for part in SSL_PARTS if getattr(self, f"ssl_{part}_file") is not None]
        if named and not self.url.startswith("rediss://"):
            raise ValueError(f"{' and '.join(named)} would not be used: TLS needs a URL that begins with rediss://")
        if (self.ssl_certificate_file is None) != (self.ssl_key_file is None):
            raise ValueError("SSL_CERTIFICATE_FILE and SSL_KEY_FILE go together: give both, or neither")
        if self.username is not None and self.password_file is None:
            raise ValueError("USERNAME needs a PASSWORD_FILE")
        return self

    def options(self) -> dict[str, Any]:
        """What a client of redis-py needs beside the URL."""
        found: dict[str, Any] = {
            option: str(path)
            for option, path in (
                ("ssl_ca_certs", self.ssl_ca_file),
                ("ssl_certfile", self.ssl_certificate_file),
                ("ssl_keyfile", self.ssl_key_file),
            )
            if path is not None
        }
        if self.password_file is not None:
            found["credential_provider"] = FileCredentials(self.username, self.password_file)
        return found


class FileCredentials(CredentialProvider):
    """The name and the password of a file, read for each connection: a password is exchanged under services that run."""

    def __init__(self, username: str | None, password_file: Path) -> None:
        self._username, self._password_file = username, password_file

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """As the file says now. Raises AuthenticationError when it cannot be read."""
        try:
            password = self._password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise redis.AuthenticationError(f"cannot read {self._password_file}: {error.strerror}") from error
        return (password,) if self._username is None else (self._username, password)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same: a file of a few bytes, once a connection."""
        return self.get_credentials()


def connect(settings: RedisSettings, client_name: str) -> Redis:
    """A client with bounded connections and time-outs. Close it with `aclose()`. Where all are at work, a command waits.

    It does not repeat commands by itself: a repeated XADD would write twice. Callers repeat what is idempotent.
    """
    _failures.add(0, {n.ERROR_TYPE: UnknownOutcome.__name__})  # to be seen before there is one
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.url,
        client_name=client_name,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=COMMAND_SECONDS,
        max_connections=MAX_CONNECTIONS,
        timeout=COMMAND_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(), 0),
        **settings.options(),
    )
    pool.connection_class = _packing(pool.connection_class)
    return redis.asyncio.Redis.from_pool(pool)


def _packing(kind: type[Any]) -> type[Any]:
    """Such connections, which write their commands by hiredis. redis-py 8.1 does so only where it is not asynchronous (its issue
    4176, its pull request 4191); in Python an argument takes 0.9 us, seven times as long, and a script of ours has hundreds.
    """
    pack: Callable[..., list[bytes]] = HiredisRespSerializer().pack

    class Packing(kind):  # type: ignore[misc]  # the kind is what the URL says
        def pack_command(self, *args: Any) -> list[bytes]:
            """The bytes of one command. Raises DataError for what is not text, bytes, an int or a float."""
            return pack(*args)

    return Packing


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Map redis-py's errors: a broken connection in mid-command is unknown, a refusal to connect happened to nobody.

    Views and queues are rebuildable and their scripts idempotent, so that UnknownOutcome means: run it again.
    """
    try:
        yield
    except redis.AuthenticationError as error:
        raise _counted(
            Misconfigured(
                f"Redis refuses our name or password ({what}): {error}; "
                "check NERV_REDIS__USERNAME and the file of NERV_REDIS__PASSWORD_FILE"
            )
        ) from error
    except (redis.exceptions.BusyLoadingError, redis.exceptions.MaxConnectionsError) as error:
        raise _counted(Unavailable(f"Redis is not ready ({what}): {error}", retry_after=1.0)) from error
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise _counted(UnknownOutcome(f"Redis did not answer ({what}): {error}", retry_after=1.0)) from error
    except redis.ResponseError as error:
        if isinstance(error, redis.exceptions.NoPermissionError) or "ACL failure" in str(error):
            raise _counted(
                Misconfigured(
                    f"the Redis user of NERV_REDIS__USERNAME lacks a right ({what}): {error}; "
                    "`nerv acls list` says what each service needs"
                )
            ) from error
        if str(error).startswith(("OOM", "MISCONF", "READONLY", "LOADING", "CLUSTERDOWN", "MASTERDOWN")):
            raise _counted(Unavailable(f"Redis takes no writes ({what}): {error}", retry_after=5.0)) from error
        raise Invalid(f"Redis refused ({what}): {error}") from error


def _counted(error: NervError) -> NervError:
    _failures.add(1, {n.ERROR_TYPE: type(error).__name__})
    return error


def wait_ready(url: str, seconds: float, options: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Wait until Redis answers PING; `options` as `RedisSettings.options()` gives them. Raises Unavailable when time is up."""
    client = redis.Redis.from_url(url, socket_connect_timeout=1.0, socket_timeout=1.0, **options)
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                client.ping()
            except redis.AuthenticationError:
                return  # it answers: that it wants to know who asks
            except redis.RedisError as error:
                if time.monotonic() > deadline:
                    raise Unavailable(f"Redis at {url} did not answer within {seconds:g} s: {error}") from error
                time.sleep(0.02)
            else:
                return
    finally:
        client.close()
