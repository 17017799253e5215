# SPDX-License-Identifier: Apache-2.0
"""The peer Faust: `BOOTSTRAP stateless|state COUNT FOLDER`: a plain agent over JSON events, without state or with a table."""

import sys
import uuid

import faust

from bench.projector.events import PARTITIONS, TOPIC
from bench.projector.peers.meter import Meter


def main(bootstrap, what, count, folder):
    """Runs until the meter ends it."""
    meter = Meter(int(count))
    app = faust.App(
        f"faust-{uuid.uuid4().hex[:8]}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        value_serializer="json",
        key_serializer="raw",
        consumer_auto_offset_reset="earliest",
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        web_enabled=False,
        datadir=f"{folder}/faust-{uuid.uuid4().hex[:8]}",
    )
    topic = app.topic(TOPIC, value_serializer="json", key_serializer="raw")
    table = app.Table("sums", partitions=PARTITIONS, default=lambda: (0, 0)) if what == "state" else None

    @app.agent(topic)
    async def work(stream):
        seen, amount = 0, 0
        if table is None:
            async for value in stream:
                seen, amount = seen + 1, amount + value["amount"]
                meter.tick()
        async for key, value in stream.items():
            seen, amount = table[key.decode()]
            table[key.decode()] = (seen + 1, amount + value["amount"])
            meter.tick()

    faust.Worker(app, loglevel="error").execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
