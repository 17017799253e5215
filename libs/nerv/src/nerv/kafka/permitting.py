# SPDX-License-Identifier: Apache-2.0
"""Give rights and passwords to users of Kafka, as an administrator. All calls block."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from nerv.acls import KafkaRight
from nerv.errors import Misconfigured
from nerv.kafka.faults import DENIED, request_error
from nerv.kafka.settings import KafkaSettings

REQUEST_SECONDS = 20.0
POLL_SECONDS = 0.05
ITERATIONS = 8192  # of SCRAM; Kafka's own tool makes as many
EVERYWHERE = "*"


class Permitting:
    """A thin hold on Kafka's admin client. What is there already may be given again."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._barred: list[str] = []
        # No method of ours: the client would be in a cycle, and stay with its threads until the collector comes.
        self._client = AdminClient({**settings.client(client_id), "error_cb": partial(_hear, self._barred)})

    def give(self, rights: Iterable[KafkaRight], principal: str) -> int:
        """Have these rights stand, and answer how many ACLs that are. `principal` has `{user}` in it. Raises Misconfigured where
        Kafka has no authorizer or does not let us, or Unavailable."""
        bindings = [
            AclBinding(
                ResourceType[right.resource.upper()],
                right.name,
                ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
                principal.format(user=right.user),
                EVERYWHERE,
                AclOperation[operation.upper()],
                AclPermissionType.ALLOW,
            )
            for right in rights
            for operation in right.operations
        ]
        self._wait(self._client.create_acls(bindings, request_timeout=REQUEST_SECONDS).values())
        return len(bindings)

    def set_passwords(self, passwords: Mapping[str, str]) -> None:
        """Have these users log in by SCRAM-SHA-512 with these passwords from now on. Raises Misconfigured or Unavailable."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
        asked = [UserScramCredentialUpsertion(user, info, word.encode()) for user, word in passwords.items()]
        self._wait(self._client.alter_user_scram_credentials(asked, request_timeout=REQUEST_SECONDS).values())

    def lacking(self, rights: Sequence[KafkaRight]) -> list[tuple[KafkaRight, list[str]]]:
        """Those of our own rights to topics and groups that do not stand, each with the operations that are denied.

        A prefix is asked for as a group of that name. Of a topic's prefix, of transactional ids, and of what is not there, Kafka
        says nothing, and it may be away: only what it denies is told. Raises Misconfigured where it does not let us in.
        """
        topics = [right for right in rights if right.resource == "topic" and not right.prefixed]
        groups = [right for right in rights if right.resource == "group"]
        asked: dict[KafkaRight, Future[Any]] = {}
        if topics:
            told = self._client.describe_topics(
                TopicCollection([right.name for right in topics]),
                include_authorized_operations=True,
                request_timeout=REQUEST_SECONDS,
            )
            asked |= {right: told[right.name] for right in topics}
        if groups:
            told = self._client.describe_consumer_groups(
                [right.name for right in groups], include_authorized_operations=True, request_timeout=REQUEST_SECONDS
            )
            asked |= {right: told[right.name] for right in groups}
        # The last asks for nothing that could be denied, so that whoever has no such rights learns whether it is let in.
        self._settle([*asked.values(), self._client.describe_cluster(request_timeout=REQUEST_SECONDS)])
        denied = {right: _denied(right, future) for right, future in asked.items()}
        return [(right, operations) for right, operations in denied.items() if operations]

    def _wait(self, futures: Iterable["Future[Any]"]) -> None:
        made = list(futures)
        self._settle(made)
        for future in made:
            try:
                future.result()
            except KafkaException as error:
                raise request_error(error) from error

    def _settle(self, futures: Iterable["Future[Any]"]) -> None:
        """Wait for these. A client that is not let in would try until its time is up, and then say that Kafka is away."""
        left = list(futures)
        while left and not self._barred:
            self._client.poll(POLL_SECONDS)
            left = [future for future in left if not future.done()]
        if left:
            raise Misconfigured(
                f"Kafka does not let us in: {self._barred[0]}; check NERV_KAFKA__SECURITY_PROTOCOL, NERV_KAFKA__SASL_USERNAME "
                "and its password, and the certificates of NERV_KAFKA__SSL_*"
            )


def _hear(barred: list[str], error: KafkaError) -> None:
    if not barred and error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
        barred.append(error.str())


def _denied(right: KafkaRight, future: "Future[Any]") -> list[str]:
    try:
        may = {operation.name.lower() for operation in future.result().authorized_operations or ()}
    except KafkaException as error:
        return list(right.operations) if error.args[0].code() in DENIED else []
    return [operation for operation in right.operations if operation not in may]
