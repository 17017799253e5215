# SPDX-License-Identifier: Apache-2.0
"""The mesh with every door shut: it works whole, no right is missing, none is too many, and what is not given is refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from flights import app as flights
from flights.events import FLIGHT_TOPIC, REPORT_TOPIC
from nerv.acls import SERVICES, KafkaRight, kafka_rights, names_of, redis_rights
from nerv.client import Client
from nerv.client.commands import Commands
from nerv.client.subscriptions import Verdict
from nerv.errors import Misconfigured, NervError, Unavailable, UnknownOutcome
from nerv.kafka import BatchConsumer, Outgoing, Producer, TransactionalProducer
from nerv.kafka.permitting import Permitting
from nerv.kafka.settings import KafkaSettings
from nerv.protocols.history import AppendRequest, Expected
from nerv.redis import RedisSettings, connect, mapped
from nerv.topics import of_mesh
from nerv.types import Event, parse_instant
from tests.integration.secured.standing import ADMINISTRATOR, MESH, Standing, secured

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.1
NAMES = names_of(MESH, flights)
KAFKA = kafka_rights(NAMES)
EVERYTHING = "*"
TAILNUM = "N14228"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Standing]:
    """All five services on the flights app."""
    async with secured(tmp_path_factory.mktemp("secured")) as standing:
        yield standing


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mesh: Standing) -> AsyncIterator[Client]:
    """With a token for everything: what tokens may is shown elsewhere."""
    async with mesh.client(EVERYTHING) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def flown(client: Client) -> str:
    """An aircraft that has departed and arrived, published to the topic of flights."""
    placed = await client.topics.publish(FLIGHT_TOPIC, flight(1))
    assert [one.deadletter for one in placed] == [None, None]
    return TAILNUM


def flight(number: int) -> list[Event[bytes]]:
    """Its departure and its arrival, on a day of January."""
    day = f"2013-01-{number:02}"
    told = {"flight": f"UA{number}", "number": number, "day": day, "scheduled": f"{day}T10:15:00Z", "tailnum": TAILNUM}
    told |= {"carrier": "UA", "origin": "EWR", "dest": "IAH", "distance": 1400}
    return [
        event(f"departed-{number}", "flight.departed.v1", told | {"at": f"{day}T10:17:00Z", "delay": 2}),
        event(
            f"arrived-{number}", "flight.arrived.v1", told | {"at": f"{day}T13:30:00Z", "delay": 11, "air_time": 227}
        ),
    ]


def event(name: str, kind: str, data: dict[str, Any]) -> Event[bytes]:
    """An event with an id."""
    return Event(name, "test", kind, parse_instant("2013-01-01T00:00Z", "time"), json.dumps(data).encode())


@asynccontextmanager
async def redis(mesh: Standing, user: str) -> AsyncIterator[Redis]:
    """A connection as a user."""
    made = connect(mesh.redis_as(user), "test")
    try:
        yield made
    finally:
        await made.aclose()


async def until(ask: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> Any:
    """Ask until the answer is as wanted; what is not there yet is asked for again."""
    found: Any = None
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                found = await ask()
            except NervError as error:
                found = error
            if not isinstance(found, NervError) and wanted(found):
                return found
            await asyncio.sleep(POLL_SECONDS)


async def test_what_is_published_comes_into_history_and_views(client: Client, flown: str) -> None:
    """Through the reaction, the fold of its stream, and one by another key."""

    async def history() -> list[str]:
        return [one.type async for one in client.streams.read(f"aircraft-{flown}")]

    assert await until(history, lambda found: len(found) == 2) == ["flight.departed.v1", "flight.arrived.v1"]
    view = await until(lambda: client.views.get("carriers", "UA"), lambda view: view["state"]["arrivals"] == 1)
    assert view["state"]["departures"] == 1
    await until(lambda: client.views.get("airports", "IAH"), lambda view: len(view["state"]["arrivals"]) == 1)


async def test_changes_of_views_are_followed(client: Client, flown: str) -> None:
    """Of every projection: the view, and what the next flight makes of it."""
    keys = {"aircraft": flown, "airports": "IAH", "carriers": "UA", "months": "2013-01"}
    followed = {name: client.views.follow(name, [key]) for name, key in keys.items()}
    assert set(keys) == set(flights.projections)
    for name, key in keys.items():
        await until(partial(client.views.get, name, key), bool)  # each is built by itself, one of them last
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert {(await anext(one))[0] for one in followed.values()} == {"view"}
        await client.topics.publish(FLIGHT_TOPIC, flight(2))
        assert {(await anext(one))[0] for one in followed.values()} <= {
            "delta",
            "view",
        }  # the whole, where one was missed
    for one in followed.values():
        await one.aclose()


async def test_appends_are_taken_over_http_and_over_kafka(mesh: Standing, client: Client) -> None:
    """And refused where the version is another: the refusal proves first that its owner owns."""
    note = event("note-1", "note.v1", {"text": "hello"})
    request = AppendRequest("note-1", [note])
    [done] = await client.streams.append([request])
    assert not isinstance(done, NervError)
    [refused] = await client.streams.append([AppendRequest("note-2", [note], Expected.parse("7"))])
    assert isinstance(refused, NervError)
    async with Commands(mesh.kafka_as(f"{MESH}-commands"), MESH) as commands:
        [again] = await commands.append([request], seconds=DEADLINE_SECONDS)
    assert not isinstance(again, NervError)
    assert again.duplicate


async def test_a_group_is_given_the_events_of_a_topic(client: Client, flown: str) -> None:
    """Its books in history, its window in Redis, its offsets in Kafka; what is parked is a dead letter."""
    await client.subscriptions.make("readers", {"topic": FLIGHT_TOPIC, "from": "earliest"})
    [first] = await client.subscriptions.fetch("readers", "m", 1, wait=30)
    assert json.loads(first.event.data)["tailnum"] == flown
    assert await client.subscriptions.conclude("readers", [Verdict(first.token)]) == []
    [second] = await client.subscriptions.fetch("readers", "m", 1, wait=30)
    assert await client.subscriptions.conclude("readers", [Verdict(second.token, "park", cause="a test")]) == []

    await until(
        lambda: client.deadletters.list(subscription="readers"),
        lambda page: "a test" in [one["cause"] for one in page["letters"]],
    )


async def test_topics_and_schemas_are_told_of(client: Client, flown: str) -> None:
    """With what is configured, who lags how far behind, and the app's own schemas, which are registered at the start."""
    assert [(await client.topics.about(topic))["partitions"] for topic in NAMES.topic] == [4, 4]
    await until(lambda: client.topics.about(FLIGHT_TOPIC), lambda about: about["lag"].get(f"{MESH}.broker") == 0)
    assert "flight.departed.v1" in [one["subject"] for one in await client.schemas.subjects()]


