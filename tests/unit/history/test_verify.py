# SPDX-License-Identifier: Apache-2.0
"""Verification finds each event that today's app cannot read and each state that it cannot fold or write, and no other."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

import nerv
from nerv.history import verify
from nerv.history.verify import Fault, Report, Verification
from nerv.types import Event

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)


class Paid(nerv.Event):
    """Money came."""

    cents: int
    by: str = "ann"


@dataclass
class Sum:
    """The state."""

    total: int


def made() -> nerv.App:
    """An app with an upcaster, a fold of a stream that cannot take 13, and one over streams that cannot take 7."""
    app = nerv.App("verified")
    app.event("account.paid.v2")(Paid)
    app.upcaster("account.paid.v1", to="account.paid.v2")(lambda data: {"cents": data["euros"] * 100})

    @app.projection("account", on=["account.paid.v2"], state=Sum)
    def account(state: Sum | None, event: Paid) -> Any:
        if event.cents == 13:
            raise ValueError("thirteen")
        return "not a sum" if event.cents == 666 else Sum((state or Sum(0)).total + event.cents)

    @app.projection("payers", on=["account.paid.v2"], key="by", state=dict)
    def payers(state: dict[str, int] | None, event: Paid) -> dict[str, int]:
        assert event.cents != 7, "seven"
        return {"total": (state or {"total": 0})["total"] + event.cents}

    return app


def paid(stream: str, version: int, data: bytes, kind: str = "account.paid.v2") -> Event[bytes]:
    """An event of history."""
    return Event(f"{stream}/{version}", "test", kind, NOON, data, subject=stream, sequence=version, recorded_time=NOON)


def verified(*events: Event[bytes]) -> Report:
    """What is said of them."""
    with Verification(made()) as verification:
        for event in events:
            verification.take(event)
        return verification.finish()


def test_a_history_that_fits_is_said_to_fit() -> None:
    """Older events by their upcasters, and types that nobody reads are counted."""
    report = verified(
        paid("account-1", 1, b'{"euros":1}', "account.paid.v1"),
        paid("account-1", 2, b'{"cents":5}'),
        paid("account-1", 3, b"{}", "account.noted.v1"),
    )
    assert (report.events, report.folded, report.failed, report.faults) == (3, 4, 0, [])
    assert orjson.loads(orjson.dumps(asdict(report)))["unread"] == {"account.noted.v1": 1}


def test_each_fault_is_told_once_and_where() -> None:
    """An upcaster, a model, two folds, a state of the wrong type; behind a failed fold its state is left alone."""
    report = verified(
        paid("account-1", 1, b'{"dollars":1}', "account.paid.v1"),
        paid("account-2", 1, b'{"cents":"much"}'),
        paid("account-3", 1, b'{"cents":13,"by":"bob"}'),
        paid("account-3", 2, b'{"cents":13,"by":"bob"}'),
        paid("account-4", 1, b'{"cents":7,"by":"eve"}'),
        paid("account-5", 1, b'{"cents":666}'),
    )
    found = [(f.stream, f.version, f.type, f.projection) for f in report.faults]
    assert found == [
        ("account-1", 1, "account.paid.v1", None),
        ("account-2", 1, "account.paid.v2", None),
        ("account-3", 1, "account.paid.v2", "account"),
        ("account-4", 1, "account.paid.v2", "payers"),
        ("account-5", 1, "account.paid.v2", "account"),
    ]
    assert [
        word in fault.error
        for word, fault in zip(("KeyError", "cents", "thirteen", "seven", "written"), report.faults, strict=True)
    ] == [True] * 5
    assert report.failed == 5


def test_more_states_than_memory_holds_are_folded_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """They go to a file and come back: a fold that fails at a sum fails at that sum."""
    monkeypatch.setattr(verify, "LIVE", 5)
    app = nerv.App("verified")
    app.event("account.paid.v2")(Paid)

    @app.projection("account", on=["account.paid.v2"], state=Sum)
    def account(state: Sum | None, event: Paid) -> Sum:
        total = (state or Sum(0)).total + event.cents
        if total == 30:
            raise ValueError("thirty")
        return Sum(total)

    with Verification(app) as verification:
        for version in (1, 2, 3):
            for number in range(50):
                verification.take(paid(f"account-{number}", version, b'{"cents":%d}' % (10 if number == 7 else 1)))
        report = verification.finish()
    assert report.faults == [Fault("account-7", 3, "account.paid.v2", "account", "ValueError: thirty")]


def test_faults_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report stays small."""
    monkeypatch.setattr(verify, "FAULTS", 3)
    report = verified(*(paid("account-1", n, b"{}") for n in range(1, 11)))
    assert (report.failed, len(report.faults)) == (10, 3)
