# SPDX-License-Identifier: Apache-2.0
"""How much is written where one of 20 fields changes: the delta, beside the whole state."""

from collections.abc import Sequence

import orjson

from bench.harness import Measured
from nerv.kafka import Outgoing
from nerv_projector.changes import Changes
from nerv_projector.model import Entity

FIELDS = 20
TEXT = 100  # characters a field
TOKEN = 16  # of an epoch


def with_headers(record: Outgoing) -> int:
    """Bytes of a record, with key and headers."""
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.value or b"") + len(record.key or b"") + headers


def measure() -> Sequence[Measured]:
    """The share of the whole, of what the records carry; and with their envelopes, which do not grow with the state."""
    old = {f"field_{n}": "x" * TEXT for n in range(FIELDS)}
    new = {**old, "field_7": "y" * TEXT}
    changes = Changes(None, "bench.changes.thing.v1", "thing", 1)  # type: ignore[arg-type]  # nothing is sent
    after: Entity[None] = Entity(8, None, orjson.dumps(new))
    delta = changes.record(b"e" * TOKEN, "key-1", 7, orjson.dumps(old), after, (b"e1", b"t" * 27, b"e1"))
    whole = delta._replace(value=after.data)
    share = len(delta.value or b"") / len(after.data)
    name = "projector.bytes_written_of_one_changed_field_in_20"
    return [
        Measured(name, share, "x", most=0.2),
        Measured(f"{name}_with_envelope", with_headers(delta) / with_headers(whole), "x"),
    ]
