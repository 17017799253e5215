# SPDX-License-Identifier: Apache-2.0
"""Over HTTP: plans are looked at and approved, conflicts are decided, and what is wrong with an order is told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest

from nerv.clock import SystemClock
from nerv.limits import Limits
from nerv.service import Authenticator
from nerv.service.auth.settings import AuthSettings
from nerv.service.http import application
from nerv_sync.deps import Deps
from nerv_sync.handlers import ROUTES
from nerv_sync.settings import SyncSettings
from tests.unit.service.asking import ask
from tests.unit.sync.bench import MemoryMesh
from tests.unit.sync.test_pairs import Hangar

Asked = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
def hangar() -> Hangar:
    """Two planes on the left."""
    made = Hangar()
    made.put(made.left, "a", note="x")
    made.put(made.left, "b", note="x")
    return made


@pytest.fixture
async def asked(hangar: Hangar) -> AsyncIterator[Asked]:
    """Asks the service, and answers the status and the document."""
    clock, synchronizers = SystemClock(), hangar.synchronizers()
    async with hangar.replica() as runs, synchronizers:
        deps = Deps(
            SyncSettings(), hangar.app, hangar.pairs(), synchronizers, runs, hangar.journal(), hangar.shelf(),
            MemoryMesh(hangar.history), clock,
        )  # fmt: skip
        app = application(ROUTES, deps, Authenticator(AuthSettings(), insecure=True), Limits())

        async def asking(method: str, path: str, body: Any = None) -> tuple[int, Any]:
            path, _, query = path.partition("?")
            answer = await ask(app, method, path, {}, b"" if body is None else orjson.dumps(body), query)
            return answer.status, orjson.loads(answer.body)

        yield asking


async def test_a_plan_is_approved_and_applied(asked: Asked, hangar: Hangar) -> None:
    """Page by page, with who has approved it; the objects of the run are told afterwards."""
    _, dry = await asked("POST", "/v1/syncs/planes/runs", {"dry_run": True})
    path = f"/v1/syncs/planes/plans/{dry['plan']}"
    status, plan = await asked("GET", f"{path}?from=1&limit=1")
    assert (status, plan["approved"], plan["truncated"]) == (200, None, False)
    assert [change["key"] for change in plan["changes"]] == ["b"]
    _, approved = await asked("POST", f"{path}/approval")
    assert approved["approved"]["by"] == "anonymous"
    status, done = await asked("POST", "/v1/syncs/planes/runs", {"plan": dry["plan"]})
    assert (status, done["status"], len(hangar.right)) == (200, "done", 2)
    _, found = await asked("GET", f"/v1/syncs/planes/runs/{done['run']}/objects")
    assert [(one["side"], one["key"], one["outcome"]) for one in found["objects"]] == [
        ("right", "a", "done"),
        ("right", "b", "done"),
    ]


async def test_a_conflict_is_decided_by_a_row(asked: Asked, hangar: Hangar) -> None:
    """What tells the object apart need not be said, and cannot be changed; a second word on it comes too late."""
    await asked("POST", "/v1/syncs/planes/runs")
    hangar.put(hangar.left, "a", note="left")
    hangar.put(hangar.right, "a", note="right")
    await asked("POST", "/v1/syncs/planes/runs")
    _, found = await asked("GET", "/v1/syncs/planes/conflicts")
    [waiting] = found["conflicts"]
    path = f"/v1/syncs/planes/conflicts/{waiting['conflict']}"
    assert await asked("GET", path) == (200, waiting)
    for body in (
        {"choice": "row"},
        {"choice": "left", "row": {}},
        {"choice": "row", "row": {"key": "b"}},
        {"choice": "me"},
    ):
        status, problem = await asked("POST", f"{path}/decision", body)
        assert status == 400, problem
    status, _ = await asked("POST", f"{path}/decision", {"choice": "row", "row": {"seats": 9, "note": "both"}})
    assert status == 200
    assert (await asked("POST", f"{path}/decision", {"choice": "left"}))[0] == 404
    await asked("POST", "/v1/syncs/planes/runs")
    assert hangar.left["a"] == hangar.right["a"] == {"key": "a", "seats": 9, "note": "both"}
    _, found = await asked("GET", "/v1/syncs/planes/losses")
    lost = {(one["side"], one["field"], one["lost"], one["kept"]) for one in found["losses"]}
    assert lost == {("left", "note", "left", "both"), ("right", "note", "right", "both")}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/syncs/nothing/runs", None, 404),
        ("POST", "/v1/syncs/planes/runs", {"plan": "p", "dry_run": True}, 400),
        ("POST", "/v1/syncs/planes/runs", {"where": ["country"]}, 400),
        ("POST", "/v1/syncs/planes/runs", {"plan": "nobody-has-made-it"}, 404),
        ("GET", "/v1/syncs/planes/plans/nobody-has-made-it", None, 404),
        ("POST", "/v1/syncs/planes/plans/nobody-has-made-it/approval", None, 404),
        ("GET", "/v1/syncs/planes/conflicts/none", None, 404),
        ("GET", "/v1/syncs/planes/runs/never/objects", None, 404),
    ],
)
async def test_what_is_wrong_is_told(asked: Asked, method: str, path: str, body: Any, status: int) -> None:
    """Each with its status, as a problem that says what to do."""
    found, problem = await asked(method, path, body)
    assert (found, bool(problem["detail"])) == (status, True), problem
