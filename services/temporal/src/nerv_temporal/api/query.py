# SPDX-License-Identifier: Apache-2.0
"""What a read asks for, from the parameters of its request."""

import base64
import binascii
from datetime import datetime

from nerv.errors import Invalid
from nerv.protocols import ReadQuery
from nerv.service import Request
from nerv.types import check_id, parse_instant
from nerv_temporal.api.deps import Deps


def read_query(request: Request[Deps]) -> ReadQuery:
    """Bounds, direction and selection of a read. Raises Invalid."""
    direction = request.query("direction") or "forward"
    if direction not in ("forward", "backward"):
        raise Invalid(f"direction must be forward or backward, not {direction[:40]!r}")
    types = request.query("types")
    return ReadQuery(
        from_version=request.number("from", 1, low=0, high=2**63 - 1),
        to_version=request.number("to", 0, low=0, high=2**63 - 1) if request.query("to") else None,
        backward=direction == "backward",
        types=frozenset(types.split(",")) if types else frozenset(),
        as_of=instant(request, "as_of"),
        known_at=instant(request, "known_at"),
    )


def instant(request: Request[Deps], name: str) -> datetime | None:
    """An instant of the query, or None. Raises Invalid."""
    text = request.query(name)
    return None if text is None else parse_instant(text, name)


def encode_token(token: str | None) -> str | None:
    """Where the next page of many streams begins, as the reader gets it."""
    return None if token is None else base64.urlsafe_b64encode(token.encode()).decode()


def decode_token(text: str | None) -> tuple[str, int] | None:
    """Stream and version after which a page of many streams begins. Raises Invalid."""
    if text is None:
        return None
    try:
        version, _, stream = base64.urlsafe_b64decode(text).decode().partition("/")
        return check_id(stream, "after"), int(version)
    except (binascii.Error, ValueError):
        raise Invalid("after must be the `next` of an earlier answer") from None
