# SPDX-License-Identifier: Apache-2.0
"""A collection over HTTP: what a load survives, and what it refuses."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from aiohttp import web

from nerv.errors import Invalid, Misconfigured, Unavailable, UnknownOutcome, VersionConflict
from nerv.protocols.side import Action, Entity, Position, Step, Written
from nerv.sync.canonical import canonical
from nerv.sync.errors import LoadRefused
from nerv.sync.sides import MappingSide, paged
from nerv.sync.sides.http import Feed, HttpSource
from nerv.sync.sides.http.asking import Bounds, Pace
from nerv.sync.synchronizer import DiffSynchronizer
from nerv.testing.contracts.side import loaded
from tests.unit.sync.collection import Collection, Harm

ROWS = {f"k{n}": {"key": f"k{n}", "value": n} for n in range(50)}


def source(address: str, **attributes: Any) -> HttpSource:
    """A source of the collection at an address."""
    told = {"url": address, "item": "/things/{key}", "total": "total", "category": "thing", "key": "key"}
    made: HttpSource = type("Things", (HttpSource,), told | attributes)()
    return made


def on_page(number: int, harm: Harm, times: int = 1_000) -> Harm:
    """Harm that befalls one page, so many times."""
    left = [times]

    async def harmed(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/things" and request.query.get("cursor", "0") == str(10 * (number - 1)) and left[0]:
            left[0] -= 1
            return await harm(request)
        return None

    return harmed


def answering(body: bytes = b"", status: int = 200, headers: Mapping[str, str] | None = None) -> Harm:
    """Answers with this."""

    async def harm(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers, content_type="application/json")

    return harm


async def huge(request: web.Request) -> web.StreamResponse:
    """A page of 50 MB."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(800):
        await answer.write(b" " * 65_536)
    return answer


async def dripping(request: web.Request) -> web.StreamResponse:
    """A byte now and then, without an end."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(10_000):
        await answer.write(b" ")
        await asyncio.sleep(0.01)
    return answer


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between tries are short."""
    monkeypatch.setattr(paged, "FIRST_PAUSE", 0.001)


async def test_a_page_that_fails_is_asked_for_again_from_where_the_load_stands() -> None:
    """500 on page 3 of 5, twice, then a busy system that says how long: the pages before are not read again."""
    collection = Collection(ROWS, page=10)
    for harm in (answering(status=500), answering(status=429, headers={"retry-after": "0"})):
        collection.asked.clear()
        collection.harm = on_page(3, harm, times=2)
        async with collection.served() as address, source(address) as side:
            found, mark = await loaded(side)
        assert mark is not None
        assert len(found) == mark.rows == 50
        asked = [one.partition("cursor=")[2] for one in collection.asked]
        assert asked == ["", "10", "20", "20", "20", "30", "40"]
        assert side.describe().counters["resumed"] == 2


@pytest.mark.parametrize(
    ("harm", "error", "words"),
    [
        (answering(status=500), Unavailable, "answers 500"),
        (answering(status=404), LoadRefused, "answers 404"),
        (answering(status=302, headers={"location": "http://127.0.0.1:1/"}), LoadRefused, "answers 302"),
        (answering(), LoadRefused, "no JSON"),
        (answering(b"null"), LoadRefused, "without a list"),
        (answering(b'{"rows": [1]}'), LoadRefused, "list of objects"),
        (answering(b'{"rows": []}'), LoadRefused, "does not say by"),
        (answering(b'{"rows": [], "total": 50}'), LoadRefused, "says that there are 50 rows, and gave 20"),
        (answering(b'{"rows": [], "total": 50, "next": "http://elsewhere.example/"}'), LoadRefused, "another host"),
        (answering(b'{"rows": [], "total": 50, "next": 20}'), LoadRefused, "names itself"),
        (answering(b'{"rows": [{"value": 1}], "total": 21}'), LoadRefused, "key"),
        (answering(b"[" * 40 + b"]" * 40), Exception, "depth|nest"),
        (huge, LoadRefused, "more than 1000000 bytes"),
        (dripping, Unavailable, "within 0.2 s"),
    ],
)
async def test_a_load_that_fails_says_why_and_gives_no_mark(harm: Harm, error: type[Exception], words: str) -> None:
    """Each on page 3 of 5, however often it is asked for."""
    collection = Collection(ROWS, page=10)
    collection.harm = on_page(3, harm)
    bounds = Bounds(body=1_000_000, seconds=0.2 if harm is dripping else 20.0)
    async with collection.served() as address, source(address, bounds=bounds) as side:
        with pytest.raises(error, match=words):
            await loaded(side)


