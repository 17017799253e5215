# SPDX-License-Identifier: Apache-2.0
"""The views of the mesh, over HTTP: what the projections have folded, now or as of any instant."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import quote

import orjson

from nerv.client.sse import subscription
from nerv.client.transport import Query, Transport
from nerv.errors import NotFound
from nerv.types import format_instant

PAGE = 500  # views a request
ADDRESS_BYTES = 16 * 1024  # of keys in an address, which may have 32 KiB

Value = str | int | float | bool | datetime
"""A value in an index."""


class Views:
    """Calls *projector*."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(
        self,
        projection: str,
        key: str,
        *,
        perspective: str | None = None,
        fields: Sequence[str] | None = None,
        as_of: datetime | str | None = None,
        known_at: datetime | str | None = None,
    ) -> dict[str, Any]:
        """One view: `{projection, key, perspective, version, state, as_of, known_at, parked}`.

        `fields` asks for some fields of the perspective only, those of nested ones as `leg.origin`. `version` is the number of
        events folded; `as_of` is valid time, `known_at` recorded time. Raises NotFound.
        """
        path = f"{_path(projection)}/{quote(key, safe='')}"
        query = _query(perspective, fields, as_of, known_at)
        answer = await self._transport.request("projector", "GET", path, query=query)
        document: dict[str, Any] = answer.json()
        return document

    async def many(
        self, projection: str, keys: Sequence[str], *, perspective: str | None = None
    ) -> dict[str, dict[str, Any]]:
        """The views of these keys as they are now, by key, hundreds by a request; those that are not there are left out."""
        found: dict[str, dict[str, Any]] = {}
        for part in _parts([key for key in keys if "," not in key]):
            query: Query = {"keys": ",".join(part), "perspective": perspective}
            page = (await self._transport.request("projector", "GET", _path(projection), query=query)).json()
            found |= {view["key"]: view for view in page["views"]}
        for key in (key for key in keys if "," in key):  # which stands between keys
            with suppress(NotFound):
                found[key] = await self.get(projection, key, perspective=perspective)
        return found

    async def list(
        self,
        projection: str,
        *,
        perspective: str | None = None,
        fields: Sequence[str] | None = None,
        as_of: datetime | str | None = None,
        known_at: datetime | str | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Every view of a projection in order of its keys, fetched page by page."""
        cursor: str | None = None
        while True:
            query = {**_query(perspective, fields, as_of, known_at), "limit": PAGE, "cursor": cursor}
            page = (await self._transport.request("projector", "GET", _path(projection), query=query)).json()
            for view in page["views"]:
                yield view
            cursor = page["next"]
            if cursor is None:
                return

    async def find(
        self, projection: str, where: str | None = None, *, order: str | None = None, limit: int = PAGE,
        perspective: str | None = None,
    ) -> Sequence[dict[str, Any]]:  # fmt: skip
        """The first views of those that satisfy `where`, in order of `order`: JMESPath over what the reader is shown.

        Raises TooLarge for a projection of more views than the service goes through; `by_index` goes through fewer.
        """
        query: Query = {"where": where, "order": order, "limit": limit, "perspective": perspective}
        answer = await self._transport.request("projector", "GET", _path(projection), query=query)
        found: Sequence[dict[str, Any]] = answer.json()["views"]
        return found

    async def by_index(
        self, projection: str, index: str, *, equals: Value | None = None, low: Value | None = None,
        high: Value | None = None, prefix: str | None = None, descending: bool = False, where: str | None = None,
        perspective: str | None = None,
    ) -> AsyncIterator[dict[str, Any]]:  # fmt: skip
        """Views in order of a secondary index, fetched page by page: with one value, with values from `low` to `high`, or all.

        Raises Invalid, which names the indexes that there are, for another one or for a value of another type.
        """
        span: Query = {"equals": _word(equals), "low": _word(low), "high": _word(high), "prefix": prefix}
        asked: Query = {"index": index, **span, "descending": "true" if descending else None, "where": where}
        cursor: str | None = None
        while True:
            query = {**asked, "limit": PAGE, "cursor": cursor, "perspective": perspective}
            page = (await self._transport.request("projector", "GET", _path(projection), query=query)).json()
            for view in page["views"]:
                yield view
            cursor = page["next"]
            if cursor is None:
                return

    async def diff(
        self, projection: str, start: datetime | str, end: datetime | str, *, known: bool = False
    ) -> Sequence[dict[str, Any]]:
        """What changed in the whole view between two instants, of valid time, or of recorded time with `known`.

        A row a key: `{key, change, from_version, to_version, changes}`; `change` is came, went or changed, `changes` for
        `nerv.state.Delta`.
        """
        query: Query = {"from": _instant(start), "to": _instant(end), "known": "true" if known else None}
        path = f"/v1/projections/{quote(projection, safe='')}/diff"
        answer = await self._transport.request("projector", "GET", path, query=query)
        rows: Sequence[dict[str, Any]] = answer.json()["differences"]
        return rows

    async def follow(
        self, projection: str, keys: Sequence[str], *, perspective: str | None = None
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """These views, and then every change of them, without an end: `("view", {...})`, `("gone", {...})` or, without a
        perspective, `("delta", {key, epoch, from_version, to_version, changes})`, with `changes` for `nerv.state.Delta`.

        A connection that breaks is made anew where it was; what is not known any more comes as a view again.
        """
        query: Query = {"keys": ",".join(keys), "perspective": perspective}
        path = f"/v1/projections/{quote(projection, safe='')}/changes"
        async for fields in subscription(self._transport, "projector", path, query):
            yield fields["event"], orjson.loads(fields["data"])

    async def projections(self) -> Sequence[dict[str, Any]]:
        """Every projection: `{projection, source, lag, folded, entities, ready, ...}`.

        `lag` counts what history holds and the views do not show yet, over all hops; 0 means that everything committed
        before the call is visible. None: it cannot be told now.
        """
        answer = await self._transport.request("projector", "GET", "/v1/projections")
        rows: Sequence[dict[str, Any]] = answer.json()["projections"]
        return rows


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many keys at a time as one address holds."""
    start = size = 0
    for number, key in enumerate(keys):
        size += len(quote(key, safe="")) + 3
        if number - start == PAGE or size > ADDRESS_BYTES:
            yield keys[start:number]
            start, size = number, len(quote(key, safe="")) + 3
    if start < len(keys):
        yield keys[start:]


def _path(projection: str) -> str:
    return f"/v1/views/{quote(projection, safe='')}"


def _query(
    perspective: str | None,
    fields: Sequence[str] | None,
    as_of: datetime | str | None,
    known_at: datetime | str | None,
) -> Query:
    names = None if fields is None else ",".join(fields)
    return {"perspective": perspective, "fields": names, "as_of": _instant(as_of), "known_at": _instant(known_at)}


def _word(value: Value | None) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else _instant(value) if isinstance(value, datetime) else str(value)


def _instant(value: datetime | str | None) -> str | None:
    return format_instant(value) if isinstance(value, datetime) else value
