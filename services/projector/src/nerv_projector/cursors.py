# SPDX-License-Identifier: Apache-2.0
"""The cursors of pages: the version of the views that a reader pages through, and where in it the next page begins."""

import base64
import binascii

from nerv.errors import Invalid
from nerv.types import check_id

LONGEST = 4096  # characters


def encode(version: int, place: bytes) -> str:
    """A cursor; `place` is a key, or a member of an index."""
    return base64.urlsafe_b64encode(b"%d/%b" % (version, place)).decode()


def decode(token: str | None) -> tuple[int | None, bytes | None]:
    """The version and the place, both None for the first page. Raises Invalid."""
    if token is None:
        return None, None
    try:
        version, _, place = base64.b64decode(token[:LONGEST], altchars=b"-_", validate=True).partition(b"/")
        place.decode()
        return int(version), place
    except (binascii.Error, ValueError):
        raise Invalid("cursor must be the `next` of an earlier answer") from None


def key_of(place: bytes | None) -> str | None:
    """The key in a cursor. Raises Invalid."""
    return None if place is None else check_id(place.decode(), "cursor")
