# SPDX-License-Identifier: Apache-2.0
"""Toxiproxy between a replica and Kafka: built once from source, started as a process, told by its HTTP API what to break."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from nerv.dev.ports import HOST
from nerv.dev.processes import Command, Process
from nerv.dev.starting import wait_ready
from nerv.errors import Misconfigured, Unavailable

BUILD = Path(__file__).parent / "toxiproxy" / "build.sh"
START_SECONDS = 20.0


def program() -> str:
    """The program, built when it is not there yet (half a minute). Raises Misconfigured."""
    done = subprocess.run([str(BUILD)], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Misconfigured("Toxiproxy cannot be built; the lines above say why")
    return done.stdout.strip()


class Toxiproxy:
    """The running program."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def add(self, name: str, listen: int, upstream: int) -> "Proxy":
        """A proxy from one port to another."""
        proxy = Proxy(self, name, listen)
        await self.call("POST", "/proxies", proxy.document(upstream))
        return proxy

    async def call(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> None:
        """Raises Unavailable when it is refused."""
        async with self._http.request(method, path, json=document) as answer:
            if answer.status >= 400:
                raise Unavailable(f"toxiproxy: {method} {path}: {await answer.text()}")


class Proxy:
    """The way of one client to Kafka."""

    def __init__(self, server: Toxiproxy, name: str, listen: int) -> None:
        self.name, self.listen = name, listen
        self._server = server

    @property
    def address(self) -> str:
        """Where its client goes."""
        return f"{HOST}:{self.listen}"

    def document(self, upstream: int, *, enabled: bool = True) -> dict[str, Any]:
        """The proxy as Toxiproxy's API names it."""
        listen, to = f"{HOST}:{self.listen}", f"{HOST}:{upstream}"
        return {"name": self.name, "listen": listen, "upstream": to, "enabled": enabled}

    async def lose_replies(self, seconds: float) -> None:
        """What Kafka answers in this time is dropped, then the connections break: requests arrive, their answers do not."""
        path = f"/proxies/{self.name}/toxics"
        toxic = {"name": "lost", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}
        await self._server.call("POST", path, toxic)
        try:
            await asyncio.sleep(seconds)
        finally:
            await self._server.call("DELETE", f"{path}/lost")

    async def cut(self, seconds: float) -> None:
        """Nothing goes through in either direction, and nobody is told."""
        path = f"/proxies/{self.name}/toxics"
        for stream in ("upstream", "downstream"):
            toxic = {"name": f"cut-{stream}", "type": "timeout", "stream": stream, "attributes": {"timeout": 0}}
            await self._server.call("POST", path, toxic)
        try:
            await asyncio.sleep(seconds)
        finally:
            for stream in ("upstream", "downstream"):
                await self._server.call("DELETE", f"{path}/cut-{stream}")


@asynccontextmanager
async def toxiproxy(environment: Mapping[str, str], log: Path, port: int) -> AsyncIterator[Toxiproxy]:
    """The program, running. Raises Misconfigured or Unavailable."""
    arguments = [await asyncio.to_thread(program), "-host", HOST, "-port", str(port)]
    process = Process(Command("toxiproxy", arguments, log, {**environment, "LOG_LEVEL": "error"}))
    try:
        await asyncio.to_thread(wait_ready, process, port, lambda seconds: None, START_SECONDS)
        async with aiohttp.ClientSession(f"http://{HOST}:{port}") as http:
            yield Toxiproxy(http)
    finally:
        await asyncio.to_thread(process.kill)
