# SPDX-License-Identifier: Apache-2.0
"""How to reach Kafka, and the settings of every client that do not differ between them."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from nerv.errors import Misconfigured
from nerv.kafka.hearing import Lines, lines

ClientConfig = dict[str, str | int | float | bool | Lines]

# What no client of ours may differ in; each was measured or is a rule (design, known traps).
TRANSACTION_TIMEOUT_MS = 10_000  # readers stall at most this long behind a writer that died in mid-transaction
SESSION_TIMEOUT_MS = 6_000  # a killed owner's partitions move in 5.6-6.0 s
HEARTBEAT_MS = 1_000


class KafkaSettings(BaseModel):
    """`NERV_KAFKA__BOOTSTRAP_SERVERS` and its kin. Secrets come from files."""

    model_config = ConfigDict(frozen=True)

    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password_file: Path | None = None
    ssl_ca_file: Path | None = None
    ssl_certificate_file: Path | None = None
    ssl_key_file: Path | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "KafkaSettings":
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.sasl_password_file):
            raise ValueError(f"{self.security_protocol} needs SASL_USERNAME and SASL_PASSWORD_FILE")
        if not self.security_protocol.endswith("SSL") and any(
            (self.ssl_ca_file, self.ssl_certificate_file, self.ssl_key_file)
        ):
            raise ValueError("SSL_*_FILE would not be used: TLS needs a SECURITY_PROTOCOL of SSL or SASL_SSL")
        if (self.ssl_certificate_file is None) != (self.ssl_key_file is None):
            raise ValueError("SSL_CERTIFICATE_FILE and SSL_KEY_FILE go together: give both, or neither")
        return self

    def client(self, client_id: str) -> ClientConfig:
        """librdkafka's configuration that all clients share. A client that is not polled all the time has to be heard
        (`keep_hearing`)."""
        config: ClientConfig = {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": client_id,
            "security.protocol": self.security_protocol,
            # Quick to come back when a broker restarts; the defaults wait up to 10 s. Behind a proxy that accepts for a broker
            # that is away the pause never grows: at 50 ms one consumer knocks 37 times a second, at 250 ms 8 times.
            "reconnect.backoff.ms": 250,
            "reconnect.backoff.max.ms": 1000,
            # Partitions that are added to a topic are heard of by nothing else; the default is 5 minutes.
            "topic.metadata.refresh.interval.ms": 30_000,
            "allow.auto.create.topics": False,
            "log.connection.close": False,
            "logger": lines,
        }
        if self.security_protocol.startswith("SASL"):
            config["sasl.mechanism"] = self.sasl_mechanism
            config["sasl.username"] = self.sasl_username or ""
            config["sasl.password"] = _secret(self.sasl_password_file)
        for option, path in (
            ("ssl.ca.location", self.ssl_ca_file),
            ("ssl.certificate.location", self.ssl_certificate_file),
            ("ssl.key.location", self.ssl_key_file),
        ):
            if path is not None:
                config[option] = str(path)
        return config

    def producer(self, client_id: str) -> ClientConfig:
        """An idempotent producer that partitions as Java clients do and acknowledges what all replicas have."""
        return self.client(client_id) | {
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
        }

    def consumer(self, client_id: str, group: str) -> ClientConfig:
        """A consumer that commits nothing by itself and sees only committed records."""
        return self.client(client_id) | {
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "group.protocol": "classic",
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": HEARTBEAT_MS,
            "fetch.wait.max.ms": 100,
        }


def _secret(file: Path | None) -> str:
    """What the file holds. Raises Misconfigured."""
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Misconfigured(f"cannot read NERV_KAFKA__SASL_PASSWORD_FILE {file}: {error.strerror}") from error
