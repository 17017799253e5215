# SPDX-License-Identifier: Apache-2.0
"""The chart: installed, tested, upgraded, rolled back, as docs/operations.md says."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerv.errors import Unavailable
from tests.cluster.commands import ROOT
from tests.cluster.kubernetes import Kubernetes
from tests.cluster.servers import Servers

CHART = ROOT / "helm" / "nerv"
VALUES = Path(__file__).with_name("values.yaml")
NAME = "nerv"
INSTALL_SECONDS = 400  # ten pods that all start at once, on two cores
BROKEN_SECONDS = 90  # after which Helm gives a release up, and which it allows for going back


@dataclass(frozen=True, slots=True)
class Release:
    """The release of the chart, and the tokens that its services accept."""

    kubernetes: Kubernetes
    servers: Servers
    token: str

    @classmethod
    def new(cls, kubernetes: Kubernetes, servers: Servers) -> "Release":
        """One that is not installed yet."""
        return cls(kubernetes, servers, secrets.token_urlsafe(32))

    async def prepare(self) -> None:
        """The namespace, in which only pods of the restricted profile may run, and its Secrets."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        name = self.kubernetes.namespace
        await self.kubernetes.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        )
        own = secrets.token_urlsafe(32)
        tokens = [
            {"token": self.token, "subject": "cluster-test", "scopes": ["*"]},
            {"token": own, "subject": "services", "scopes": ["*"]},
        ]
        await self._secret("nerv-auth", {"tokens.json": json.dumps(tokens), "client-token": own})
        await self._secret("nerv-redis", {"redis-password": self.servers.password})

    async def install(self) -> None:
        """Returns when every pod is ready. Raises Unavailable."""
        await self._helm("install", "1", "--wait", "--timeout", f"{INSTALL_SECONDS}s", seconds=INSTALL_SECONDS + 30)

    async def test(self) -> str:
        """The chart's own test; answers what it said. Raises Unavailable."""
        return await self.kubernetes.run(
            "helm", "test", NAME, "-n", self.kubernetes.namespace, "--logs", "--timeout", "120s", seconds=150
        )

    async def upgrade(self, tag: str) -> None:
        """To another image, replica by replica. Raises Unavailable."""
        await self._helm("upgrade", tag, "--wait", "--timeout", f"{INSTALL_SECONDS}s", seconds=INSTALL_SECONDS + 30)

    async def upgrade_in_vain(self) -> str:
        """To an image whose services end at once: Helm rolls it back. Answers what it said. Raises Unavailable if it does not."""
        try:
            await self._helm("upgrade", "broken", "--atomic", "--timeout", f"{BROKEN_SECONDS}s", seconds=400)
        except Unavailable as refused:
            return refused.detail
        raise Unavailable("a release whose services end at once was rolled out")

    async def history(self) -> list[dict[str, Any]]:
        """The revisions, the oldest first."""
        found: list[dict[str, Any]] = json.loads(
            await self.kubernetes.run("helm", "history", NAME, "-n", self.kubernetes.namespace, "-o", "json")
        )
        return found

    async def _secret(self, name: str, files: dict[str, str]) -> None:
        await self.kubernetes.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": self.kubernetes.namespace},
             "stringData": files}
        )  # fmt: skip

    async def _helm(self, verb: str, tag: str, *options: str, seconds: float) -> None:
        values = {
            "image.tag": tag,
            "externalKafka.bootstrapServers": self.servers.kafka,
            "externalRedis.url": self.servers.redis,
        }
        chosen = [word for name, value in values.items() for word in ("--set-string", f"{name}={value}")]
        where = ("-n", self.kubernetes.namespace, "-f", VALUES)
        await self.kubernetes.run("helm", verb, NAME, CHART, *where, *chosen, *options, seconds=seconds)
