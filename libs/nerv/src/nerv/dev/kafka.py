# SPDX-License-Identifier: Apache-2.0
"""A real Kafka of one node (KRaft, broker and controller in one process) on free ports."""

import base64
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from nerv.dev import jars
from nerv.dev.certificates import Issued
from nerv.dev.ports import HOST, Ports
from nerv.dev.processes import Command, Process
from nerv.dev.starting import Server, wait_ready, with_free_port
from nerv.kafka import admin
from nerv.kafka.settings import KafkaSettings

START_SECONDS = 120.0  # it takes 2 s; a busy machine may need more

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
controller.listener.names=CONTROLLER
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

LISTENERS = """\
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}{listeners}
advertised.listeners=PLAINTEXT://{host}:{port}{advertised}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
"""
# Clients say by SCRAM who they are; administrators, and the node to itself, by a certificate. What no ACL allows is denied.
SECURED = """\
listeners=CLIENTS://{host}:{port},ADMIN://{host}:{admin},CONTROLLER://{host}:{controller}
advertised.listeners=CLIENTS://{host}:{port},ADMIN://{host}:{admin}
inter.broker.listener.name=ADMIN
listener.security.protocol.map=CLIENTS:SASL_SSL,ADMIN:SSL,CONTROLLER:SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.clients.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.admin.ssl.client.auth=required
listener.name.controller.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:CN={name};User:CN={administrator}
"""
# Each decision of the authorizer is a line of the log: what was denied, and by which ACL something was allowed.
AUDIT = "-Dorg.slf4j.simpleLogger.log.kafka.authorizer.logger=debug"


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """What a server shows of itself, its administrator, and who may have signed both."""

    server: Issued
    administrator: Issued
    ca: Path

    def properties(self, port: int, admin: int, controller: int) -> str:
        """The server's listeners and authorizer."""
        return SECURED.format(
            host=HOST,
            port=port,
            admin=admin,
            controller=controller,
            keystore=self.server.both.absolute(),
            truststore=self.ca.absolute(),
            name=self.server.certificate.stem,
            administrator=self.administrator.certificate.stem,
        )

    def as_administrator(self, port: int) -> KafkaSettings:
        """How the administrator gets in."""
        return KafkaSettings(
            bootstrap_servers=f"{HOST}:{port}",
            security_protocol="SSL",
            ssl_ca_file=self.ca,
            ssl_certificate_file=self.administrator.certificate,
            ssl_key_file=self.administrator.key,
        )


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


def start_secured(
    folder: Path, environment: Mapping[str, str], *, log: Path, ports: Ports, security: KafkaSecurity
) -> tuple[Server, KafkaSettings]:
    """The same with SASL_SSL for clients, and ACLs; and how the administrator gets in, who makes users and gives rights.

    Paths of certificates must be ASCII. The log tells each decision about rights.
    """
    installed = jars.install()
    command = _command(folder, environment, log, (*JVM["quick"], AUDIT), installed)

    def started() -> tuple[Server, KafkaSettings]:
        port, admin_port, controller = ports.take(), ports.take(), ports.take()
        how = security.as_administrator(admin_port)
        process = _run(command, folder, controller, security.properties(port, admin_port, controller))
        bootstrap = how.bootstrap_servers
        wait_ready(process, admin_port, lambda seconds: admin.wait_ready(bootstrap, seconds, how), START_SECONDS)
        return Server(f"{HOST}:{port}", process), how

    return with_free_port(started)


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
    listeners = LISTENERS.format(
        host=host,
        port=port,
        controller=controller,
        listeners="".join(f",{name}://{host}:{own}" for name, own, _ in named),
        advertised="".join(f",{name}://{host}:{proxy}" for name, _, proxy in named),
        protocols="".join(f",{name}:PLAINTEXT" for name, _, _ in named),
    )
    process = _run(command, folder, controller, listeners, host)
    bootstrap = f"{host}:{port}"
    wait_ready(process, port, lambda seconds: admin.wait_ready(bootstrap, seconds), START_SECONDS)
    return Server(bootstrap, process)


def _run(command: Command, folder: Path, controller: int, listeners: str, host: str = HOST) -> Process:
    # Paths of ours are relative to the folder: Java reads property files as Latin-1.
    properties = PROPERTIES.format(host=host, controller=controller) + listeners
    (folder / "server.properties").write_text(properties, encoding="ascii")
    return Process(command)


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
