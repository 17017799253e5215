# SPDX-License-Identifier: Apache-2.0
"""*temporal* without its door, in the process that measures: index, tail, owners and router, wired as the service is."""

import asyncio
import gc
import os
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from bench.broker.records import COLLECTOR
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import of_mesh
from nerv_temporal.app import Wiring
from nerv_temporal.settings import TemporalSettings

APP = "bench.temporal.app:app"
# As many as two cores commit at once: the more partitions, the fewer writers share a transaction of one.
PARTITIONS = 2
READY_SECONDS = 60.0


def settings_for(
    bootstrap: str, mesh: str, folder: Path, *, fsync: bool = False, partitions: int = PARTITIONS
) -> TemporalSettings:
    """Settings of a mesh of its own, whose topics are made where they are missing; each record synchronised if `fsync`."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    config = {"flush.messages": "1"} if fsync else {}
    topics = [replace(t, config={**t.config, **config}) for t in of_mesh(mesh, partitions=partitions, projections=[])]
    admin = Admin(kafka, "bench")
    admin.create(topics, replication=1)
    admin.wait_for(
        [topic.name for topic in topics], READY_SECONDS
    )  # the broker knows them a moment after it has made them
    return TemporalSettings(mesh=mesh, app=APP, kafka=kafka, data_dir=folder, partitions=partitions, insecure_dev=True)


@asynccontextmanager
async def hosted(bootstrap: str, *, fsync: bool = False, partitions: int = PARTITIONS) -> AsyncIterator[Wiring]:
    """A replica that owns all partitions of a mesh."""
    os.environ.setdefault("OTEL_SDK_DISABLED", "true")
    gc.set_threshold(*COLLECTOR)
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as name:
        mesh = f"b{uuid.uuid4().hex[:8]}"
        wiring = Wiring(settings=settings_for(bootstrap, mesh, Path(name), fsync=fsync, partitions=partitions))
        async with AsyncExitStack() as stack:
            for part in (wiring.tail(), wiring.owners(), wiring.router()):
                await stack.enter_async_context(part)
            async with asyncio.timeout(READY_SECONDS):
                while wiring.owners().fault() is not None:  # noqa: ASYNC110 - the service asks it so, too
                    await asyncio.sleep(0.02)
            yield wiring
        wiring.index().close()
