# SPDX-License-Identifier: Apache-2.0
"""What a reader gets of a view: in a perspective what the scopes allow, and the state as it is only with all of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Annotated, Any

import orjson
import pytest
from starlette.responses import Response

import nerv
from nerv.errors import Forbidden, SchemaMismatch, Unavailable
from nerv.perspectives import Redacted, computed
from nerv.projections import Projection
from nerv.protocols.views import Cursor, Epoch, View
from nerv.service import Request
from nerv.testing.memory_views import MemoryViews
from nerv.types import Principal
from nerv_projector.deps import Deps
from nerv_projector.handlers import get_view, list_views
from nerv_projector.rebuilding import Rebuilding
from nerv_projector.runner import Hosted, Runner
from nerv_projector.sources import Sources

app = nerv.App("test")
app.projection("plane")(lambda state, event: state)
app.projection("open")(lambda state, event: state)
app.projection("half")(lambda state, event: state)
done: Counter[str] = Counter()


@app.perspective("plane", "passenger")
class Passenger(nerv.Perspective):
    """What all may see, and something for the crew."""

    at: str
    code: Annotated[str, Redacted("crew:read")]

    @computed
    def long(self) -> str:
        """Counted."""
        done["long"] += 1
        return f"at {self.at}"


async def deps() -> Deps:
    """Three projections with the same views in memory; one is still being built. N3 is parked, and has no state yet."""
    runners = {}
    for name in ("plane", "open", "half"):
        views, epoch = MemoryViews(), Epoch("e1", {}, {0: 0}, {0: 4})
        await views.begin(epoch, {0: Cursor("id", 2)}, instead_of=None)
        states = {"N1": {"at": "EWR", "code": "7700"}, "N2": {"at": 5, "code": "1200"}}
        shown = {key: View(1, orjson.dumps(state)) for key, state in states.items()}
        await views.apply(epoch, {}, {**shown, "N3": View(0, b"null", {"event": "e1", "cause": "its first event"})})
        projection: Projection[Any] = Projection(app, app.projections[name])
        runner = Runner(Hosted(projection, views, Sources(("h",), {}), "h", "", ()), None, None)  # type: ignore[arg-type]  # it is not started
        runner.epoch = epoch
        runner.rebuilding = Rebuilding(epoch, views, None, Sources(("h",), {}), "h")  # type: ignore[arg-type]  # it has been looked at
        runner.rebuilding.ready = name != "half"
        runners[name] = runner
    hub: Any = SimpleNamespace(runners=runners)  # which are not started
    return Deps(None, app, hub, None, None, None, None, None)  # type: ignore[arg-type]  # no travel through time


async def ask(key: str | None, scopes: Sequence[str] = (), projection: str = "plane", **query: str) -> Any:
    """What is answered to a reader with these scopes."""
    return orjson.loads(bytes((await answer(key, scopes, projection, query)).body))


async def answer(
    key: str | None, scopes: Sequence[str], projection: str, query: Mapping[str, str], etag: str | None = None,
    present: Deps | None = None,
) -> Response:  # fmt: skip
    """The answer to a reader with these scopes, who has what the etag says."""
    path = {"projection": projection} if key is None else {"projection": projection, "key": key}
    principal = Principal("ann", "default", frozenset(scopes))
    handler = list_views if key is None else get_view
    headers = {} if etag is None else {"if-none-match": etag}
    return await handler(Request(present or await deps(), principal, b"", path, list(query.items()), headers))


ALL = {"at": "EWR", "long": "at EWR"}


@pytest.mark.parametrize(("scopes", "wanted"), [((), ALL), (("crew:read",), {**ALL, "code": "7700"})])
async def test_a_perspective_shows_a_reader_what_the_scopes_allow(
    scopes: Sequence[str], wanted: dict[str, Any]
) -> None:
    """The scopes are those of the request's token."""
    assert (await ask("N1", scopes, perspective="passenger"))["state"] == wanted


