# SPDX-License-Identifier: Apache-2.0
"""Deltas as records."""

import orjson

from nerv.cloudevents import Incoming
from nerv_projector.changes import Changes, cause_of
from nerv_projector.model import Entity


def test_a_delta_has_the_id_of_its_two_versions() -> None:
    """Written again it is the same event; a batch that comes again and is cut otherwise makes other ones."""
    changes = Changes(None, "m.changes.thing.v1", "thing", 1)  # type: ignore[arg-type]  # nothing is sent
    at: list[Entity[None]] = [Entity(version, None, orjson.dumps({"n": version})) for version in range(8)]

    def id_of(before: int, after: int) -> bytes:
        state = at[before].data
        return dict(changes.record(b"now", "k", before, state, at[after], (b"e1", b"t", b"e0")).headers)["ce_id"]

    assert id_of(3, 7) == id_of(3, 7) == b"now/k/3/7"
    assert len({id_of(3, 7), id_of(3, 5), id_of(5, 7)}) == 3


def test_a_delta_belongs_to_the_chain_of_its_cause() -> None:
    """By the correlation id of the event that was folded last, or by that event's own id where it began the chain."""
    changes = Changes(None, "m.changes.thing.v1", "thing", 1)  # type: ignore[arg-type]  # nothing is sent
    after = Entity[None](2, None, b"{}")
    headers: list[tuple[str, bytes | None]] = [
        ("ce_id", b"e1"),
        ("ce_source", b"s"),
        ("ce_type", b"t"),
        ("ce_time", b"t"),
    ]

    def chain(*more: tuple[str, bytes | None]) -> tuple[bytes, bytes]:
        cause = cause_of(Incoming([*headers, *more], b"{}", "e1", 0))
        found = dict(changes.record(b"now", "k", 1, b"{}", after, cause).headers)
        return found["ce_causationid"], found["ce_correlationid"]

    assert chain() == (b"e1", b"e1")
    assert chain(("ce_correlationid", b"e0")) == (b"e1", b"e0")


def test_the_cause_of_a_change_is_told_as_its_record_tells_it() -> None:
    """Id and time; where a record has none, those that its event gets."""
    headers = [("ce_id", b"e1"), ("ce_source", b"s"), ("ce_type", b"t"), ("ce_time", b"2026-01-01T00:00:00Z")]
    assert cause_of(Incoming(headers, b"{}", "t/0/1", 0))[:2] == (b"e1", b"2026-01-01T00:00:00Z")
    assert cause_of(Incoming(headers[:3], b"{}", "t/0/1", 0))[:2] == (b"e1", b"1970-01-01T00:00:00.000000Z")
    assert cause_of(Incoming([], b"{}", "t/0/1", 0))[:2] == (b"t/0/1", b"1970-01-01T00:00:00.000000Z")
