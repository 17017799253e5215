# SPDX-License-Identifier: Apache-2.0
"""What the address of a request says, word by word. Every word is checked, and one that is not known is refused."""

from collections.abc import Set
from datetime import datetime
from typing import Any

from nerv.errors import Invalid
from nerv.service.http import Request
from nerv.types import check_id, parse_instant

LAST = 2**63 - 1
PATTERNS = 100  # names that one parameter may have
SHOWN = 40  # characters of a wrong word in an error


def refuse_unknown(request: Request[Any], known: Set[str]) -> None:
    """A word that is not known would be passed over in silence, and the answer be another one than was asked for."""
    unknown = sorted(set(request.http.query_params) - known)
    if unknown:
        raise Invalid(f"there is no parameter {unknown[0][:SHOWN]!r} here; there are {', '.join(sorted(known))}")


def instant(request: Request[Any], name: str) -> datetime | None:
    """An instant, or None. Raises Invalid."""
    text = request.query(name)
    return None if text is None else parse_instant(text[:60], name)


def patterns(request: Request[Any], name: str) -> frozenset[str]:
    """Names, or beginnings of names that end with `*`, with commas between. Raises Invalid or TooLarge."""
    text = request.query(name)
    if text is None:
        return frozenset()
    found = frozenset(check_id(one, name) for one in text.split(","))
    if len(found) > PATTERNS:
        raise Invalid(f"{name} has {len(found)} names; the limit is {PATTERNS}")
    return found


def flag(request: Request[Any], name: str) -> bool:
    """`true` or `false`; false when it is not there. Raises Invalid."""
    text = request.query(name)
    if text not in (None, "true", "false"):
        raise Invalid(f"{name} must be true or false, not {(text or '')[:SHOWN]!r}")
    return text == "true"


def whole_number(text: str, name: str, low: int, high: int = LAST) -> int:
    """A whole number within bounds. Raises Invalid."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LAST)) and low <= int(text) <= high):
        raise Invalid(f"{name} must be a whole number from {low} to {high}, not {text[:SHOWN]!r}")
    return int(text)


def optional_number(request: Request[Any], name: str) -> int | None:
    """A whole number from 0, or None. Raises Invalid."""
    text = request.query(name)
    return None if text is None else whole_number(text, name, 0)


def positive(request: Request[Any], name: str, high: float) -> float | None:
    """A number above 0, or None. Raises Invalid."""
    text = request.query(name)
    if text is None:
        return None
    try:
        found = float(text[:SHOWN])
    except ValueError:
        found = 0.0
    if not 0 < found <= high:  # also what is not a number
        raise Invalid(f"{name} must be a number above 0 and at most {high:g}, not {text[:SHOWN]!r}")
    return found
