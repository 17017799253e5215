# SPDX-License-Identifier: Apache-2.0
"""What a reader is shown by the scopes of the token: in an answer, in what it is chosen by, and in live updates."""

from types import SimpleNamespace
from typing import Annotated, Any

import orjson
import pytest

import nerv
from nerv.errors import Conflict, Forbidden, Invalid, Misconfigured, NotFound
from nerv.perspectives import Redacted, Source
from nerv.projections import Projection
from nerv.protocols.views import Cursor, Epoch, View
from nerv.service import Request
from nerv.testing.memory_views import MemoryViews
from nerv.types import Principal
from nerv_projector.deps import Deps
from nerv_projector.handlers import follow_views, get_view, list_views
from nerv_projector.rebuilding import Rebuilding
from nerv_projector.runner import Hosted, Runner
from nerv_projector.settings import FoldSettings
from nerv_projector.sources import Sources

app = nerv.App("test")


def tired(state: dict[str, Any]) -> bool:
    """Known to the crew alone."""
    return bool(state["code"] == "7600")


INDEXES: dict[str, type | nerv.Index] = {
    "at": str,
    "fuel": float,
    "code": str,
    "crew": nerv.Index("crew.captain"),
    "tired": nerv.Index(tired, bool),
    "own": nerv.Index("at", scope="own:read"),
}
app.projection("plane", indexes=INDEXES)(lambda state, event: state)
app.projection("open", indexes={"at": str})(lambda state, event: state)


class Captain(nerv.Perspective):
    """Who flies."""

    captain: str


@app.perspective("plane", "crew", scope="crew:read")
class Crew(nerv.Perspective):
    """Of the plane and of themselves."""

    where: Annotated[str, Source("at")]
    crew: Captain
    code: Annotated[str, Redacted("code:read")]


@app.perspective("plane", "fueller", scope="fuel:read")
class Fueller(nerv.Perspective):
    """Fuel."""

    fuel: float


@app.perspective("plane", "passenger", default=True)
class Passenger(nerv.Perspective):
    """All others."""

    at: str


def plane(at: str, fuel: float, code: str, captain: str) -> dict[str, Any]:
    """A state."""
    return {"at": at, "fuel": fuel, "code": code, "crew": {"captain": captain}}


PLANES = {
    "N1": plane("EWR", 10.0, "1200", "Ann"),
    "N2": plane("JFK", 2.0, "7600", "Bob"),
    "N3": plane("EWR", 30.0, "1200", "Cid"),
    "N4": plane("LGA", 7.0, "1200", "Ann"),
}
EVERYTHING = ("crew:read", "code:read", "fuel:read")


async def deps(declared: bool = True) -> Deps:
    """The planes in memory, of two projections; their index as it is declared, or as it was before."""
    runners = {}
    for name in ("plane", "open"):
        projection: Projection[Any] = Projection(app, app.projections[name])
        assert projection.indexes is not None
        views = MemoryViews()
        epoch = Epoch("e1", {}, {0: 0}, {0: 4}, "", projection.indexes.digests if declared else {})
        await views.begin(epoch, {0: Cursor("id", 2)}, instead_of=None)
        found = {k: View(1, orjson.dumps(s), None, projection.entries(s)) for k, s in PLANES.items()}
        await views.apply(epoch, {}, found)
        runner = Runner(Hosted(projection, views, Sources(("h",), {}), "h", "", ()), None, None)  # type: ignore[arg-type]  # it is not started
        runner.epoch = epoch
        runner.rebuilding = Rebuilding(epoch, views, None, Sources(("h",), {}), "h")  # type: ignore[arg-type]  # it has been looked at
        runner.rebuilding.ready = True
        runners[name] = runner
    hub: Any = SimpleNamespace(runners=runners, version=lambda name, number: None)
    settings: Any = SimpleNamespace(projector=FoldSettings())
    return Deps(settings, app, hub, None, None, None, Told(), None)  # type: ignore[arg-type]  # no travel through time


class Told:
    """Live updates that only note how they are to be shown."""

    def follow(self, runner: Any, keys: Any, show: Any, *, deltas: bool, last: Any) -> Any:
        """One event: whether deltas, and the first view as it is shown."""

        async def pieces() -> Any:
            yield orjson.dumps([deltas, orjson.loads(show("N1", View(1, orjson.dumps(PLANES["N1"]))))["state"]])

        return pieces()