async def test_pages_that_are_as_they_were_are_not_sent_again() -> None:
    """Their ETags are asked about; a page that has changed is read."""
    collection = Collection(ROWS, page=10)
    async with collection.served() as address, source(address, total=None) as side:
        before, _ = await loaded(side)
        collection.rows["k0"] = {"key": "k0", "value": 99}
        after, _ = await loaded(side)
        assert side.describe().counters["unchanged_pages"] == 4
    assert before | {"k0": Entity("k0", {"key": "k0", "value": 99})} == after


async def test_what_a_feed_tells_of_is_all_that_is_read() -> None:
    """The second sync asks for no page of the collection, but for what changed, page by page, and for these objects."""
    collection = Collection(ROWS, page=10)
    collection.told_at_once = 1
    async with collection.served() as address, source(address, feed=Feed("/changes")) as side:
        follower = MappingSide("follower")
        sync = DiffSynchronizer("things", side, follower, side.schema)
        assert (await sync.sync()).done == 50
        collection.asked.clear()
        collection.set("k1", {"key": "k1", "value": 100})
        collection.set("k50", {"key": "k50", "value": 50})
        assert (await sync.sync()).done == 2
        assert [follower[key]["value"] for key in ("k1", "k50")] == [100, 50]
        assert {one.partition("?")[0] for one in collection.asked} == {
            "GET /changes",
            "GET /things/k1",
            "GET /things/k50",
        }
        assert sum(one.startswith("GET /changes") for one in collection.asked) == 2
        collection.asked.clear()
        collection.cut = len(collection.log) + 1
        del collection.rows["k2"]  # which nobody has told
        collection.log.append("k1")
        assert (await sync.sync()).done == 1
        assert "GET /things?cursor=40" in collection.asked


def told(**answers: Any) -> dict[str, Any]:
    """A page of a feed."""
    return {"changes": ["k1"], "position": 7, **answers}


@pytest.mark.parametrize(
    ("body", "kind", "keys"),
    [
        (orjson.dumps(told()), "json", ["k1"]),
        (orjson.dumps(told(changes=[{"key": "k1", "deleted": True}, {"key": "k2"}])), "json", ["k1", "k2"]),
        (b'{"key": "k1"}\n\n{"key": "k2", "position": 6}\n{"position": "7"}\n', "x-ndjson", ["k1", "k2"]),
        (b'{"position": 7}', "x-ndjson", []),
        (orjson.dumps(told(epoch="restored")), "json", None),
    ],
)
async def test_changes_are_told_in_more_than_one_way(body: bytes, kind: str, keys: list[str] | None) -> None:
    """Keys, objects with the columns of the key, or lines; of another epoch nothing is known."""
    collection = Collection(ROWS)

    async def feeding(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=f"application/{kind}")

    collection.harm = feeding
    async with collection.served() as address, source(address, feed=Feed("/changes")) as side:
        found = await side.changes(Position("", 3))
        assert (None if found is None else (list(found.keys), found.position.sequence)) == (
            None if keys is None else (keys, "7" if b'"7"' in body else 7)
        )


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (answering(status=404), "answers 404"),
        (answering(b"[]"), "without a list under `changes`"),
        (answering(orjson.dumps(told(position=None))), "under `position`"),
        (answering(orjson.dumps(told(position=True))), "under `position`"),
        (answering(orjson.dumps(told(changes=[{"value": 1}]))), "names no object"),
        (answering(orjson.dumps(told(changes=[1.5]))), "names no object"),
        (answering(orjson.dumps(told(more=True))), "goes on from there"),
        (answering(b"{"), "no JSON"),
    ],
)
async def test_a_feed_that_cannot_be_read_is_a_load_that_failed(harm: Harm, words: str) -> None:
    """It says what is wrong; a feed without the addresses of its objects is refused at once."""
    collection = Collection(ROWS)
    collection.harm = harm
    async with collection.served() as address, source(address, feed=Feed("/changes")) as side:
        with pytest.raises(LoadRefused, match=words):
            await side.changes(Position("", 3))
    with pytest.raises(Misconfigured, match="no `item`"):
        source("http://127.0.0.1:1/things", feed=Feed("/changes"), item=None)