async def test_decisions_about_projections_stand(client: Client) -> None:
    """They are written by a producer that shuts out all others."""
    await client.projections.pause("months")
    await client.projections.resume("months")


async def test_a_register_is_kept_equal(client: Client) -> None:
    """The 16 airlines become streams."""
    run = await client.syncs.run("airlines")
    assert (run["status"], run["summary"]["create"]) == ("done", 16)


async def test_a_workflow_reads_views_and_publishes(client: Client, flown: str) -> None:
    """Thirteen tasks by Redis, their results in history, the report on its topic."""
    started = await client.workflows.start("monthly-report")
    ended = await client.workflows.wait(started["run"], DEADLINE_SECONDS)
    assert ended["status"] == "completed", ended
    async for consumed in client.topics.consume(REPORT_TOPIC, "earliest"):
        assert json.loads(consumed.event.data)["year"] == "2013"
        break


async def test_no_right_was_missing(mesh: Standing, flown: str) -> None:
    """Kafka's authorizer denied nothing to anybody in all that, and Redis nothing either. But when the broker asks how far each
    group is, Kafka leaves out the topics that are not for it.
    """
    denied = [one for one in mesh.decisions() if not one.allowed]
    assert [one for one in denied if (one.user, one.request) != (f"{MESH}-broker", "OffsetFetch")] == []
    async with redis(mesh, ADMINISTRATOR) as admin:
        assert await admin.acl_log() == []


