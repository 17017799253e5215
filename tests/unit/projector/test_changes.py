# SPDX-License-Identifier: Apache-2.0
"""Deltas as records."""

import orjson

from nerv.cloudevents import Incoming
from nerv_projector.changes import Changes
from nerv_projector.model import Entity


def test_a_delta_has_the_id_of_its_two_versions() -> None:
    """Written again it is the same event; a batch that comes again and is cut otherwise makes other ones."""
    changes = Changes(None, "m.changes.thing.v1", "thing", 1)  # type: ignore[arg-type]  # nothing is sent
    cause = Incoming([("ce_id", b"e1"), ("ce_source", b"s"), ("ce_type", b"t"), ("ce_time", b"t")], b"{}", "e1", 0)
    at: list[Entity[None]] = [Entity(version, None, orjson.dumps({"n": version})) for version in range(8)]

    def id_of(before: int, after: int) -> bytes:
        return dict(changes.record(b"now", "k", at[before], at[after], cause).headers)["ce_id"]

    assert id_of(3, 7) == id_of(3, 7) == b"now/k/3/7"
    assert len({id_of(3, 7), id_of(3, 5), id_of(5, 7)}) == 3


def test_a_delta_belongs_to_the_chain_of_its_cause() -> None:
    """By the correlation id of the event that was folded last, or by that event's own id where it began the chain."""
    changes = Changes(None, "m.changes.thing.v1", "thing", 1)  # type: ignore[arg-type]  # nothing is sent
    before, after = (Entity[None](version, None, b"{}") for version in (1, 2))
    headers: list[tuple[str, bytes | None]] = [
        ("ce_id", b"e1"),
        ("ce_source", b"s"),
        ("ce_type", b"t"),
        ("ce_time", b"t"),
    ]

    def chain(*more: tuple[str, bytes | None]) -> tuple[bytes, bytes]:
        found = dict(changes.record(b"now", "k", before, after, Incoming([*headers, *more], b"{}", "e1", 0)).headers)
        return found["ce_causationid"], found["ce_correlationid"]

    assert chain() == (b"e1", b"e1")
    assert chain(("ce_correlationid", b"e0")) == (b"e1", b"e0")
