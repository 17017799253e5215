# SPDX-License-Identifier: Apache-2.0
"""A collection of JSON over HTTP as a side: pages that are followed to their end, objects by address, writes by If-Match."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from nerv.errors import Invalid, Misconfigured, NervError, Overloaded, Unavailable, UnknownOutcome, VersionConflict
from nerv.protocols.side import Action, Changes, Entity, Position, Step, WriteOutcome, Written
from nerv.sync.canonical import canonical
from nerv.sync.errors import LoadRefused
from nerv.sync.reading import FaultyRow
from nerv.sync.sides.http.asking import Answer, Bounds, Pace, ask, place
from nerv.sync.sides.http.feed import Feed
from nerv.sync.sides.paged import LONGEST_PAUSE, TRIES, Page, PagedSource
from nerv.types import Description

AT_ONCE = 8  # requests for single objects
PAGES_KEPT = 1000  # whose ETag is asked about, so that a page that is as it was is not sent again
GONE = (404, 410)


class HttpSource(PagedSource):
    """Use as `async with`. `url` is the collection; a page is a list, or an object that has it under `rows` and the next page,
    an address or a cursor, under `next` (or in the header Link). With `total` it says how many rows there are in all. Pages
    are followed on the same host only, and no redirects are.

    With `item`, such as `"/planes/{key}"`, objects are read by address, their strong ETag is their version, and they are
    written by PUT and DELETE with If-Match; without, the side is only read. 429 and 503 are waited out as Retry-After
    says, a few times; every other answer but 200 and 304 is a load that failed. `rate` is how many requests may go in a second.

    With a `feed` only the objects are read that it tells of; it goes with `item`.
    """

    url: ClassVar[str]
    rows: ClassVar[str] = "rows"
    next: ClassVar[str] = "next"
    cursor: ClassVar[str] = "cursor"  # the parameter that a cursor is sent in
    total: ClassVar[str | None] = None
    item: ClassVar[str | None] = None
    feed: ClassVar[Feed | None] = None
    rate: ClassVar[float | None] = None
    bounds: ClassVar[Bounds] = Bounds()

    def __init__(self) -> None:
        super().__init__()
        self._base = URL(self.url)
        if self._base.scheme not in ("http", "https") or not self._base.host:
            raise Misconfigured(
                f"the url of source {type(self).__name__} must begin with http:// or https:// and a host"
            )
        if self.feed is not None and self.item is None:
            raise Misconfigured(f"source {type(self).__name__} has a feed, and no `item` to read what that tells of")
        self.writable = self.item is not None
        self._keeps = self.item is None
        self._session: aiohttp.ClientSession | None = None
        self._pages: OrderedDict[URL, tuple[str, Page, int | None]] = OrderedDict()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._pace = Pace(self.rate)
        self._claimed: int | None = None
        self._given = self._unchanged = self._waited = self._told = 0

    def headers(self) -> Mapping[str, str]:
        """Headers of every request, such as a token that is read from its file."""
        return {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None), cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def page(self, cursor: Any) -> Page:
        """A page by its address (see `PagedSource.page`)."""
        if cursor is None:
            self._given, self._claimed = 0, None
        url = self._base if cursor is None else cursor
        kept = self._pages.get(url)
        answer = await self._ask("GET", url, {"if-none-match": kept[0]} if kept is not None else {})
        if answer.status == 304 and kept is not None:
            self._unchanged += 1
            found, self._claimed = kept[1:]
        elif answer.status == 200:
            found = self._read_page(answer)
            self._keep(url, answer.headers.get("etag"), found)
        else:
            raise _failed(answer)
        self._given += len(found.rows)
        if found.next is None and self._claimed is not None and self._claimed != self._given:
            raise LoadRefused(f"{place(url)} says that there are {self._claimed} rows, and gave {self._given}")
        return found

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """The objects of these keys as they are now; of the latest load where they have no address."""
        if self.item is None:
            return await super().fetch(keys)
        return list(await asyncio.gather(*map(self._fetch, keys)))

    async def changes(self, after: Position | None) -> Changes | None:
        """What the feed tells (see `Side.changes`); None without one."""
        if self.feed is None:
            return None
        feed = self.feed
        address = self._base.join(URL(feed.path))

        async def ask_feed(words: Mapping[str, str]) -> Answer:
            return await self._tried(lambda: self._ask("GET", address.update_query(words), {}))

        told = await feed.read(ask_feed, self.identifiers, after)
        self._told += len(told.keys) if told is not None else 0
        return told

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """PUT or DELETE each, a few at once, on the condition that it still is as it was seen."""
        if self.item is None:
            return await super().write(steps)
        return list(await asyncio.gather(*map(self._write, steps)))

    def describe(self) -> Description:
        """The side as data."""
        told = super().describe()
        counters = {**told.counters, "unchanged_pages": self._unchanged, "waited": self._waited, "told": self._told}
        reads = (place(self._base),)
        return Description(told.kind, self.name, reads, reads if self.writable else (), counters=counters)

    def _read_page(self, answer: Answer) -> Page:
        document = answer.json()
        rows: Any = document
        following: Any = None
        if isinstance(document, dict):
            rows, following = document.get(self.rows), document.get(self.next)
            self._claimed = None if self.total is None else document.get(self.total)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise LoadRefused(f"{place(answer.url)} answers 200 without a list of objects; nothing was changed")
        if self.total is not None and type(self._claimed) is not int:
            raise LoadRefused(f"{place(answer.url)} does not say by `{self.total}` how many rows there are")
        return Page(rows, self._next(answer, following))

    def _next(self, answer: Answer, told: Any) -> URL | None:
        link = _link(answer.headers.get("link", "")) if told is None else None
        if link is None and told in (None, ""):
            return None
        if link is None and isinstance(told, str | int) and not str(told).startswith(("http://", "https://", "/", "?")):
            return self._base.update_query({self.cursor: str(told)})
        found = answer.url.join(URL(link if link is not None else str(told)))
        if found.origin() != self._base.origin():
            raise LoadRefused(f"{place(answer.url)} names a next page at {found.host}, which is another host")
        return found

    def _keep(self, url: URL, etag: str | None, page: Page) -> None:
        self._pages.pop(url, None)
        if etag is not None:
            self._pages[url] = (etag, page, self._claimed)
        while len(self._pages) > PAGES_KEPT:
            self._pages.popitem(last=False)

    async def _fetch(self, key: str) -> Entity:
        answer = await self._patiently("GET", key, {})
        if answer.status in GONE:
            return Entity(key, None)
        if answer.status != 200:
            raise _failed(answer)
        document = answer.json()
        if not isinstance(document, dict):
            raise LoadRefused(f"{place(answer.url)} is no JSON object")
        try:
            entity = self.entity(document)
        except FaultyRow as faulty:
            raise LoadRefused(f"{place(answer.url)}: {faulty.faults[0][0]}: {faulty.faults[0][1]}") from None
        if entity.key != key:
            raise LoadRefused(f"{place(answer.url)} is object {entity.key!r:.80}, not {key!r:.80}")
        self._read += 1
        return entity._replace(version=_strong(answer.headers.get("etag")))

    async def _write(self, step: Step) -> WriteOutcome:
        if step.action is not Action.CREATE and step.version is None:
            return Invalid(f"{self.name} gives {step.key} no strong ETag, so that nothing can be written on condition")
        condition = {"if-none-match": "*"} if step.version is None else {"if-match": str(step.version)}
        method, body = ("DELETE", None) if step.action is Action.DELETE else ("PUT", self._body(step))
        try:
            answer = await self._patiently(method, step.key, condition, body)
        except Overloaded as error:
            return Unavailable(error.detail, retry_after=error.retry_after)
        except Unavailable as error:
            return await self._look(step, error)
        except NervError as error:
            return error
        if answer.status in (200, 201, 202, 204):
            return Written(_strong(answer.headers.get("etag")))
        if answer.status == 412 or (answer.status in GONE and step.version is not None):
            return VersionConflict(f"{self.name}: {step.key} is not as it was seen")
        if answer.status >= 500:
            return await self._look(step, _failed(answer))
        return Invalid(f"{place(answer.url)} refuses the write with {answer.status}")

    def _body(self, step: Step) -> bytes:
        row = orjson.loads(step.after or b"null")
        return canonical({name: value for name, value in row.items() if name not in self.schema.computed})

    async def _look(self, step: Step, error: NervError) -> WriteOutcome:
        """Nobody knows what became of a write: what is there now tells, if it can be had."""
        unknown = UnknownOutcome(f"{self.name}: {step.key}: {error.detail}; it may have been written")
        try:
            entity = await self._fetch(step.key)
        except NervError:
            return unknown
        wanted = None if step.after is None else orjson.loads(step.after)
        if entity.row is None or wanted is None:
            return Written(None) if entity.row is wanted else unknown
        same = all(canonical({"": entity.row.get(name)}) == canonical({"": value}) for name, value in wanted.items())
        return Written(entity.version) if same else unknown

    async def _patiently(self, method: str, key: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Ask for one object. A system that is busy has done nothing, and is asked again when it wants to be."""
        if self.item is None:
            raise Misconfigured(f"{self.name} has no `item`, so that its objects have no addresses")
        if key in (".", ".."):
            raise Invalid(f"{self.name}: key {key!r} cannot stand in an address, where it means another place")
        url = self._base.join(URL(self.item.replace("{key}", quote(key, safe="")), encoded=True))
        sent = {"content-type": "application/json", **headers} if body is not None else headers
        async with self._places:
            for _ in range(TRIES - 1):
                try:
                    return await self._ask(method, url, sent, body)
                except Overloaded as error:
                    self._waited += 1
                    await asyncio.sleep(min(error.retry_after or 1.0, LONGEST_PAUSE))
            return await self._ask(method, url, sent, body)

    async def _ask(self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        if self._session is None:
            raise Misconfigured(f"source {self.name} is not open; use it as `async with`")
        if wait := self._pace.wait(time.monotonic()):
            await asyncio.sleep(wait)
        answer = await ask(self._session, method, url, {**self.headers(), **headers}, self.bounds, body)
        if method == "GET" and answer.status >= 500:
            raise Unavailable(f"{place(url)} answers {answer.status}")
        return answer


def _failed(answer: Answer) -> LoadRefused:
    return LoadRefused(f"{place(answer.url)} answers {answer.status}; nothing was changed")


def _strong(etag: str | None) -> str | None:
    """An ETag that may stand in If-Match: a weak one says only that something is alike."""
    return etag if etag is not None and etag.startswith('"') else None


def _link(header: str) -> str | None:
    """The address of rel="next" in a Link header (RFC 8288)."""
    for part in header.split(","):
        address, _, parameters = part.strip().partition(">")
        if address.startswith("<") and 'rel="next"' in parameters.replace("rel=next", 'rel="next"'):
            return address[1:]
    return None