async def test_no_right_is_too_many(mesh: Standing, flown: str) -> None:
    """Each ACL was the one that allowed something, but for those that are marked as rare; some are used every few seconds."""
    with suppress(TimeoutError):  # what is unused then is the failure
        async with asyncio.timeout(DEADLINE_SECONDS):
            while _unused(mesh):  # noqa: ASYNC110 - it is read in Kafka's log
                await asyncio.sleep(POLL_SECONDS)
    assert _unused(mesh) == []


def _unused(mesh: Standing) -> list[tuple[str, str, str, str]]:
    """The rights that have allowed nothing yet."""
    used = {(one.user, one.operation, one.resource, one.rule) for one in mesh.decisions() if one.allowed}
    return [
        (right.user, operation, right.resource, right.name)
        for right in KAFKA
        if not right.rare
        for operation in right.operations
        if (right.user, operation, right.resource, (right.name, right.prefixed)) not in used
    ]


async def test_who_may_not_write_a_topic_cannot(mesh: Standing) -> None:
    """Of the mesh and of the app: each user and each topic that no right of it names, history among them."""
    topics = [*(topic.name for topic in of_mesh(MESH, projections=flights.projections)), *NAMES.topic]
    refused = await asyncio.gather(*(_turned_away(mesh, service, topics) for service in SERVICES))
    for service, found in zip(SERVICES, refused, strict=True):
        assert found == {topic for topic in topics if not _allowed(service, "topic", topic, "write")}, service
    assert f"{MESH}.history.v1" in refused[SERVICES.index("projector")]


async def _turned_away(mesh: Standing, service: str, topics: list[str]) -> set[str]:
    """The topics to which Kafka lets nothing be written by this user. Only those are tried that no right names."""
    others = [topic for topic in topics if not _allowed(service, "topic", topic, "write")]
    async with Producer(mesh.kafka_as(f"{MESH}-{service}"), "intruder") as producer:
        outcomes = await producer.publish([Outgoing(topic, b"{}", b"key") for topic in others])
    # Whoever may write no topic at all is not even given a producer's number, so that nothing was sent.
    return {topic for topic, one in zip(others, outcomes, strict=True) if isinstance(one, Misconfigured | Unavailable)}


def _allowed(service: str, resource: str, name: str, operation: str) -> bool:
    def covers(right: KafkaRight) -> bool:
        return name.startswith(right.name) if right.prefixed else name == right.name

    mine = [right for right in KAFKA if right.user == f"{MESH}-{service}" and right.resource == resource]
    return any(operation in right.operations and covers(right) for right in mine)


@pytest.mark.parametrize("service", SERVICES)
async def test_nobody_shuts_out_the_writers_of_others(mesh: Standing, service: str) -> None:
    """By their transactional ids: sync that of temporal, say, whose fence would fall."""
    ids = [right.name for right in KAFKA if right.resource == "transactional_id"]
    others = [f"{name}0/a" for name in ids if not _allowed(service, "transactional_id", name, "write")]
    assert others
    for name in others:
        producer = TransactionalProducer(mesh.kafka_as(f"{MESH}-{service}"), name, "intruder")
        with pytest.raises(NervError, match=rf"transaction of {name} .*authorization.*nerv acls"):
            await producer.start()
        await producer.close()


async def test_nobody_reads_what_is_not_for_it(mesh: Standing) -> None:
    """Sync reads no history in Kafka, whatever group it says that it is."""
    topic = (f"{MESH}.history.v1", 0)
    async with BatchConsumer(mesh.kafka_as(f"{MESH}-sync"), "intruder", f"{MESH}-sync", assign={topic: 0}) as consumer:
        with pytest.raises(NervError, match=r"(?i)authorization"):
            await anext(consumer.batches())


