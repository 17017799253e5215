# SPDX-License-Identifier: Apache-2.0
"""A real Kafka of one node (KRaft, broker and controller in one process) on free ports."""

import base64
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from nerv.dev import jars
from nerv.dev.ports import HOST, Ports
from nerv.dev.processes import Command, Process
from nerv.dev.starting import Server, wait_ready, with_free_port
from nerv.kafka import admin

START_SECONDS = 60.0  # it takes 2 s; a busy machine may need more

Mode = Literal["quick", "bench"]
JVM: Mapping[Mode, tuple[str, ...]] = {
    # Quick to start and small (340 MB resident): compiled once, lightly.
    "quick": ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"),
    # As a broker that is measured should run.
    "bench": ("-XX:+UseG1GC", "-Xms1g", "-Xmx1g"),
}
QUIET = (
    "-XX:-UsePerfData",  # no files in the system's temporary folder
    "--sun-misc-unsafe-memory-access=allow",  # Java 25 warns of what Kafka 4.3 does; nobody here can change it
    "--enable-native-access=ALL-UNNAMED",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)
# One node: nothing can be replicated. Small internal topics: each partition costs time at start.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}{listeners}
advertised.listeners=PLAINTEXT://{host}:{port}{advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
log.dirs=data
auto.create.topics.enable=false
num.partitions=4
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
"""


def start(
    folder: Path,
    environment: Mapping[str, str],
    *,
    log: Path,
    ports: Ports,
    mode: Mode = "quick",
    progress: jars.Progress | None = None,
    proxies: Mapping[int, int] = MappingProxyType({}),
    host: str = HOST,
) -> Server:
    """Start Kafka with its data under `folder` (what is there already is kept) and wait until it answers.

    `host` is the address of this machine that it listens on and tells its clients: whoever reaches that may use it.
    `proxies` are further ports that it listens on, each with the port of a proxy: whoever comes through that proxy is told
    to come back through it, and never learns another way.
    Raises Unavailable with the last lines of its log, or Misconfigured. Nothing runs after an error. Blocks: 2 s, and
    5-30 s more when the jars have to be fetched.
    """
    installed = jars.install(progress)
    command = _command(folder, environment, log, JVM[mode], installed)
    return with_free_port(lambda: _start(command, folder, ports, proxies, host))


def _command(
    folder: Path, environment: Mapping[str, str], log: Path, jvm: tuple[str, ...], installed: jars.KafkaFiles
) -> Command:
    scratch = (folder / "tmp").absolute()
    scratch.mkdir(parents=True, exist_ok=True)
    _format(folder / "data", installed.checkpoint)
    temporary = f"-Djava.io.tmpdir={scratch}"  # native parts of zstd and snappy are unpacked there
    arguments = [str(jars.java()), *jvm, *QUIET, temporary, "-cp", installed.class_path, "kafka.Kafka"]
    return Command("kafka", [*arguments, "server.properties"], log, environment, folder)


def _start(command: Command, folder: Path, ports: Ports, proxies: Mapping[int, int], host: str) -> Server:
    port, controller = ports.take(), ports.take()
    named = [(f"PROXIED{number}", *pair) for number, pair in enumerate(proxies.items())]
    # Paths in it are relative to the folder: Java reads property files as Latin-1.
    properties = PROPERTIES.format(
        host=host,
        port=port,
        controller=controller,
        listeners="".join(f",{name}://{host}:{own}" for name, own, _ in named),
        advertised="".join(f",{name}://{host}:{proxy}" for name, _, proxy in named),
        protocols="".join(f",{name}:PLAINTEXT" for name, _, _ in named),
    )
    (folder / "server.properties").write_text(properties, encoding="ascii")
    process = Process(command)
    bootstrap = f"{host}:{port}"
    wait_ready(process, port, lambda seconds: admin.wait_ready(bootstrap, seconds), START_SECONDS)
    return Server(bootstrap, process)


def _format(data: Path, checkpoint: Path) -> None:
    """What `kafka-storage format` does, without a second Java. The file that says it is formatted comes last."""
    meta = data / "meta.properties"
    if meta.exists():
        return
    data.mkdir(parents=True, exist_ok=True)
    (data / "bootstrap.checkpoint").write_bytes(checkpoint.read_bytes())
    draft = data / "meta.properties.tmp"
    draft.write_text(f"version=1\nnode.id=1\ncluster.id={_kafka_id()}\ndirectory.id={_kafka_id()}\n", encoding="ascii")
    draft.replace(meta)


def _kafka_id() -> str:
    """A random id as Kafka writes them: 16 bytes in URL-safe base64, not beginning with a dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
