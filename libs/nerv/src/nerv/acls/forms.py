# SPDX-License-Identifier: Apache-2.0
"""The rights as others write them: lines for kafka-acls.sh, users of Strimzi, a file of users for Redis. Pure."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from nerv.acls.rights import KafkaRight, RedisRight

STRIMZI = "kafka.strimzi.io/v1"
RESOURCE = {"topic": "topic", "group": "group", "transactional_id": "transactionalId"}


def kafka_lines(rights: Sequence[KafkaRight], principal: str) -> Iterator[str]:
    """A call of Kafka's own kafka-acls.sh for each right. `principal` has `{user}` in it: `User:{user}`."""
    for right in rights:
        operations = " ".join(f"--operation {_camel(operation)}" for operation in right.operations)
        pattern = " --resource-pattern-type prefixed" if right.prefixed else ""
        yield (
            'kafka-acls.sh --bootstrap-server "$KAFKA" --command-config admin.properties --add '
            f"--allow-principal '{principal.format(user=right.user)}' {operations} "
            f"--{right.resource.replace('_', '-')} '{right.name}'{pattern}"
        )


def strimzi_users(rights: Sequence[KafkaRight], cluster: str) -> list[dict[str, Any]]:
    """A KafkaUser for each user, with a SCRAM password that Strimzi makes. `cluster` is the name of its Kafka."""
    return [
        {
            "apiVersion": STRIMZI,
            "kind": "KafkaUser",
            "metadata": {"name": user, "labels": {"strimzi.io/cluster": cluster}},
            "spec": {
                "authentication": {"type": "scram-sha-512"},
                "authorization": {"type": "simple", "acls": [_strimzi(right) for right in found]},
            },
        }
        for user, found in groupby(rights, lambda right: right.user)
    ]


def _strimzi(right: KafkaRight) -> dict[str, Any]:
    pattern = "prefix" if right.prefixed else "literal"
    return {
        "resource": {"type": RESOURCE[right.resource], "name": right.name, "patternType": pattern},
        "operations": [_camel(operation) for operation in right.operations],
    }


def _camel(operation: str) -> str:
    return "".join(word.capitalize() for word in operation.split("_"))


def redis_lines(rights: Sequence[RedisRight], passwords: Mapping[str, str]) -> Iterator[str]:
    """A file of users (`aclfile`): one a service by the digest of its password, and nobody without a name."""
    yield "user default off"
    for right in rights:
        digest = hashlib.sha256(passwords[right.user].encode()).hexdigest()
        words = ["user", right.user, "reset", "on", f"#{digest}"]
        words += [f"~{pattern}" for pattern in right.keys] + [f"%R~{pattern}" for pattern in right.reads]
        words += ["+@connection", "-@dangerous", *(f"+{command}" for command in right.commands)]
        yield " ".join(words)