@pytest.mark.parametrize("service", SERVICES)
async def test_nobody_reads_the_keys_of_others(mesh: Standing, service: str) -> None:
    """In Redis: for each pattern of another service, a key of it is refused; and so is what is dangerous."""
    rights = {right.user: right for right in redis_rights(NAMES)}
    mine = set(rights[f"{MESH}-{service}"].keys)
    others = {key.replace("*", "x") for right in rights.values() for key in right.keys if key not in mine}
    async with redis(mesh, f"{MESH}-{service}") as intruder:
        for key in sorted(others):
            if not key.startswith(f"{MESH}:mesh:alive:"):
                with pytest.raises(NoPermissionError):
                    await intruder.get(key)
            with pytest.raises(NoPermissionError):
                await intruder.set(key, "x")
        for command in (intruder.keys, intruder.flushall, intruder.config_get, intruder.acl_list, intruder.client_list):
            with pytest.raises(NoPermissionError):
                await command()


async def test_a_stranger_gets_in_nowhere(mesh: Standing) -> None:
    """Without a name, with another's word, without TLS, or before a server that somebody else has signed."""
    [nobody, other] = [mesh.redis_as(f"{MESH}-sync"), mesh.redis_as(f"{MESH}-broker")]
    assert other.password_file is not None
    wrong = nobody.model_copy(update={"password_file": other.password_file})
    for settings in (nobody.model_copy(update={"username": None, "password_file": None}), wrong):
        assert await _refusal(settings) is Misconfigured
    plain = RedisSettings(url=mesh.redis.replace("rediss", "redis"))
    untrusted = nobody.model_copy(update={"ssl_ca_file": None})
    assert await _refusal(plain) is UnknownOutcome
    assert await _refusal(untrusted) is UnknownOutcome
    kafka = mesh.kafka_as(f"{MESH}-sync")
    with pytest.raises(Misconfigured, match=r"does not let us in: .*invalid credentials"):
        await _look(kafka.model_copy(update={"sasl_password_file": other.password_file}))
    with pytest.raises(Misconfigured, match=r"does not let us in: .*certificate verify failed"):
        await _look(kafka.model_copy(update={"ssl_ca_file": None}))


async def _look(kafka: KafkaSettings) -> None:
    await asyncio.to_thread(Permitting(kafka, "intruder").lacking, [])


async def _refusal(settings: RedisSettings) -> type[Exception] | None:
    client = connect(settings, "intruder")
    try:
        with mapped("PING"):
            await client.ping()
    except NervError as error:
        return type(error)
    finally:
        await client.aclose()
    return None


async def test_a_service_without_its_rights_says_which(mesh: Standing) -> None:
    """And does not start: the broker with the name of sync, in Kafka and in Redis."""
    environment = mesh.environment_of(f"{MESH}-sync") | {"NERV_MESH": MESH, "NERV_APP": "flights:app"}
    code, said = await asyncio.to_thread(mesh.serve, "broker", environment)
    assert code == 2
    assert "nerv broker cannot start: it lacks rights: " in said
    assert (
        f"to read and write and describe_configs topic {FLIGHT_TOPIC} in Kafka (publish, subscribe, react, describe)"
        in said
    )
    assert f"to read group {MESH}.broker* in Kafka" in said
    assert f"to the keys {MESH}:{{group:* in Redis" in said
    assert "`nerv acls`" in said


async def test_a_password_is_exchanged_under_services_that_run(mesh: Standing, client: Client) -> None:
    """As the page says: of sync in Redis, at once; of sync in Kafka, for those who log in from then on."""
    user = f"{MESH}-sync"
    before = mesh.redis_as(user)
    assert before.password_file is not None
    old = mesh.folder / "old-password"
    before.password_file.rename(old)
    await asyncio.to_thread(mesh.write_users)
    async with redis(mesh, ADMINISTRATOR) as admin:
        await admin.acl_load()  # Redis 7.0 then closes all connections, and everybody comes in anew
    assert await _refusal(before.model_copy(update={"password_file": old})) is Misconfigured
    assert await _refusal(before) is None
    run = await client.syncs.run("airlines")
    assert (run["status"], run["summary"]["unchanged"]) == ("done", 16)

    (mesh.secrets / "kafka" / user).rename(old)
    await asyncio.to_thread(mesh.give)
    await _look(mesh.kafka_as(user))
    with pytest.raises(Misconfigured, match=r"does not let us in"):
        await _look(mesh.kafka_as(user).model_copy(update={"sasl_password_file": old}))
