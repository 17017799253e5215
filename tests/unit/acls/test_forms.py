# SPDX-License-Identifier: Apache-2.0
"""The rights in the forms of kafka-acls.sh, Strimzi and Redis, and the passwords in their folder."""

import hashlib
import stat
from pathlib import Path

import pytest

from nerv.acls import KafkaRight, RedisRight
from nerv.acls.forms import kafka_lines, redis_lines, strimzi_users
from nerv.acls.passwords import passwords
from nerv.errors import Misconfigured

RIGHTS = [
    KafkaRight("nerv-broker", "topic", "flights.flight.v1", False, ("read", "describe_configs"), "react"),
    KafkaRight("nerv-broker", "transactional_id", "nerv.broker/", True, ("write",), "react"),
]


def test_lines_for_kafka_acls() -> None:
    """A call for each right, with the names and operations as that program takes them."""
    start = 'kafka-acls.sh --bootstrap-server "$KAFKA" --command-config admin.properties --add --allow-principal'
    assert list(kafka_lines(RIGHTS, "User:CN={user}")) == [
        f"{start} 'User:CN=nerv-broker' --operation Read --operation DescribeConfigs --topic 'flights.flight.v1'",
        f"{start} 'User:CN=nerv-broker' --operation Write --transactional-id 'nerv.broker/' --resource-pattern-type prefixed",
    ]


def test_users_of_strimzi() -> None:
    """One object a user, of the Kafka that is named."""
    [user] = strimzi_users(RIGHTS, "events")
    assert (user["kind"], user["metadata"]) == (
        "KafkaUser",
        {"name": "nerv-broker", "labels": {"strimzi.io/cluster": "events"}},
    )
    assert user["spec"]["authorization"]["acls"] == [
        {
            "resource": {"type": "topic", "name": "flights.flight.v1", "patternType": "literal"},
            "operations": ["Read", "DescribeConfigs"],
        },
        {
            "resource": {"type": "transactionalId", "name": "nerv.broker/", "patternType": "prefix"},
            "operations": ["Write"],
        },
    ]


def test_users_of_redis() -> None:
    """By the digest of a password; whoever gives no name is nobody."""
    right = RedisRight("nerv-sync", ("nerv:sync:*",), ("nerv:mesh:alive:*",), ("hget",))
    nobody, line = redis_lines([right], {"nerv-sync": "secret"})
    assert nobody == "user default off"
    digest = hashlib.sha256(b"secret").hexdigest()
    assert line == (
        f"user nerv-sync reset on #{digest} ~nerv:sync:* %R~nerv:mesh:alive:* +@connection -@dangerous +hget"
    )


def test_a_password_is_made_once(tmp_path: Path) -> None:
    """Long, for its owner's eyes alone, and kept; one that is written by hand is taken as it is."""
    folder = tmp_path / "secrets"
    made = passwords(folder, ["nerv-broker", "nerv-sync"])
    assert len(set(made.values())) == 2
    assert all(len(word) >= 40 for word in made.values())
    assert stat.S_IMODE((folder / "nerv-broker").stat().st_mode) == 0o600
    (folder / "nerv-sync").write_text("by hand\n", encoding="utf-8")
    assert passwords(folder, ["nerv-broker", "nerv-sync"]) == {**made, "nerv-sync": "by hand"}


def test_an_empty_password_is_refused(tmp_path: Path) -> None:
    """It would let everybody in."""
    (tmp_path / "nerv-broker").write_text("\n", encoding="utf-8")
    with pytest.raises(Misconfigured, match="is empty"):
        passwords(tmp_path, ["nerv-broker"])
