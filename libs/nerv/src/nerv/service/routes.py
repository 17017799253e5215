# SPDX-License-Identifier: Apache-2.0
"""What a service answers to: a table of routes, and a request as a handler sees it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response

from nerv.errors import Invalid
from nerv.service.params import Body, Param
from nerv.types import Principal

D = TypeVar("D")
T = TypeVar("T")

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Request(Generic[D]):
    """A request that has passed the door. `deps` is what the service's wiring gives its handlers."""

    deps: D
    principal: Principal
    body: bytes
    http: StarletteRequest

    def path(self, name: str) -> str:
        """A parameter of the path."""
        value: str = self.http.path_params[name]
        return value

    def query(self, name: str) -> str | None:
        """A parameter of the query, or None. One that is given twice is refused."""
        values = self.http.query_params.getlist(name)
        if len(values) > 1:
            raise Invalid(f"query parameter {name} is given {len(values)} times; give it once")
        return values[0] if values else None

    def get(self, param: Param[T]) -> T:
        """What a word of the address or a header says. Raises Invalid or TooLarge. The route must take it."""
        found = self.query(param.name) if param.place == "query" else self.header(param.name)
        return param.default if found is None else param.read(found)

    def header(self, name: str) -> str | None:
        """A header by its name, or None."""
        value: str | None = self.http.headers.get(name)
        return value


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
