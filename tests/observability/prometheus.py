# SPDX-License-Identifier: Apache-2.0
"""A Prometheus of our own: it scrapes the health ports of a mesh every second, and is asked over its HTTP API."""

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import yaml

from tests.observability.binaries import find

HOST = "127.0.0.1"
START_SECONDS, STOP_SECONDS = 60.0, 20.0
JOB = "nerv"


class Alert(NamedTuple):
    """An alert as Prometheus tells of it; `state` is pending or firing."""

    name: str
    state: str
    labels: Mapping[str, str]


class Prometheus:
    """Asks one. `targets` tells it whom to scrape."""

    def __init__(self, session: aiohttp.ClientSession, folder: Path, port: int) -> None:
        self._session, self._folder = session, folder
        self.url = f"http://{HOST}:{port}"

    def targets(self, health: Mapping[str, str]) -> None:
        """Scrape these URLs, by the name of the service or replica; it hears of it within a second or so."""
        addresses = [url.removeprefix("http://") for url in health.values()]
        write_whole(self._folder / "targets.json", json.dumps([{"targets": addresses}]))

    async def ready(self) -> bool:
        """Whether it answers yet."""
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._session.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        return False

    async def range(self, expression: str, start: float, end: float) -> list[float]:
        """All values of all series in that time (seconds since 1970) that are numbers."""
        data = await self._get(
            "query_range", query=expression, start=str(start), end=str(end), step=str(max(1.0, (end - start) / 1000))
        )
        values = [float(value) for series in data["result"] for _, value in series["values"]]
        return [value for value in values if math.isfinite(value)]

    async def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """The labels and value of each series now."""
        data = await self._get("query", query=expression)
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    async def alerts(self) -> list[Alert]:
        """What is pending or fires."""
        data = await self._get("alerts")
        return [Alert(one["labels"]["alertname"], one["state"], one["labels"]) for one in data["alerts"]]

    async def _get(self, path: str, **words: str) -> Any:
        async with (
            self._session.post(f"{self.url}/api/v1/{path}", data=words)
            if words
            else self._session.get(f"{self.url}/api/v1/{path}") as answer
        ):
            document = await answer.json()
        if document["status"] != "success":
            raise ValueError(f"{words}: {document.get('error')}")
        return document["data"]


@asynccontextmanager
async def prometheus(folder: Path, rules: Path | None = None) -> AsyncIterator[Prometheus]:
    """One that runs in `folder` while the block does."""
    binary, port = (await asyncio.to_thread(find)).prometheus, free_port()
    _configure(folder, rules)
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            binary, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={HOST}:{port}", "--log.level=warn", stdout=log, stderr=log,
        )  # fmt: skip
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            found = Prometheus(session, folder, port)
            async with asyncio.timeout(START_SECONDS):
                while not await found.ready():  # it tells nobody
                    if process.returncode is not None:
                        raise RuntimeError((folder / "prometheus.log").read_text(encoding="utf-8"))
                    await asyncio.sleep(0.1)
            yield found
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


def _configure(folder: Path, rules: Path | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scraped = {
        "job_name": JOB,
        "file_sd_configs": [{"files": [str(folder / "targets.json")], "refresh_interval": "1s"}],
    }
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [] if rules is None else [str(rules)],
        "scrape_configs": [scraped],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")


def write_whole(path: Path, text: str) -> None:
    """Whoever reads it reads all of it."""
    half = path.with_suffix(".half")
    half.write_text(text, encoding="utf-8")
    half.rename(path)


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])