async def ask(
    scopes: Any, key: str | None = None, present: Deps | None = None, /, *, projection: str = "plane", **query: str
) -> Any:
    """What a reader with these scopes is answered."""
    path = {"projection": projection} | ({} if key is None else {"key": key})
    principal = Principal("ann", "default", frozenset(scopes))
    handler = list_views if key is None else get_view
    answer = await handler(Request(present or await deps(), principal, b"", path, list(query.items()), {}))
    return orjson.loads(bytes(answer.body))


async def keys(scopes: Any, **query: str) -> list[str]:
    """Of the views that this reader is listed."""
    return [view["key"] for view in (await ask(scopes, **query))["views"]]


@pytest.mark.parametrize(
    ("scopes", "perspective", "state"),
    [
        ((), "passenger", {"at": "EWR"}),
        (("views:read",), "passenger", {"at": "EWR"}),
        (("fuel:read",), "fueller", {"fuel": 10.0}),
        (("crew:read",), "crew", {"where": "EWR", "crew": {"captain": "Ann"}}),
        (("crew:read", "fuel:read"), "crew", {"where": "EWR", "crew": {"captain": "Ann"}}),
        (EVERYTHING, "crew", {"where": "EWR", "crew": {"captain": "Ann"}, "code": "1200"}),
    ],
)
async def test_who_names_no_perspective_is_shown_that_of_his_scopes(
    scopes: tuple[str, ...], perspective: str, state: dict[str, Any]
) -> None:
    """The first one whose scope the token holds, else the default: of one view, and in a list."""
    found = await ask(scopes, "N1")
    assert (found["perspective"], found["state"]) == (perspective, state)
    assert (await ask(scopes))["views"][0]["state"] == state


async def test_a_perspective_of_a_scope_is_for_no_others() -> None:
    """Named or not; the state as it is takes all scopes that any of them names."""
    assert (await ask(["crew:read"], "N1", perspective="passenger"))["state"] == {"at": "EWR"}
    with pytest.raises(Forbidden, match="fuel:read"):
        await ask(["crew:read"], "N1", perspective="fueller")
    with pytest.raises(Forbidden, match="code:read"):
        await ask(["crew:read", "fuel:read"], "N1", perspective="state")
    assert (await ask(EVERYTHING, "N1", perspective="state"))["state"] == PLANES["N1"]
    with pytest.raises(NotFound, match="no perspective 'pilot'; it has crew, fueller, passenger"):
        await ask((), "N1", perspective="pilot")


async def test_an_etag_is_of_what_the_reader_is_shown() -> None:
    """One address shows a plane to the crew otherwise than to passengers."""
    request = [
        Request(
            await deps(),
            Principal("ann", "default", frozenset(scopes)),
            b"",
            {"projection": "plane", "key": "N1"},
            (),
            {},
        )
        for scopes in ((), ("crew:read",), ("crew:read", "code:read"))
    ]
    assert len({(await get_view(one)).headers["etag"] for one in request}) == 3


async def test_views_are_listed_in_order_of_an_index() -> None:
    """By one value, by some, by all, from either end."""
    assert await keys(EVERYTHING, index="at", equals="EWR") == ["N1", "N3"]
    assert await keys(EVERYTHING, index="fuel") == ["N2", "N4", "N1", "N3"]
    assert await keys(EVERYTHING, index="fuel", descending="true", high="10") == ["N1", "N4", "N2"]
    assert await keys(EVERYTHING, index="at", prefix="J") == ["N2"]
    assert await keys(EVERYTHING, index="crew", equals="Ann", where="where == 'LGA'") == ["N4"]
    assert await keys(EVERYTHING, index="tired", equals="true") == ["N2"]


@pytest.mark.parametrize("query", [{}, {"descending": "true"}, {"where": "where != 'JFK'"}])
async def test_pages_by_an_index_hold_every_view_once(query: dict[str, str]) -> None:
    """Whatever their size."""
    wanted = await keys(EVERYTHING, index="fuel", **query)
    for limit in ("1", "2", "3"):
        found: list[str] = []
        more: dict[str, str] = {}
        while True:
            page = await ask(EVERYTHING, index="fuel", limit=limit, **query, **more)
            found += [view["key"] for view in page["views"]]
            if page["next"] is None:
                break
            more = {"cursor": page["next"]}
        assert found == wanted


