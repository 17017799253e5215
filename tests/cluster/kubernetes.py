# SPDX-License-Identifier: Apache-2.0
"""The cluster: brought up, asked by kubectl, and down again whatever becomes of this process."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerv.cancelling import finished
from nerv.errors import Unavailable
from tests.cluster.commands import SCRIPTS, run
from tests.cluster.phases import Book

ADDRESS = "10.250.0.1"  # as in deploy/cluster/settings.sh: what pods reach of this machine
DOWN_SECONDS = 120.0
POLL_SECONDS = 0.1


def home() -> Path:
    """Where the tools are and the cluster keeps its state, as settings.sh says."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("CLUSTER_HOME") or f"{cache}/cluster")


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """The running cluster, and the namespace that the mesh is in."""

    namespace: str

    @property
    def environment(self) -> dict[str, str]:
        """What kubectl, helm and ctr need to find it."""
        return {
            "PATH": f"{home() / 'bin'}:{os.environ['PATH']}",
            "KUBECONFIG": str(home() / "run" / "kubeconfig"),
            "CONTAINERD_ADDRESS": str(home() / "run" / "containerd.sock"),
        }

    async def run(self, *words: str | Path, stdin: bytes | None = None, seconds: float = 120.0) -> str:
        """A program that works on the cluster."""
        return await run(*words, env=self.environment, stdin=stdin, seconds=seconds)

    async def kubectl(self, *words: str, stdin: bytes | None = None, seconds: float = 120.0) -> str:
        """kubectl in the namespace."""
        return await self.run("kubectl", "-n", self.namespace, *words, stdin=stdin, seconds=seconds)

    async def get(self, kind: str, *words: str) -> list[dict[str, Any]]:
        """Objects of a kind as Kubernetes gives them."""
        found: list[dict[str, Any]] = json.loads(await self.kubectl("get", kind, *words, "-o", "json"))["items"]
        return found

    async def apply(self, document: Mapping[str, Any]) -> None:
        """Make an object what the document says."""
        await self.kubectl("apply", "-f", "-", stdin=json.dumps(document).encode())

    async def pods(self, service: str) -> "list[Pod]":
        """The pods of a service that are not ending, the oldest first."""
        items = await self.get("pods", "-l", f"app.kubernetes.io/component={service}")
        pods = [Pod.of(item) for item in items if "deletionTimestamp" not in item["metadata"]]
        return sorted(pods, key=lambda pod: pod.started)

    async def kill(self, pod: "Pod") -> None:
        """SIGKILL to the first process of the pod's container, as the out-of-memory killer does."""
        await self.run("ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", pod.container)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the mesh. `container` is empty while it has none."""

    name: str
    address: str
    started: str
    ready: bool
    restarts: int
    container: str
    image: str

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "Pod":
        """Of what Kubernetes says."""
        status, metadata = item["status"], item["metadata"]
        container: Mapping[str, Any] = next(iter(status.get("containerStatuses", ())), {})
        return cls(
            metadata["name"],
            status.get("podIP", ""),
            metadata["creationTimestamp"],
            bool(container.get("ready")),
            int(container.get("restartCount", 0)),
            container.get("containerID", "").removeprefix("containerd://"),
            item["spec"]["containers"][0]["image"],
        )


@asynccontextmanager
async def cluster(namespace: str, book: Book) -> AsyncIterator[Kubernetes]:
    """A new cluster, down again at the end of the block, and also when this process is killed in it. Raises Unavailable."""
    # The end of our pipe is what keeps it up: nothing that can happen to this process leaves it open.
    keeper = await asyncio.create_subprocess_exec(
        SCRIPTS / "down.sh", "--after", stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        with book.step("Kubernetes up"):
            await run(SCRIPTS / "up.sh", seconds=180.0)
        yield Kubernetes(namespace)
    finally:
        await finished(asyncio.create_task(_ended(keeper)))


async def _ended(keeper: asyncio.subprocess.Process) -> None:
    assert keeper.stdin is not None
    keeper.stdin.close()
    async with asyncio.timeout(DOWN_SECONDS):
        await keeper.wait()


async def until(what: str, condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait until `await condition()` is true. Raises Unavailable when it is not in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await condition():
        if asyncio.get_running_loop().time() > deadline:
            raise Unavailable(f"{what} did not come about within {seconds:.0f} s")
        await asyncio.sleep(POLL_SECONDS)
