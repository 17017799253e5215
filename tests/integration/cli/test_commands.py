# SPDX-License-Identifier: Apache-2.0
"""The command line against a real mesh: what it prints, for people and for machines, and the code it ends with."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from nerv.dev.mesh import LocalMesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = Path(__file__).parent.parent.parent / "apps"
NERV = Path(sys.executable).with_name("nerv")


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        assert self.out, self.err
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(scope="module")
def prefix() -> str:
    """What the topics of this module's app begin with."""
    return f"ledger-{uuid.uuid4().hex[:8]}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(
    kafka: str, redis_url: str, prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalMesh]:
    """A mesh in a folder, as `nerv dev` leaves it."""
    async with LocalMesh(
        app="ledger:app",
        services=["temporal", "broker", "projector"],
        folder=tmp_path_factory.mktemp("cli") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS), "LEDGER_TOPICS": prefix},
    ) as running:
        yield running


async def nerv(mesh: LocalMesh, *arguments: str, stdin: str = "", **environment: str) -> Ended:
    """Run the command in the mesh's folder."""
    process = await asyncio.create_subprocess_exec(
        str(NERV), *arguments, cwd=mesh.folder.parent,
        env={**os.environ, "COLUMNS": "100", "PYTHONPATH": str(APPS), **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate(stdin.encode())
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def test_append_history_and_state(mesh: LocalMesh) -> None:
    """An event goes in, is listed, and is folded, now and as of before."""
    data = '{"account": "ann", "amount": 5}'
    first = await nerv(
        mesh, "append", "account-ann", data, "--type", "account.deposited.v1", "--time", "2013-01-15T12:00Z", "--json"
    )
    assert (first.code, first.json["version"], first.json["duplicate"]) == (0, 1, False)
    again = await nerv(
        mesh, "append", "account-ann", data, "--type", "account.deposited.v1", "--time", "2013-01-15T12:00Z", "--json",
        "--id", first.json["id"],
    )  # fmt: skip
    assert (again.code, again.json["version"], again.json["duplicate"]) == (0, 1, True)
    listed = await nerv(mesh, "history", "account-ann", "--json")
    assert [(line["sequence"], line["data"]["amount"]) for line in listed.lines] == [("1", 5)]
    shown = await nerv(mesh, "history", "account-ann")
    assert "account.deposited.v1" in shown.out
    assert "amount=5" in shown.out
    assert (await nerv(mesh, "state", "account-ann", "--json")).json["state"] == {"balance": 5, "deposits": 1}
    before = await nerv(mesh, "state", "account-ann", "--as-of", "2013-01-14T00:00Z", "--json")
    assert before.json["state"] is None
    assert "balance: 5" in (await nerv(mesh, "state", "account-ann", "--known-at", "now")).out


async def test_history_of_many_streams_types_versions_and_what_comes(mesh: LocalMesh) -> None:
    """A category in the order of recording, by type and stream, with who and why, and followed until enough has come."""
    for name, amount in (("dan", 1), ("eve", 2), ("dan", 3)):
        data = json.dumps({"account": name, "amount": amount})
        done = await nerv(
            mesh, "append", f"account-{name}", data, "--type", "account.deposited.v1", "--source", "teller/7"
        )
        assert done.code == 0, done.err
    of_two = ("--category", "account", "--stream", "account-dan", "--stream", "account-ev*")
    listed = await nerv(mesh, "history", *of_two, "--json")
    assert [(line["subject"], line["sequence"]) for line in listed.lines] == [
        ("account-dan", "1"),
        ("account-eve", "1"),
        ("account-dan", "2"),
    ]
    assert (await nerv(mesh, "history", *of_two, "--type", "account.w*", "--json")).lines == []
    newest = await nerv(mesh, "history", *of_two, "--backward", "--limit", "1", "--json")
    assert [line["data"]["amount"] for line in newest.lines] == [3]
    followed = await nerv(mesh, "history", *of_two, "--follow", "--limit", "3", "--json")
    assert followed.lines == listed.lines
    spoken = await nerv(mesh, "history", "account-dan", "--follow", "--limit", "2")
    assert [line.split("  ")[1] for line in spoken.out.splitlines()] == ["account-dan@1", "account-dan@2"]
    versions = await nerv(mesh, "history", "account-dan", "--versions", COLUMNS="80")
    assert "teller/7" in versions.out
    assert max(map(len, versions.out.splitlines())) <= 80
    for wrong in ((), ("account-dan", "--all"), ("account-dan", "--from", "-1"), ("--all", "--follow", "--versions")):
        refused = await nerv(mesh, "history", *wrong)
        assert (refused.code, bool(refused.err)) == (2, True), wrong


async def test_states_of_a_category_and_what_changed(mesh: LocalMesh) -> None:
    """One row a stream, all as of one instant; a change as a row with what was and what is."""
    for amount in (5, 7):
        data = json.dumps({"account": "fay", "amount": amount})
        await nerv(mesh, "append", "account-fay", data, "--type", "account.deposited.v1")
    rows = (await nerv(mesh, "state", "--category", "account", "--json")).lines
    assert {row["stream"]: row["state"] for row in rows}["account-fay"] == {"balance": 12, "deposits": 2}
    assert len({row["known_at"] for row in rows}) == 1
    assert "account-fay" in (await nerv(mesh, "state", "--category", "account")).out
    diff = await nerv(mesh, "state", "account-fay", "--diff", "1", "2", "--json")
    assert diff.json["changes"][0] == {"path": ["balance"], "old": 5, "new": 12}
    shown = await nerv(mesh, "state", "account-fay", "--diff", "1", "2")
    assert "from version 1 to version 2" in shown.out
    assert "balance" in shown.out
    assert "nothing changed" in (await nerv(mesh, "state", "account-fay", "--diff", "2", "2")).out
    by = await nerv(mesh, "state", "account-fay", "--diff", "2013-01-01T00:00Z", "now", "--by", "known-at", "--json")
    assert by.json["changes"][0] == {"path": ["balance"], "new": 12}
    for wrong in ((), ("account-fay", "--diff", "1", "2", "--by", "size"), ("--category", "account", "--version", "1")):
        refused = await nerv(mesh, "state", *wrong)
        assert (refused.code, bool(refused.err)) == (2, True), wrong


async def test_publish_consume_and_view(mesh: LocalMesh, prefix: str) -> None:
    """Events from a file reach the topic, the reaction, the stream and the read model."""
    topic = f"{prefix}.account.v1"
    events = [
        {
            "specversion": "1.0", "id": f"e{n}", "source": "test", "type": "account.deposited.v1",
            "time": "2013-01-15T12:00:00Z", "data": {"account": "bob", "amount": n},
        }
        for n in range(1, 11)
    ]  # fmt: skip
    published = await nerv(mesh, "publish", topic, "--file", "-", stdin="\n".join(map(json.dumps, events)))
    assert (published.code, published.out.strip()) == (0, f"published 10 events to {topic}")
    one = await nerv(
        mesh, "publish", topic, '{"account": "bob", "amount": 45}', "--type", "account.deposited.v1", "--json"
    )
    assert (one.code, set(one.json), one.json["duplicate"]) == (0, {"id", "partition", "offset", "duplicate"}, False)
    again = await nerv(mesh, "publish", topic, "--file", "-", stdin="\n".join(map(json.dumps, events)))
    assert again.code == 0  # and nothing is written: what is consumed below has each event once
    consumed = await nerv(mesh, "consume", topic, "--from", "earliest", "--to", "latest", "--json")
    assert [line["data"]["amount"] for line in consumed.lines if line["data"]["account"] == "bob"] == [
        *range(1, 11),
        45,
    ]
    async with asyncio.timeout(30):
        while (found := await nerv(mesh, "view", "account", "bob", "--json")).code or found.json["version"] < 11:
            assert found.code in (0, 1)
    assert found.json["state"] == {"balance": 100, "deposits": 11}
    some = await nerv(mesh, "view", "account", "bob", "-p", "owner", "--fields", "balance", "--json")
    assert some.json["state"] == {"balance": 100}
    table = await nerv(mesh, "view", "account")
    assert "bob" in table.out
    assert "100" in table.out


async def test_smoke_writes_an_event_and_finds_it(mesh: LocalMesh, prefix: str) -> None:
    """A neutral event is read back, one of the app's is found in its view; a view that does not come is said with what to do."""
    of_app = ("--topic", f"{prefix}.account.v1", "--type", "account.deposited.v1")
    data = ("--data", '{"account": "smo", "amount": 1}')
    view = ("--projection", "account", "--key", "smo")
    neutral = await nerv(mesh, "smoke", "--json")
    assert [step["where"] for step in neutral.json["steps"]] == ["smoke@1"]
    for version in (1, 2):
        done = await nerv(mesh, "smoke", *of_app, *data, *view, "--json")
        assert [step["where"] for step in done.json["steps"]][::2] == [f"smoke@{version + 1}", f"smo@{version}"]
    shown = await nerv(mesh, "smoke", *of_app, *data)
    assert (shown.code, "publish to" in shown.out) == (0, True), shown.err
    missed = await nerv(mesh, "smoke", *of_app, *data, "--projection", "account", "--key", "nobody", "--seconds", "3")
    assert (missed.code, "nerv projections list" in missed.err) == (1, True)


async def test_exit_codes_tell_what_happened(mesh: LocalMesh, prefix: str) -> None:
    """0 done, 1 refused or not reached; the text on standard error says what to do."""
    append = ("append", "account-cat", '{"account": "cat", "amount": 1}', "--type", "account.deposited.v1")
    conflict = await nerv(mesh, *append, "--expected-version", "7")
    assert conflict.code == 1
    assert "version 0, not 7" in conflict.err
    schema = await nerv(mesh, "append", "account-cat", "{}", "--type", "account.deposited.v1")
    assert (schema.code, "amount" in schema.err) == (1, True)
    unknown = await nerv(mesh, "publish", "nowhere.v1", "{}", "--type", "x")
    assert (unknown.code, f"{prefix}.account.v1" in unknown.err) == (1, True)
    assert (await nerv(mesh, "state", "account-nobody")).code == 1
    away = await nerv(mesh, "status", NERV_URL="http://127.0.0.1:9")
    assert away.code == 1


async def test_without_a_mesh_it_says_how_to_get_one(mesh: LocalMesh, tmp_path: Path) -> None:
    """In a folder without a context file: usage, and the command that starts one."""
    process = await asyncio.create_subprocess_exec(
        str(NERV), "status", cwd=tmp_path, stderr=asyncio.subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if not k.startswith("NERV_")},
    )  # fmt: skip
    _, err = await process.communicate()
    assert process.returncode == 2
    assert b"nerv dev" in err


async def test_status_topics_and_describe(mesh: LocalMesh, prefix: str, kafka: str) -> None:
    """What runs, what Kafka holds, what the app declares; creating topics twice changes nothing."""
    status = (await nerv(mesh, "status", "--json")).json
    assert {row["service"] for row in status["services"] if row["status"] == "up"} == {
        "temporal",
        "broker",
        "projector",
    }
    assert "temporal" in (await nerv(mesh, "status")).out
    environment = {
        "NERV_APP": "ledger:app", "LEDGER_TOPICS": prefix, "NERV_MESH": mesh.mesh, "NERV_KAFKA__BOOTSTRAP_SERVERS": kafka,
    }  # fmt: skip
    created = await nerv(mesh, "topics", "create", "--json", **environment)
    assert (created.code, created.json["created"]) == (0, [])
    listed = await nerv(mesh, "topics", "wanted", "--json", **environment)
    assert all(row["there"] for row in listed.json)
    described = await nerv(mesh, "describe", "--json", **environment)
    topics = {event["name"]: event["topic"] for event in described.json["events"]}
    assert topics["account.deposited.v1"] == f"{prefix}.account.v1"
    assert "reactions" in (await nerv(mesh, "describe", **environment)).out
    told = (await nerv(mesh, "describe", "broker", "--json")).json
    assert (told["kind"], told["name"], told["health"]) == ("Service", "broker", "ok")
    assert {"Health", "Producer", "Client", "Door"} <= {part["kind"] for part in told["parts"]}
    [owners] = [
        part for part in (await nerv(mesh, "describe", "temporal", "--json")).json["parts"] if part["kind"] == "Owners"
    ]
    assert len(owners["outputs"]) == len(owners["counters"]) == len(owners["parts"][0]["outputs"]) > 0
    tree = await nerv(mesh, "describe", "broker")
    assert "Producer, ok" in tree.out


async def test_what_comes_and_who_works_on_it(mesh: LocalMesh) -> None:
    """What came in the last seconds, and the owner of each partition. As JSON and as tables."""
    async with asyncio.timeout(60):
        while not all(row["owner"] for row in (await nerv(mesh, "projections", "owners", "--json")).json["partitions"]):
            pass  # a command takes its time
    assert (await nerv(mesh, "projections", "rates", "--json")).json["seconds"] == 10
    assert "hot keys" in (await nerv(mesh, "projections", "rates", "--top", "3")).out
    assert "since" in (await nerv(mesh, "projections", "owners")).out


async def test_schemas_are_listed_shown_and_checked(mesh: LocalMesh, tmp_path: Path) -> None:
    """The app's events are registered; a change that their history does not bear is named before a deploy, with code 1."""
    listed = await nerv(mesh, "schemas", "list", "--json")
    assert "account.deposited.v1" in {row["subject"] for row in listed.json}
    shown = await nerv(mesh, "schemas", "show", "account.deposited.v1")
    assert shown.code == 0
    assert '"amount"' in shown.out
    checked = await nerv(mesh, "schemas", "check", "--app", "ledger:app", "--json")
    assert (checked.code, {row["verdict"] for row in checked.json}) == (0, {"registered"})
    refused = await nerv(mesh, "schemas", "check", "--app", "renamed_ledger:app")
    assert refused.code == 1
    assert "account.deposited.v1: /amount: must be string, and was integer (version 1)" in refused.out
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    made = await nerv(mesh, "schemas", "register", "cli.made.v1", str(schema))
    assert (made.code, "cli.made.v1 has version 1" in made.out) == (0, True)
    missing = await nerv(mesh, "schemas", "register", "cli.made.v1", str(tmp_path / "nothing"))
    assert (missing.code, "cannot read" in missing.err) == (2, True)


BROKEN = """
import nerv
app = nerv.App("ledger")

@app.event("account.deposited.v1")
class Deposited(nerv.Event):
    account: str
    amount: int
    currency: str

@app.projection("account", on=["account.deposited.v1"])
def account(state, event):
    return {"balance": event.amount}
"""


def shorten(path: Path) -> None:
    """Take the end of a file away."""
    path.write_bytes(path.read_bytes()[:-20])


async def test_history_is_verified_moved_and_closed(mesh: LocalMesh, tmp_path: Path) -> None:
    """An app that cannot read history is told so before it is deployed; archives; deleted, reopened, tombstoned streams."""
    deposited = ("--type", "account.deposited.v1")
    for amount in (1, 2, 3):
        await nerv(mesh, "append", "account-upkeep", json.dumps({"account": "upkeep", "amount": amount}), *deposited)
    found = await nerv(mesh, "history", "verify", "--app", "ledger:app", "--category", "account", "--json")
    assert (found.code, found.json["failed"], found.json["events"] >= 3) == (0, 0, True)
    (tmp_path / "broken_ledger.py").write_text(BROKEN)
    broken = await nerv(mesh, "history", "verify", "--app", "broken_ledger:app", "--json", PYTHONPATH=str(tmp_path))
    assert (broken.code, broken.json["failed"]) == (1, broken.json["events"] - sum(broken.json["unread"].values()))
    fault = next(f for f in broken.json["faults"] if f["stream"] == "account-upkeep")
    assert (fault["version"], fault["type"], "currency" in fault["error"]) == (1, "account.deposited.v1", True)
    people = await nerv(mesh, "history", "verify", "--app", "broken_ledger:app", PYTHONPATH=str(tmp_path))
    assert (people.code, "account-upkeep" in people.out) == (1, True)

    file = str(tmp_path / "history.ndjson.zst")
    out = await nerv(mesh, "history", "export", file, "--json")
    back = await nerv(mesh, "history", "import", file, "--json")
    assert (out.code, back.code, back.json["digest"]) == (0, 0, out.json["digest"])
    assert len((await nerv(mesh, "history", "account-upkeep", "--json")).lines) == 3
    shorten(Path(file))
    cut = await nerv(mesh, "history", "import", file)
    assert (cut.code, "cut short" in cut.err, "--resume" in cut.err) == (1, True, True)
    again = await nerv(mesh, "history", "export", file, "--resume", "--json")
    assert (again.code, again.json["digest"]) == (0, out.json["digest"])

    deleted = await nerv(mesh, "history", "delete", "account-upkeep", "--reason", "a test", "--json")
    assert (deleted.code, deleted.json["version"]) == (0, 4)
    gone = await nerv(mesh, "history", "account-upkeep")
    assert (gone.code, "deleted" in gone.err) == (1, True)
    assert len((await nerv(mesh, "history", "account-upkeep", "--deleted", "--json")).lines) == 4
    reopened = await nerv(mesh, "history", "reopen", "account-upkeep", "--reason", "again", "--expected-version", "4")
    assert (reopened.code, (await nerv(mesh, "history", "account-upkeep")).code) == (0, 0)
    assert (await nerv(mesh, "history", "tombstone", "account-upkeep", "--reason", "enough")).code == 0
    never = await nerv(mesh, "history", "reopen", "account-upkeep", "--reason", "after all")
    assert (never.code, "never" in never.err) == (1, True)


async def test_documents_are_exported(mesh: LocalMesh) -> None:
    """AsyncAPI of the app, without asking anybody; OpenAPI of a service that runs."""
    app = await nerv(mesh, "describe", "--document", "--app", "ledger:app", NERV_URL="http://127.0.0.1:9")
    assert app.json["asyncapi"].startswith("3.")
    assert "account.deposited.v1" in app.json["components"]["messages"]
    service = await nerv(mesh, "describe", "temporal", "--document")
    assert "/v1/streams/{stream}/events" in service.json["paths"]


async def test_groups_and_dead_letters(mesh: LocalMesh, prefix: str) -> None:
    """A group is made, read and looked at; what a reaction could not do is seen, edited, and done when it is replayed."""
    topic = f"{prefix}.account.v1"
    made = await nerv(mesh, "subscriptions", "make", "clerks", "--topic", topic, "--where", "amount < `0`")
    assert made.code == 0, made.err
    data = json.dumps({"account": "unlucky", "amount": -13})
    done = await nerv(mesh, "publish", topic, data, "--type", "account.deposited.v1", "--id", "thirteen")
    assert done.code == 0, done.err
    read = await nerv(mesh, "subscriptions", "read", "clerks", "--max", "1", "--json")
    assert [(line["id"], line["data"]["amount"]) for line in read.lines] == [("thirteen", -13)]
    shown = await nerv(mesh, "subscriptions", "show", "clerks")
    assert (shown.code, "clerks hears" in shown.out) == (0, True)
    listed = await nerv(mesh, "subscriptions", "list", "--json")
    assert [row["name"] for row in listed.json] == ["clerks"]

    async with asyncio.timeout(60):
        while not (rows := (await nerv(mesh, "deadletters", "list", "record", "--json")).json["letters"]):  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # the reaction runs in another process
    [row] = rows
    assert (row["key"], row["state"], "minus thirteen" in row["cause"]) == ("unlucky", "dead", True)
    whole = await nerv(mesh, "deadletters", "show", "record", row["id"])
    assert '"amount": -13' in whole.out
    assert "unlucky" in (await nerv(mesh, "deadletters", "parked", "record")).out
    edit = await nerv(
        mesh, "deadletters", "edit", "record", row["id"], "--data", '{"account": "unlucky", "amount": 13}', "--json"
    )
    assert edit.code == 0, edit.err
    replayed = await nerv(mesh, "deadletters", "replay", "record", edit.json["id"], "--json")
    assert (replayed.code, replayed.json["replaying"]) == (0, 1)
    async with asyncio.timeout(60):
        while (await nerv(mesh, "state", "account-unlucky", "--json")).code:  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # as above
    assert (await nerv(mesh, "state", "account-unlucky", "--json")).json["state"] == {"balance": 13, "deposits": 1}
    assert (await nerv(mesh, "deadletters", "discard", "record", "--all", "--why", "a test")).code == 0
    assert (await nerv(mesh, "deadletters", "replay", "record")).code == 2
    assert (await nerv(mesh, "subscriptions", "delete", "clerks")).code == 0
    assert (await nerv(mesh, "subscriptions", "show", "clerks")).code == 1


async def test_a_parked_key_goes_on_by_its_dead_letter(mesh: LocalMesh) -> None:
    """What a fold does not take is a dead letter: replayed it fails again, discarded its key is folded on without it."""
    for amount in (1, -7, 5):
        data = json.dumps({"account": "cursed", "amount": amount})
        done = await nerv(mesh, "append", "account-cursed", data, "--type", "account.deposited.v1")
        assert done.code == 0, done.err

    async def dead(attempt: int) -> list[str]:
        """The keys that wait for letters, once those were tried so often."""
        async with asyncio.timeout(60):
            while True:
                letters = (await nerv(mesh, "deadletters", "parked", "fold-account", "--json")).json
                rows = (await nerv(mesh, "projections", "parked", "account", "--json")).json["parked"]
                if letters["dead"] and [row["attempt"] for row in rows] == [str(attempt)]:
                    return [row["key"] for row in letters["parked"]]
                await asyncio.sleep(0.2)  # the fold runs in another process

    assert await dead(1) == ["cursed"]
    shown = await nerv(mesh, "projections", "parked", "account")
    assert "nerv deadletters replay fold-account --key KEY" in shown.out
    replayed = await nerv(mesh, "deadletters", "replay", "fold-account", "--key", "cursed", "--json")
    assert (replayed.code, replayed.json["replaying"]) == (0, 1)
    assert await dead(2) == ["cursed"]
    assert (await nerv(mesh, "deadletters", "discard", "fold-account", "--key", "cursed", "--why", "a test")).code == 0
    async with asyncio.timeout(60):
        while (await nerv(mesh, "projections", "parked", "account", "--json")).json["all"]:  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # as above
    found = (await nerv(mesh, "view", "account", "cursed", "--json")).json
    assert (found["state"], found["version"]) == ({"balance": 6, "deposits": 2}, 2)


async def test_topics_are_made_filled_and_looked_at(mesh: LocalMesh, prefix: str) -> None:
    """As with kcat: records in by standard input, out by a format. A topic tells what it holds, how fast it grows, who lags."""
    name, owned = f"{prefix}.bare.v1", f"{prefix}.account.v1"
    made = await nerv(mesh, "topics", "create", name, "--partitions", "3", "--config", "retention.ms=600000", "--json")
    assert made.json == {"created": [name], "present": []}
    other = await nerv(mesh, "topics", "create", name, "--partitions", "5")
    assert (other.code, "keys would move" in other.err) == (1, True)

    lines = "".join(f"k{n % 7}:v{n}\n" for n in range(700))
    filled = await nerv(mesh, "publish", name, "--bare", "-K", ":", "-H", "origin=here", "--json", stdin=lines)
    assert filled.json == {"topic": name, "published": 700}
    await nerv(mesh, "publish", name, "--bare", "-k", "one", "-p", "2", stdin="the last")
    found = await nerv(mesh, "consume", name, "--from", "earliest", "--to", "latest", "-f", "%t %K %S %h|%k:%s\\n")
    wanted = [f"{name} 2 {len(line) - 3} origin=here|{line}" for line in lines.splitlines()]
    assert sorted(found.out.splitlines()) == sorted([*wanted, f"{name} 3 8 |one:the last"])

    told = (await nerv(mesh, "topics", "describe", name, "--json")).json
    assert (told["records"], told["config"]["retention.ms"], len(told["layout"])) == (701, "600000", 3)
    assert told["per_second"] > 0
    assert told["bytes_about"] > 701
    await nerv(mesh, "publish", owned, '{"account": "lag", "amount": 1}', "--type", "account.deposited.v1")
    async with asyncio.timeout(60):
        while True:
            listed = {one["name"]: one for one in (await nerv(mesh, "topics", "list", "--json")).json}
            if any(group.endswith(".broker") for group in listed[owned]["lag"]):
                break
    assert (listed[name]["records"], listed[name]["bytes_about"] > 701) == (701, True)
    refused = await nerv(mesh, "publish", owned, "--bare", stdin="{}")
    assert (refused.code, "POST events" in refused.err) == (1, True)