async def test_the_state_as_it_is_shows_nobody_what_is_redacted() -> None:
    """Of one entity and in a list, unless the reader holds the scopes; without redactions all may read it."""
    for key in ("N1", None):
        with pytest.raises(Forbidden, match="crew:read"):
            await ask(key, ["views:read"])
    assert (await ask("N1", ["crew:read"]))["state"]["code"] == "7700"
    assert (await ask("N1", projection="open"))["state"]["code"] == "7700"


async def test_only_the_fields_asked_for_are_computed() -> None:
    """Of one view; and a list of some fields shows also states in which others do not fit."""
    done.clear()
    assert (await ask("N1", perspective="passenger", fields="at"))["state"] == {"at": "EWR"}
    assert done["long"] == 0
    assert (await ask("N1", perspective="passenger", fields="long"))["state"] == {"long": "at EWR"}
    assert done["long"] == 1
    listed = await ask(None, ["crew:read"], perspective="passenger", fields="code")
    assert [view["state"] for view in listed["views"]] == [{"code": "7700"}, {"code": "1200"}, None]


async def test_a_state_that_does_not_fit_names_its_key_and_field() -> None:
    """And holds no value."""
    with pytest.raises(SchemaMismatch, match="state of plane/N2 does not fit perspective passenger") as raised:
        await ask("N2", perspective="passenger")
    assert raised.value.errors == [{"path": "/at", "detail": "Input should be a valid string"}]


async def test_an_entity_that_is_parked_without_a_state_is_shown_as_parked() -> None:
    """In a perspective, too: there is nothing that could fit, and a list goes on. Why is for those who may see all."""
    found = await ask("N3", ["crew:read"], perspective="passenger")
    assert (found["state"], found["parked"]) == (None, {"event": "e1", "cause": "its first event"})
    assert (await ask("N3", perspective="passenger"))["parked"] == {"event": "e1"}


async def test_views_that_are_not_all_there_are_answered_only_to_who_asks_for_that() -> None:
    """503 says how far the rebuild is; `stale=true` shows what is there."""
    for key in ("N1", None):
        with pytest.raises(Unavailable, match="rebuilding, 50 %"):
            await ask(key, projection="half")
    assert (await ask("N1", projection="half", stale="true"))["state"]["at"] == "EWR"


async def test_many_keys_are_answered_in_their_order() -> None:
    """Those that are not there are left out."""
    found = await ask(None, projection="open", keys="N2,N9,N1")
    assert [view["key"] for view in found["views"]] == ["N2", "N1"]


async def test_who_has_a_view_already_is_not_sent_it_again() -> None:
    """By its etag, alone or among others; once an event is folded, or the key is parked, the view is sent."""
    present = await deps()
    views, epoch = present.hub.runners["open"].hosted.views, Epoch("e1", {})
    etag = (await answer("N1", (), "open", {}, None, present)).headers["etag"]

    async def status(has: str) -> int:
        return (await answer("N1", (), "open", {}, has, present)).status_code

    again = await answer("N1", (), "open", {}, f'"other", {etag}', present)
    assert (again.status_code, again.body, again.headers["etag"]) == (304, b"", etag)
    assert await status('"other"') == 200
    view = (await views.load(epoch, ["N1"]))["N1"]
    await views.apply(epoch, {}, {"N1": View(view.version, view.state, {"cause": "the next event"})})
    assert await status(etag) == 200
    await views.apply(epoch, {}, {"N1": View(view.version + 1, view.state)})
    assert await status(etag) == 200


async def test_an_etag_is_worth_nothing_to_who_sees_something_else() -> None:
    """The same view, through the same perspective, to a reader with another scope; nor is one that may not read it told."""
    query = {"perspective": "passenger"}
    etag = (await answer("N1", (), "plane", query)).headers["etag"]
    assert (await answer("N1", (), "plane", query, etag)).status_code == 304
    assert (await answer("N1", ["crew:read"], "plane", query, etag)).status_code == 200
    whole = (await answer("N1", ["crew:read"], "plane", {})).headers["etag"]
    with pytest.raises(Forbidden, match="crew:read"):
        await answer("N1", (), "plane", {}, whole)
