# SPDX-License-Identifier: Apache-2.0
"""The front page of a mesh on Compose: what runs where, how each part is, where to go on. Python's own library alone.

It asks every part when somebody asks it, and keeps nothing. `/readyz?verbose` says the same for programs: 200 when all are ready.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import escape
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from typing import Any

SECONDS = 2.0  # that a part has to answer
READY = "ready"
PAGE = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One container: what it does, how it is asked for its health, where it is found from this machine: links or an address."""

    name: str
    does: str
    ask: Callable[[], str]
    links: Mapping[str, str]
    at: str = ""


def fetch(host: str, port: int, path: str) -> tuple[int, bytes]:
    """Status and body, which is bounded. Raises OSError or HTTPException."""
    connection = HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(64 * 1024)
    finally:
        connection.close()


def readiness(host: str) -> str:
    """READY, or what the service says that it waits for."""
    try:
        status, body = fetch(host, 9090, "/readyz?verbose")
        checks = json.loads(body)["checks"]
    except (OSError, HTTPException, ValueError, KeyError) as error:
        return f"no answer: {error}"
    return READY if status == 200 else "; ".join(f"{name}: {said}" for name, said in checks.items() if said != "ok")


def answers(host: str, port: int, asked: bytes = b"", expected: bytes = b"") -> str:
    """READY where a connection is taken, and what is asked there is answered as expected."""
    try:
        with socket.create_connection((host, port), timeout=SECONDS) as connection:
            connection.sendall(asked)
            said = connection.recv(len(expected)) if expected else b""
    except OSError as error:
        return f"no answer: {error}"
    return READY if said == expected else f"it says {said!r}"


def service(name: str, number: int, does: str, **more: str) -> Part:
    """One of the five: its API is on port 808n of this machine, health and metrics on 918n."""
    api, health = f"http://127.0.0.1:{8080 + number}", f"http://127.0.0.1:{9180 + number}"
    links = {text: api + path for text, path in more.items()}
    common = {"about": f"{api}/.well-known/nerv", "OpenAPI": f"{api}/openapi.json"}
    return Part(name, does, lambda: readiness(name), {**links, **common, "health": f"{health}/readyz?verbose"})


PARTS = (
    service(
        "broker", 1, "publish, subscribe, reactions, dead letters", AsyncAPI="/v1/asyncapi.html", topics="/v1/topics"
    ),
    service("temporal", 2, "history: append, read, state as of any instant", streams="/v1/streams"),
    service("projector", 3, "read models in perspectives", projections="/v1/projections"),
    service("sync", 4, "outside systems kept equal to streams", syncs="/v1/syncs"),
    service("scheduler", 5, "durable workflows of tasks", workflows="/v1/workflows"),
    Part("kafka", "the truth", lambda: answers("kafka", 9092), {}, at="127.0.0.1:19092"),
    Part(
        "redis",
        "read models and work, rebuilt from Kafka",
        lambda: answers("redis", 6379, b"PING\r\n", b"+PONG"),
        {},
        at="redis://127.0.0.1:16379/0",
    ),
)


def states() -> dict[str, str]:
    """How every part is, asked of all at once."""
    with ThreadPoolExecutor(len(PARTS)) as pool:
        return dict(zip((part.name for part in PARTS), pool.map(lambda part: part.ask(), PARTS), strict=True))


def about() -> dict[str, Any]:
    """What the broker says of itself; nothing while it does not answer."""
    try:
        found = json.loads(fetch("broker", 8080, "/.well-known/nerv")[1])
    except (OSError, HTTPException, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def more_links(text: str) -> dict[str, str]:
    """`Grafana=http://127.0.0.1:3000 Prometheus=...`: what another layer of Compose adds. Only http links are taken."""
    pairs = (word.partition("=") for word in text.split())
    return {name: link for name, _, link in pairs if link.startswith(("http://", "https://"))}


def anchors(links: Mapping[str, str]) -> str:
    """Links, one after another."""
    return " ".join(f'<a href="{escape(link)}">{escape(name)}</a>' for name, link in links.items())


def row(part: Part, state: str) -> str:
    """A line of the table."""
    good = state == READY
    mark = f'<span class="{"good" if good else "bad"}">{"&#9679;" if good else "&#9675;"} {escape(state)}</span>'
    where = anchors(part.links) or f"<code>{escape(part.at)}</code>"
    return f"<tr><th>{escape(part.name)}<td>{mark}<td>{escape(part.does)}<td>{where}</tr>"


def page(found: Mapping[str, str], mesh: Mapping[str, Any], more: Mapping[str, str]) -> str:
    """The page. Whatever comes from elsewhere is escaped."""
    ready = sum(state == READY for state in found.values())
    return PAGE.substitute(
        mesh=escape(str(mesh.get("mesh", "nerv"))),
        app=escape(str(mesh.get("app", "not known yet"))),
        version=escape(str(mesh.get("versions", {}).get("nerv", ""))),
        summary=f"{ready} of {len(found)} parts are ready",
        state="good" if ready == len(found) else "bad",
        rows="\n".join(row(part, found[part.name]) for part in PARTS),
        more=f"<p>More: {anchors(more)}</p>" if more else "",
    )


class Front(BaseHTTPRequestHandler):
    """`/` for people, `/readyz` for Compose."""

    def do_GET(self) -> None:
        """Answer one request."""
        path = self.path.partition("?")[0]
        if path == "/":
            more = more_links(os.environ.get("FRONT_LINKS", ""))
            self._send(200, page(states(), about(), more).encode(), HEADERS)
        elif path == "/readyz":
            found = states()
            good = all(state == READY for state in found.values())
            self._send(200 if good else 503, json.dumps(found).encode(), {"content-type": "application/json"})
        else:
            self._send(404, b"there is only / and /readyz", {"content-type": "text/plain"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: Compose asks every few seconds."""


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(0)
    )  # the first process of a container is not ended by it otherwise
    ThreadingHTTPServer(("0.0.0.0", 8080), Front).serve_forever()  # noqa: S104 - in a container; Compose opens it to loopback
