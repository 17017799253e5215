# SPDX-License-Identifier: Apache-2.0
"""The peer Quix Streams: `BOOTSTRAP stateless|state COUNT TOPIC FOLDER`.

It sums over the JSON events of a topic, without state or with a state for each key.
"""

import logging
import sys
import uuid

from quixstreams import Application

from bench.projector.peers.meter import Meter


def main(bootstrap, what, count, topic, folder):
    """Runs until the meter ends it."""
    meter = Meter(int(count))
    app = Application(
        broker_address=bootstrap,
        consumer_group=f"quix-{uuid.uuid4().hex[:8]}",
        auto_offset_reset="earliest",
        state_dir=f"{folder}/quix-{uuid.uuid4().hex[:8]}",
        loglevel=logging.ERROR,
    )
    frame = app.dataframe(app.topic(topic, value_deserializer="json", key_deserializer="str"))
    total = [0, 0]

    def add(value):
        total[0] += 1
        total[1] += value["amount"]
        meter.tick()

    def keep(value, state):
        state.set("count", state.get("count", 0) + 1)
        state.set("amount", state.get("amount", 0) + value["amount"])
        meter.tick()

    if what == "state":
        frame.update(keep, stateful=True)
    else:
        frame.update(add)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
