# SPDX-License-Identifier: Apache-2.0
"""Two eyes on every service: one asks it at its address, again and again; one reads who Kubernetes sends requests to."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from nerv.cancelling import end
from nerv.client.client import SERVICES
from tests.cluster.kubernetes import Kubernetes
from tests.cluster.phases import Book

EVERY_SECONDS = 0.25
ANSWER_SECONDS = 2.0
LABEL = "kubernetes.io/service-name"
# A line for each change of a slice: its name, the service's, and a 1 for each pod that takes requests.
LINE = (
    '{{.metadata.name}} {{index .metadata.labels "' + LABEL + '"}} '
    '{{range .endpoints}}{{if .conditions.ready}}1{{end}}{{end}}{{"\\n"}}'
)


@asynccontextmanager
async def watched(kubernetes: Kubernetes, urls: Mapping[str, str], token: str, book: Book) -> AsyncIterator[None]:
    """Both, while the block runs."""
    async with _asking(token) as http:
        tasks = [asyncio.create_task(_probe(http, service, urls[service], book)) for service in SERVICES]
        tasks.append(asyncio.create_task(_follow_endpoints(kubernetes, book)))
        try:
            yield
        finally:
            for task in tasks:
                await end(task)


def _asking(token: str) -> aiohttp.ClientSession:
    # A connection of its own for each question: one that is kept would ask the same pod for ever.
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
        headers={"authorization": f"Bearer {token}"},
    )


async def _probe(http: aiohttp.ClientSession, service: str, url: str, book: Book) -> None:
    while True:
        try:
            async with http.get(f"{url}/.well-known/nerv") as answer:
                there = answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            there = False
        book.probed(service, there)
        await asyncio.sleep(EVERY_SECONDS)


async def _follow_endpoints(kubernetes: Kubernetes, book: Book) -> None:
    slices: dict[str, dict[str, int]] = {service: {} for service in SERVICES}
    while True:
        async with _watch(kubernetes) as lines:
            async for line in lines:
                name, service, ready = (*line.decode().split(), "")[:3]
                short = service.rpartition("-")[2]
                if short in slices:
                    slices[short][name] = len(ready)
                    book.ready(short, sum(slices[short].values()))
        await asyncio.sleep(EVERY_SECONDS)  # the API server ends a watch now and then


@asynccontextmanager
async def _watch(kubernetes: Kubernetes) -> AsyncIterator[asyncio.StreamReader]:
    words = ("kubectl", "-n", kubernetes.namespace, "get", "endpointslices", "-w", "-o", f"go-template={LINE}")
    process = await asyncio.create_subprocess_exec(
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, **kubernetes.environment},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