def test_requests_go_at_their_pace() -> None:
    """With a rate of two in a second the third one at once waits for a second; what was not used is not saved up."""
    pace = Pace(2.0)
    assert [pace.wait(100.0) for _ in range(3)] == [0.0, 0.5, 1.0]
    assert [pace.wait(200.0) for _ in range(2)] == [0.0, 0.5]
    assert [Pace(None).wait(100.0) for _ in range(2)] == [0.0, 0.0]


async def test_link_headers_are_followed() -> None:
    """A page that is a list names the next one in its header (RFC 8288)."""

    async def listed(request: web.Request) -> web.StreamResponse:
        second = "page" in request.query
        link = {} if second else {"link": '</things?page=1>; rel="first", </things?page=2>; rel="next"'}
        body = orjson.dumps([{"key": "b" if second else "a", "value": 1}])
        return web.Response(body=body, content_type="application/json", headers=link)

    collection = Collection({})
    collection.harm = listed
    async with collection.served() as address, source(address, total=None) as side:
        found, _ = await loaded(side)
    assert list(found) == ["a", "b"]


def update(entity: Entity, value: int) -> Step:
    """A step that gives an object another value."""
    return Step(
        "right", Action.UPDATE, entity.key, b"{}", canonical({"key": entity.key, "value": value}), entity.version
    )


async def test_a_write_whose_answer_is_lost_is_looked_up() -> None:
    """Done and not answered: done. Not done, and nothing to be seen of it: unknown. A busy system is asked again."""
    collection = Collection(ROWS)
    async with collection.served() as address, source(address) as side:
        one, two, three, four = await side.fetch(["k1", "k2", "k3", "k/4"])
        assert four.row is None

        async def lost(request: web.Request) -> web.StreamResponse | None:
            if request.method == "PUT" and request.path == "/things/k1":
                await collection.put(request)
                return web.Response(status=502)
            return web.Response(status=500) if request.method == "PUT" and request.path == "/things/k2" else None

        collection.harm = lost
        outcomes = await side.write([update(one, 100), update(two, 200)])
        assert isinstance(outcomes[0], Written)
        assert isinstance(outcomes[1], UnknownOutcome)
        busy = [answering(status=503, headers={"retry-after": "0"})]

        async def once(request: web.Request) -> web.StreamResponse | None:
            return await busy.pop()(request) if busy and request.method == "PUT" else None

        collection.harm = once
        assert [type(found) for found in await side.write([update(three, 300), update(one, 1)])] == [
            Written,
            VersionConflict,
        ]


async def test_without_strong_etags_nothing_is_written() -> None:
    """A weak one says only that something is alike; a source without addresses of its objects is only read."""

    async def weak(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/things":
            return None
        return web.Response(
            body=b'{"key": "k1", "value": 1}', content_type="application/json", headers={"etag": 'W/"1"'}
        )

    collection = Collection(ROWS)
    collection.harm = weak
    async with collection.served() as address, source(address) as side, source(address, item=None) as read_only:
        [one] = await side.fetch(["k1"])
        assert isinstance((await side.write([update(one, 5)]))[0], Invalid)
        await loaded(read_only)
        assert (await read_only.fetch(["k1", "no"]))[0].row == {"key": "k1", "value": 1}
        assert not read_only.writable
        assert isinstance((await read_only.write([update(one, 5)]))[0], Invalid)


async def test_a_key_leads_to_no_other_place() -> None:
    """Slashes, signs and dots are part of a key; one that is a step in a path is refused, and nothing is asked for."""
    collection = Collection({key: {"key": key, "value": 1} for key in ("a/b", "a?b=c#d", "..a", "%2e", "ü ")})
    async with collection.served() as address, source(address) as side:
        found = await side.fetch(list(collection.rows))
        assert [entity.row for entity in found] == list(collection.rows.values())
        collection.asked.clear()
        for key in (".", ".."):
            with pytest.raises(Invalid, match="another place"):
                await side.fetch([key])
            assert isinstance((await side.write([update(Entity(key, None, '"1"'), 5)]))[0], Invalid)
        assert collection.asked == []


async def test_a_source_that_is_not_open_says_so() -> None:
    """And an address that is none is refused at once."""
    with pytest.raises(Misconfigured, match="async with"):
        await loaded(source("http://127.0.0.1:1/things"))
    with pytest.raises(Misconfigured, match="http://"):
        source("ftp://127.0.0.1/things")
