# SPDX-License-Identifier: Apache-2.0
"""Views by a secondary index: in order of its values, a page at a time, each checked against what it was found by."""

from collections.abc import Callable
from dataclasses import dataclass

from nerv.errors import TooLarge
from nerv.projections.indexes import parts
from nerv.protocols.views import Epoch, Span, View, Views

AHEAD = 500  # members that are read at a time where many are passed over

Keyed = tuple[str, View]
Wanted = Callable[[str, View], bool]


@dataclass(frozen=True, slots=True)
class Page:
    """Views in order of the index; `last` is the member after which the next page goes on, None at the end."""

    views: list[Keyed]
    last: bytes | None


async def found(
    views: Views, epoch: Epoch, span: Span, limit: int, *, backward: bool, wanted: Wanted, most: int
) -> Page:
    """The first `limit` views of a span that are wanted. Raises TooLarge when more than `most` are gone through for them.

    One that was changed between the look at the index and the look at the view is passed over, unless it is still found so.
    """
    chosen: list[Keyed] = []
    last, seen = b"", 0
    while page := await views.page(epoch, None, min(AHEAD, limit + 1), span, backward=backward):
        for member, view in page:
            entry, key = parts(member)
            if entry not in view.index or not wanted(key, view):
                continue
            if len(chosen) == limit:
                return Page(chosen, last)
            chosen.append((key, view))
            last = member.encode()
        seen += len(page)
        if seen > most:
            raise TooLarge(f"more than {most} views were gone through (NERV_PROJECTOR__CHOOSE); ask for less at a time")
        span = span.beyond(page[-1][0].encode(), backward=backward)
    return Page(chosen, None)
