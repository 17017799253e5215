# SPDX-License-Identifier: Apache-2.0
"""All that a run needs, from nothing to a mesh that is installed; or what another run keeps up."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from nerv.errors import Misconfigured
from tests.cluster import images
from tests.cluster.commands import SCRIPTS, run
from tests.cluster.kubernetes import Kubernetes, cluster
from tests.cluster.phases import Book
from tests.cluster.release import Release
from tests.cluster.servers import Servers, servers

NAMESPACE = "nerv"
FOLDER = Path(".nerv") / "cluster"
CONTEXT = FOLDER / "context.json"
BUILD_SECONDS = 3600.0


@asynccontextmanager
async def staged(book: Book) -> AsyncIterator[Release]:
    """The chart, installed. All of it is gone after the block. Raises Unavailable or Misconfigured."""
    with book.step("tools"):
        await run(SCRIPTS / "build.sh", seconds=BUILD_SECONDS, shown=True)
        docker = await images.docker_host()
    with book.step("images"):
        await images.build(docker)
    async with cluster(NAMESPACE, book) as kubernetes, servers(FOLDER.absolute(), book) as ours:
        with book.step("images into the cluster"):
            await images.bring_in(docker, kubernetes)
        release = Release.new(kubernetes, ours)
        with book.step("helm install --wait"):
            await release.prepare()
            await release.install()
        keep(release)
        yield release


def keep(release: Release) -> None:
    """Note where it is, for a run on the same one. The file is gone when the servers are."""
    CONTEXT.touch(0o600)
    CONTEXT.write_text(json.dumps({"servers": asdict(release.servers), "token": release.token}), encoding="utf-8")


def kept() -> Release:
    """The one that another run keeps up. Raises Misconfigured."""
    try:
        context = json.loads(CONTEXT.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Misconfigured("no cluster is kept up here: make cluster-test KEEP=1 keeps one") from None
    return Release(Kubernetes(NAMESPACE), Servers(**context["servers"]), context["token"])