async def test_nobody_finds_by_what_he_is_not_shown() -> None:
    """Neither by an index, of which a function shows nothing, nor by an expression: it sees what its reader sees."""
    assert await keys((), index="at", equals="JFK") == ["N2"]
    assert await keys(["crew:read"], index="crew", equals="Bob") == ["N2"]
    for scopes, index in (
        ((), "crew"), ((), "fuel"), (["crew:read"], "fuel"), (["crew:read"], "code"), (["crew:read"], "tired"),
        (EVERYTHING, "own"),
    ):  # fmt: skip
        with pytest.raises(Forbidden, match=r"may not see|own:read"):
            await keys(scopes, index=index)
    assert await keys(["crew:read", "code:read"], index="code", equals="7600") == ["N2"]
    assert await keys((), where="at == 'JFK'") == ["N2"]
    assert await keys((), where="code == '7600'") == []
    assert await keys(["crew:read"], where="code == '7600'") == []
    assert await keys(["crew:read", "code:read"], where="code == '7600'") == ["N2"]
    assert await keys((), order="fuel") == ["N1", "N2", "N3", "N4"]  # nothing is found there, so that keys decide
    assert await keys(["fuel:read"], order="fuel") == ["N2", "N4", "N1", "N3"]


async def test_live_updates_are_what_the_reader_is_shown() -> None:
    """Deltas, which tell of the state as it is, go only to who may see all of it."""

    async def follow(scopes: Any, **query: str) -> Any:
        principal = Principal("ann", "default", frozenset(scopes))
        words = [("keys", "N1"), *query.items()]
        answer: Any = await follow_views(Request(await deps(), principal, b"", {"projection": "plane"}, words, {}))
        return orjson.loads(b"".join([piece async for piece in answer.body_iterator]))

    assert await follow(()) == [False, {"at": "EWR"}]
    assert await follow(["fuel:read"]) == [False, {"fuel": 10.0}]
    assert await follow(EVERYTHING, perspective="state") == [True, PLANES["N1"]]
    with pytest.raises(Forbidden):
        await follow((), perspective="state")


@pytest.mark.parametrize(
    ("query", "error", "says"),
    [
        ({"index": "gate"}, Invalid, r"no index 'gate'; it has at \(text\), fuel \(number\), code \(text\)"),
        ({"equals": "EWR"}, Invalid, "equals is of an index; name it"),
        ({"descending": "true"}, Invalid, "descending is of an index"),
        ({"index": "fuel", "equals": "much"}, Invalid, "equals must read as number"),
        ({"index": "fuel", "order": "fuel"}, Invalid, "leave order out"),
        ({"index": "fuel", "keys": "N1"}, Invalid, "leave keys out"),
        ({"index": "fuel", "cursor": "%"}, Invalid, "cursor must be"),
        ({"index": "fuel", "as_of": "2013-01-01T00:00:00Z"}, Invalid, "of the views of now"),
    ],
)
async def test_what_is_asked_of_an_index_wrongly_is_said(
    query: dict[str, str], error: type[Exception], says: str
) -> None:
    """With what there is."""
    with pytest.raises(error, match=says):
        await ask(EVERYTHING, **query)


async def test_an_index_that_older_views_do_not_stand_in_is_not_asked() -> None:
    """It would hide what was folded before it was declared; the answer says how it is built."""
    with pytest.raises(Conflict, match="nerv projections rebuild open"):
        await ask((), None, await deps(declared=False), projection="open", index="at")
    assert len((await ask((), projection="open", index="at"))["views"]) == 4


def test_a_perspective_that_cannot_be_chosen_is_refused_where_it_is_declared() -> None:
    """Two defaults, and the word that asks for the state."""
    with pytest.raises(Misconfigured, match="has a default perspective already: passenger"):
        app.perspective("plane", "all", default=True)
    with pytest.raises(Misconfigured, match="'state' asks for the state as it is"):
        app.perspective("plane", "state")
