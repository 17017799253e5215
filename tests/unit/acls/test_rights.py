# SPDX-License-Identifier: Apache-2.0
"""The list of rights: whole, least, and in step with the topics and with the code."""

import re
from pathlib import Path

import pytest

import nerv
from flights import app as flights
from nerv.acls import SERVICES, KafkaRight, Names, kafka_rights, names_of, redis_rights
from nerv.topics import of_mesh
from tests.apps.shop import app as shop

ROOT = Path(__file__).parent.parent.parent.parent
NAMES = names_of("nerv", flights, sides=["prices.v1"], shared=["billing."])
KAFKA = kafka_rights(NAMES)

# Where the commands of a service's user stand, beside what every service has of the library.
SOURCES = {
    "broker": ("services/broker/src", "libs/nerv/src/nerv/bus"),
    "projector": ("services/projector/src",),
    "scheduler": ("services/scheduler/src",),
    "sync": ("services/sync/src", "libs/nerv/src/nerv/sync/records"),
}
OF_THE_CLIENT = {"multi", "exec", "evalsha", "script|load"}  # redis-py sends these for pipelines and scripts
CALL = re.compile(r"redis\.p?call\(\s*'([A-Z]+)'(?:, '([A-Z]+)')?")
SUBCOMMANDS = {"XGROUP", "XINFO", "SCRIPT"}


def may(operation: str, topic: str) -> set[str]:
    """Which users may do this to a topic."""
    return {
        right.user.removeprefix("nerv-")
        for right in KAFKA
        if right.resource == "topic"
        and operation in right.operations
        and (topic.startswith(right.name) if right.prefixed else topic == right.name)
    }


def test_history_is_written_by_temporal_alone() -> None:
    """And read by it and the projector; whoever else wants something of it asks over HTTP."""
    assert may("write", "nerv.history.v1") == {"temporal"}
    assert may("read", "nerv.history.v1") == {"temporal", "projector"}


def test_every_topic_of_the_mesh_is_written_by_somebody() -> None:
    """All that `nerv topics create` makes, and by as few as there can be; those of projections by the stream stay empty."""
    written = {topic.name: may("write", topic.name) for topic in of_mesh("nerv", projections=flights.projections)}
    empty = {f"nerv.rekeyed.{name}.v1" for name, spec in flights.projections.items() if not spec.rekeyed}
    assert {name for name, users in written.items() if not users} == empty
    assert {name: users for name, users in written.items() if len(users) > 1} == {
        "nerv.deadletters.v1": {"temporal", "broker", "projector"}
    }


def test_no_two_services_share_a_transactional_id() -> None:
    """Nobody can shut out the writers of another."""
    prefixes = [(right.name, right.user) for right in KAFKA if right.resource == "transactional_id"]
    for name, user in prefixes:
        assert not [other for prefix, other in prefixes if other != user and name.startswith(prefix)]


def test_users_of_two_meshes_have_nothing_of_each_other() -> None:
    """But for names of readers without a group, in which nothing is kept, and for topics of the app, which are its own."""
    other = kafka_rights(Names("nerv-2", projection=NAMES.projection))
    for right in other:
        if right.resource != "group" or right.name.startswith("nerv-2."):
            assert not any(covers(mine, right) for mine in KAFKA), right


def covers(mine: KafkaRight, right: KafkaRight) -> bool:
    """Whether one right includes something of another."""
    if mine.resource != right.resource:
        return False
    return right.name.startswith(mine.name) if mine.prefixed else mine.name == right.name


def test_what_an_app_does_not_have_nobody_may() -> None:
    """An app without projections over topics, awaited events or sides gives no right to any."""
    bare = kafka_rights(Names("nerv"))
    assert {right.name for right in bare if right.user == "nerv-scheduler" and right.resource == "topic"} == set()
    assert {right.user for right in bare} == {f"nerv-{name}" for name in (*SERVICES, "setup", "commands")}


def test_an_app_gives_names_to_the_list() -> None:
    """Its topics, those that projections fold and workflows wait for, and the deltas that reactions are given."""
    names = names_of("shop", shop)
    assert names.projection == tuple(sorted(shop.projections))
    assert names.topic == tuple(sorted(shop.all_topics()))


@pytest.mark.parametrize("service", sorted(SOURCES))
def test_redis_commands_are_those_of_the_code(service: str) -> None:
    """Every command of a service's scripts is in its list, and nothing is that the code does not have."""
    texts = [
        file.read_text(encoding="utf-8")
        for folder in SOURCES[service]
        for file in (ROOT / folder).rglob("*")
        if file.suffix in (".py", ".lua")
    ]
    called = {_command(*found) for text in texts for found in CALL.findall(text)}
    [right] = [right for right in redis_rights(NAMES) if right.user == f"nerv-{service}"]
    assert called - set(right.commands) == set()
    [temporal] = [right for right in redis_rights(NAMES) if right.user == "nerv-temporal"]  # what every service has
    words = set(re.findall(r"[a-z]+", "\n".join(texts).lower()))
    own = set(right.commands) - set(temporal.commands) - OF_THE_CLIENT
    assert {one for one in own if not set(one.split("|")) <= words} == set()


def test_redis_commands_of_every_service_are_those_of_the_library() -> None:
    """Signs of life, and spans."""
    folders = ("libs/nerv/src/nerv/telemetry/spans", "libs/nerv/src/nerv/service")
    texts = [
        file.read_text(encoding="utf-8")
        for folder in folders
        for file in (ROOT / folder).rglob("*")
        if file.suffix in (".py", ".lua")
    ]
    called = {_command(*found) for text in texts for found in CALL.findall(text)}
    [right] = [right for right in redis_rights(NAMES) if right.user == "nerv-temporal"]
    assert called - set(right.commands) == set()
    words = set(re.findall(r"[a-z]+", "\n".join(texts).lower()))
    assert {one for one in set(right.commands) - OF_THE_CLIENT if not set(one.split("|")) <= words} == set()


def _command(name: str, sub: str) -> str:
    return f"{name}|{sub}".lower() if name in SUBCOMMANDS else name.lower()


def test_redis_keys_of_services_are_apart() -> None:
    """What a service keeps no other may read, but for signs of life and spans."""
    own = {
        right.user: {key for key in right.keys if ":alive" not in key and ":spans" not in key}
        for right in redis_rights(NAMES)
    }
    for user, keys in own.items():
        others = {key for other, some in own.items() if other != user for key in some}
        for key in keys:
            start = key.removesuffix("*")
            assert not [one for one in others if one.startswith(start) or start.startswith(one.removesuffix("*"))]


def test_the_list_is_in_the_package() -> None:
    """Whoever installs the library has it."""
    assert (Path(nerv.__file__).parent / "acls" / "acls.yaml").is_file()
