# SPDX-License-Identifier: Apache-2.0
"""What a service answers to: a table of routes, and a request as a handler sees it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

import orjson
from starlette.responses import Response
from starlette.types import Scope

from nerv.errors import Invalid
from nerv.service.params import Body, Param
from nerv.types import Principal

D = TypeVar("D")
T = TypeVar("T")

JSON = "application/json"
QUERIES = 256  # whose words are remembered: most requests have one of a few


async def no_pieces() -> AsyncIterator[bytes]:
    """What is left of a body that was read at the door."""
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece


@dataclass(frozen=True, slots=True)
class Request(Generic[D]):
    """A request that has passed the door. `deps` is what the service's wiring gives its handlers."""

    deps: D
    principal: Principal
    body: bytes
    path_words: Mapping[str, str]
    query_words: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)  # by lower-case name; of one that came twice, the first
    pieces: Callable[[], AsyncIterator[bytes]] = no_pieces  # the body as it comes, where the route `streams` it

    def path(self, name: str) -> str:
        """A parameter of the path."""
        return self.path_words[name]

    def query(self, name: str) -> str | None:
        """A parameter of the query, or None. One that is given twice is refused."""
        values = [value for word, value in self.query_words if word == name]
        if len(values) > 1:
            raise Invalid(f"query parameter {name} is given {len(values)} times; give it once")
        return values[0] if values else None

    def get(self, param: Param[T]) -> T:
        """What a word of the address or a header says. Raises Invalid or TooLarge. The route must take it."""
        found = self.query(param.name) if param.place == "query" else self.header(param.name)
        return param.default if found is None else param.read(found)

    def header(self, name: str) -> str | None:
        """A header by its lower-case name, or None."""
        return self.headers.get(name)


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers of a request, all at once: what Starlette has for it searches them for each one that is asked for."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def query_words_of(scope: Scope) -> Sequence[tuple[str, str]]:
    """The parameters of a query, in order."""
    query: bytes = scope.get("query_string", b"")
    return _words(query) if query else ()


@lru_cache(QUERIES)
def _words(query: bytes) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


Handler = Callable[[Request[Any]], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of a service's table of routes: what is asked, who may, and who answers.

    `of` is the name in the path of the thing that is asked about: a token whose scope holds for this thing alone passes.
    `each` lets in whoever holds the scope for at least one thing of the kind; the handler then asks it for each.
    """

    method: str
    path: str
    handler: Handler
    scope: str
    takes: tuple[Param[Any], ...] = ()  # words of the address, and headers; another word is refused
    body: Body | None = None
    gives: tuple[str, ...] = (JSON,)  # content types
    statuses: tuple[int, ...] = (200,)  # of what is done
    of: str | None = None
    each: bool = False
    streams: tuple[str, ...] = ()  # content types whose body the handler reads by itself, as it comes

    def reads(self, content_type: str) -> bool:
        """Whether the handler reads a body of this type by itself; the door then does not."""
        return content_type.partition(";")[0].strip().lower() in self.streams

    def admit(self, principal: Principal, path: Mapping[str, str]) -> None:
        """Let pass who may ask this, of what the parsed path names. Raises Forbidden."""
        if self.each:
            principal.require_some(self.scope)
        else:
            principal.require(self.scope, None if self.of is None else path[self.of])


def respond(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    body = orjson.dumps(document, option=orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers, "application/json")
