# SPDX-License-Identifier: Apache-2.0
"""What operators and machines do to a mesh that works: scale, kill, upgrade, roll back."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import aiohttp

from nerv.client.client import SERVICES
from nerv.errors import Unavailable
from tests.cluster.kubernetes import Kubernetes, Pod, until
from tests.cluster.phases import Phase
from tests.cluster.release import Release

REPLICAS = 2
READY_SECONDS = 240.0
SETTLED_SECONDS = 2.0  # under traffic at the new size, and between two disturbances
QUIET_SECONDS = 5.0
HTTP_PORT = 8080


@dataclass(frozen=True, slots=True)
class Disturber:
    """Does one thing after the other, each in a phase of its own."""

    release: Release
    step: Callable[[str], AbstractContextManager[Phase]]

    @property
    def kubernetes(self) -> Kubernetes:
        """The cluster."""
        return self.release.kubernetes

    async def nothing(self) -> None:
        """What the traffic looks like when all is well."""
        with self.step("nothing is done"):
            await asyncio.sleep(QUIET_SECONDS)

    async def scale(self, service: str) -> None:
        """One replica more, and back."""
        with self.step(f"scale {service} {REPLICAS} to {REPLICAS + 1}") as phase:
            before = {pod.name for pod in await self.kubernetes.pods(service)}
            await self._replicas(service, REPLICAS + 1)
            if service == "projector":
                await self._useful(phase, before)
            await self.ready(service, REPLICAS + 1)
            phase.notes.append(f"ready after {time.monotonic() - phase.begun:.1f} s")
            await asyncio.sleep(SETTLED_SECONDS)
        with self.step(f"scale {service} {REPLICAS + 1} to {REPLICAS}") as phase:
            await self._replicas(service, REPLICAS)
            await self.ready(service, REPLICAS)
            phase.notes.append(f"gone after {time.monotonic() - phase.begun:.1f} s")
            await asyncio.sleep(SETTLED_SECONDS)

    async def kill(self, service: str) -> None:
        """SIGKILL to one replica; Kubernetes starts it again in its pod."""
        with self.step(f"kill a pod of {service}") as phase:
            victim = (await self.kubernetes.pods(service))[0]
            await self.kubernetes.kill(victim)

            async def restarted() -> bool:
                now = {pod.name: pod for pod in await self.kubernetes.pods(service)}.get(victim.name)
                return now is not None and now.restarts > victim.restarts and now.ready

            await until(f"that {victim.name} is ready again", restarted, READY_SECONDS)
            await self.ready(service, REPLICAS)
            phase.notes.append(f"ready again after {time.monotonic() - phase.begun:.1f} s")
            await asyncio.sleep(SETTLED_SECONDS)

    async def upgrade(self, tag: str) -> None:
        """All services to another image."""
        with self.step(f"upgrade to {tag}") as phase:
            await self.release.upgrade(tag)
            await self._all_run(tag)
            phase.notes.append(f"helm upgrade --wait: {time.monotonic() - phase.begun:.1f} s")
            await asyncio.sleep(SETTLED_SECONDS)

    async def upgrade_in_vain(self, tag: str) -> None:
        """To an image that does not start, from `tag`, which all run again when Helm has rolled it back."""
        with self.step("roll back a broken upgrade") as phase:
            await self.release.upgrade_in_vain()
            phase.notes.append(f"helm upgrade --atomic gave up and rolled back: {time.monotonic() - phase.begun:.1f} s")
            await self._all_run(tag)
            last = (await self.release.history())[-1]
            if last["status"] != "deployed" or not last["description"].startswith("Rollback"):
                raise Unavailable(f"the last revision is {last['status']}: {last['description']}")
            await asyncio.sleep(SETTLED_SECONDS)

    async def ready(self, service: str, replicas: int) -> None:
        """Wait until so many replicas are there, all of them ready, and no others. Raises Unavailable."""

        async def reached() -> bool:
            pods = await self.kubernetes.get("pods", "-l", f"app.kubernetes.io/component={service}")
            return len(pods) == replicas and all(Pod.of(pod).ready for pod in pods)

        await until(f"that {service} has {replicas} ready replicas", reached, READY_SECONDS)

    async def _all_run(self, tag: str) -> None:
        for service in SERVICES:
            await self.ready(service, REPLICAS)
            wrong = [pod.name for pod in await self.kubernetes.pods(service) if not pod.image.endswith(f":{tag}")]
            if wrong:
                raise Unavailable(f"{', '.join(wrong)} do not run the image {tag}")

    async def _replicas(self, service: str, count: int) -> None:
        kind = "statefulset" if service == "temporal" else "deployment"
        await self.kubernetes.kubectl("scale", kind, f"nerv-{service}", f"--replicas={count}")

    async def _useful(self, phase: Phase, before: set[str]) -> None:
        """Note when the new replica of projector owns partitions, and when it has folded something of them."""
        headers = {"authorization": f"Bearer {self.release.token}"}
        started = owning = 0.0
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=2.0)) as http:

            async def folds() -> bool:
                nonlocal started, owning
                new = [pod for pod in await self.kubernetes.pods("projector") if pod.name not in before and pod.address]
                if not new:
                    return False
                started = started or time.monotonic()
                try:
                    async with http.get(f"http://{new[0].address}:{HTTP_PORT}/v1/projections") as answer:
                        rows = (await answer.json())["projections"] if answer.status == 200 else []
                except (aiohttp.ClientError, TimeoutError):
                    return False
                if any(row["owns"] for row in rows):
                    owning = owning or time.monotonic()
                return any(row.get("rate") for row in rows)

            await until("that the new projector folds", folds, READY_SECONDS)
        now = time.monotonic()
        phase.notes.append(
            f"new replica: its pod runs after {started - phase.begun:.1f} s, it owns partitions after "
            f"{owning - phase.begun:.1f} s, folds after {now - phase.begun:.1f} s"
        )
