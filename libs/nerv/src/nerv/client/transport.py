# SPDX-License-Identifier: Apache-2.0
"""HTTP to the services: one session, errors in our tree, trace context, retries that cannot do harm."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from opentelemetry.trace import SpanKind

from nerv.errors import Misconfigured, NervError, Retry, Unavailable, UnknownOutcome, from_problem
from nerv.telemetry import hop, span
from nerv.telemetry import names as n
from nerv.types import Description, Health

CONNECT_SECONDS = 3.0
CONNECTIONS = 128
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
DEADLINE_SECONDS = 30.0
SILENCE_SECONDS = 45.0  # services say something every 10 s: one that does not is gone, though the connection stands

Token = str | Callable[[], str] | None
"""What says who asks; where it changes in time, whoever knows it."""
Query = Mapping[str, str | float | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


class Transport:
    """Requests to the services by name. Use as `async with`."""

    def __init__(self, urls: Mapping[str, str], token: Token = None) -> None:
        self._urls = {service: url.rstrip("/") for service, url in urls.items()}
        self._token = token
        self._requests = self._repeats = 0
        self._session: aiohttp.ClientSession | None = None

    @property
    def services(self) -> tuple[str, ...]:
        """Those whose URL is known."""
        return tuple(self._urls)

    async def open(self) -> None:
        """Start the session; the first request would otherwise."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            auto_decompress=True,
        )

    async def close(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def describe(self) -> Description:
        """The transport as data. It is down while it has no session."""
        return Description(
            "Client",
            "mesh",
            outputs=tuple(f"{service} {url}" for service, url in self._urls.items()),
            counters={"requests": self._requests, "repeats": self._repeats},
            health=Health.DOWN if self._session is None else Health.OK,
        )

    async def request(
        self,
        service: str,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = DEADLINE_SECONDS,
    ) -> Answer:
        """Send until there is a verdict or `seconds` are over.

        Repeats what did not happen (Unavailable) and what carries its own id and so cannot happen twice: every write of
        the mesh does. Raises the error that the service answered, or UnknownOutcome.
        """
        deadline = time.monotonic() + seconds
        pause = FIRST_PAUSE
        unknown: NervError | None = None
        self._requests += 1
        while True:
            try:
                return await self.attempt(service, method, path, query, body, headers, deadline - time.monotonic())
            except NervError as error:
                if error.retry is Retry.NEVER:
                    raise
                if error.retry is Retry.SAME_ID:
                    unknown = error
                # Jitter, so that clients that failed together do not come back together.
                wait = max(error.retry_after or 0.0, pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                if time.monotonic() + wait >= deadline:
                    # Once an attempt was unknown, a later "not now" does not say what became of the first.
                    raise unknown or error from None
                await asyncio.sleep(wait)
                self._repeats += 1
                pause = min(pause * 2, LONGEST_PAUSE)

    async def json(
        self,
        service: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float = DEADLINE_SECONDS,
    ) -> dict[str, Any]:
        """The same with JSON both ways: a document, or none, for a document."""
        data = None if body is None else orjson.dumps(body)
        headers = {"content-type": "application/json"}
        answer = await self.request(service, method, path, body=data, headers=headers, seconds=seconds)
        document: dict[str, Any] = answer.json()
        return document

    async def attempt(
        self,
        service: str,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        seconds: float,
    ) -> Answer:
        """Send once. Raises what the service answered, Unavailable when it was not reached, or UnknownOutcome."""
        with span(n.http(method, service), SpanKind.CLIENT, attributes={n.HTTP_METHOD: method, n.URL_PATH: path}):
            async with self._sent(service, method, path, query, body, headers, seconds) as response:
                try:
                    data = await response.read()
                except (aiohttp.ClientError, TimeoutError) as error:
                    raise _broken(service, method, error) from error
                raise_for_problem(response.status, response.headers, data)
                return Answer(response.status, response.headers, data)

    @asynccontextmanager
    async def stream(
        self, service: str, path: str, *, query: Query | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """A GET whose answer is read as it comes, without a deadline (server-sent events). Raises as `request` does.

        One that says nothing for 45 s is broken off, as Unavailable.
        """
        async with self._sent(service, "GET", path, query, None, headers, None, SILENCE_SECONDS) as response:
            if response.status >= 400:
                raise_for_problem(response.status, response.headers, await response.read())
            yield response.content

    @asynccontextmanager
    async def _sent(
        self,
        service: str,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        seconds: float | None,
        silence: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("use the client as `async with`")
        params = {name: str(value) for name, value in (query or {}).items() if value is not None}
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS, sock_read=silence)
        try:
            async with self._session.request(
                method,
                self.url(service) + path,
                params=params,
                data=body,
                headers=self._headers(headers),
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                yield response
        except aiohttp.ClientConnectorError as error:
            raise Unavailable(f"{service} at {self.url(service)} cannot be reached: {error.os_error}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _broken(service, method, error) from error

    def url(self, service: str) -> str:
        """The base URL of a service. Raises Misconfigured."""
        if service not in self._urls:
            raise Misconfigured(
                f"no URL of {service} is known; start `nerv dev`, or set NERV_URL or NERV_SERVICES__{service.upper()}"
            )
        return self._urls[service]

    def _headers(self, headers: Mapping[str, str] | None) -> dict[str, str]:
        result = dict(headers or {})
        if self._token is not None:
            token = self._token if isinstance(self._token, str) else self._token()
            result.setdefault("authorization", f"Bearer {token}")
        context = hop()
        if context.traceparent is not None:
            result["traceparent"] = context.traceparent
            if context.tracestate:
                result["tracestate"] = context.tracestate
        return result


def _broken(service: str, method: str, error: Exception) -> NervError:
    detail = str(error) or type(error).__name__
    if method == "GET":
        return Unavailable(f"{service} broke off: {detail}")
    return UnknownOutcome(f"{service} did not answer ({detail}); repeating with the same id is safe")


def raise_for_problem(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise what a problem document says; an answer below 400 passes."""
    if status < 400:
        return
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = {}
    after = headers.get("retry-after", "")
    raise from_problem(
        document if isinstance(document, dict) else {}, status, float(after) if after.isdigit() else None
    )
