# SPDX-License-Identifier: Apache-2.0
"""Make the topics of the mesh and of its app, in a process of its own: `python -m nerv.dev.preparing`.

The app's code never runs in the supervisor, so that a reload sees the new one, and nothing that it prints or breaks reaches
us. The app is loaded while Kafka still starts: one line of JSON on standard input says when Kafka is there, and where.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points

from nerv.app import App
from nerv.app.find import GROUP, find_app
from nerv.dev.processes import TAIL_LINES
from nerv.errors import Misconfigured, NervError
from nerv.kafka.admin import Admin
from nerv.kafka.settings import KafkaSettings
from nerv.topics import DEFAULT_PARTITIONS, Topic, of_mesh


class Preparation:
    """The running process. `start`, then `finish` when Kafka answers; or `cancel`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, environment: Mapping[str, str]) -> "Preparation":
        """Begin to load the app named in `environment` (NERV_APP)."""
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "nerv.dev.preparing"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,  # what the app prints at import is not for us
                stderr=asyncio.subprocess.PIPE,
                env=dict(environment),
                start_new_session=True,
            )
        )

    async def finish(self, kafka: str) -> None:
        """Make the topics in this Kafka. Raises Misconfigured with what the process said."""
        _, said = await self._process.communicate(json.dumps({"kafka": kafka}).encode() + b"\n")
        if self._process.returncode != 0:
            raise Misconfigured(_last_lines(said) or "the topics could not be made")

    async def cancel(self) -> None:
        """End it; what it has done stays done."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


def _last_lines(said: bytes) -> str:
    return "\n".join(said.decode(errors="replace").strip().splitlines()[-TAIL_LINES:])


def app_of(reference: str | None) -> App | None:
    """The app of the mesh; None when none is named and none installed. Raises Misconfigured."""
    if not reference and not list(entry_points(group=GROUP)):
        return None
    return find_app(reference)


def wanted_topics(mesh: str, app: App | None, partitions: int) -> list[Topic]:
    """The topics of the mesh, of the app's projections, and the app's own."""
    own = [] if app is None else list(app.all_topics().values())
    projections = () if app is None else tuple(app.projections)
    topics = of_mesh(mesh, partitions=partitions, projections=projections)
    return [*topics, *(Topic(spec.name, spec.partitions, config=spec.config) for spec in own)]


def main() -> None:
    """Load the app, wait for the line, make the topics. Exits 1 with the reason on standard error."""
    try:
        app = app_of(os.environ.get("NERV_APP"))
        partitions = int(os.environ.get("NERV_PARTITIONS", DEFAULT_PARTITIONS))
        topics = wanted_topics(os.environ["NERV_MESH"], app, partitions)
        line = sys.stdin.readline()
        if line:  # nothing comes when the supervisor gave up
            Admin(KafkaSettings(bootstrap_servers=json.loads(line)["kafka"]), "nerv-dev").create(topics)
    except NervError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
