# SPDX-License-Identifier: Apache-2.0
"""The app that the broker is measured with: one event type, checked and keyed at the door, as an app of a user is."""

import os

import nerv

TOPIC = os.environ.get("BENCH_TOPIC", "bench.noted.v1")
TYPE = "bench.noted.v1"

app = nerv.App("bench")


@app.event(TYPE, topic=TOPIC, key="name")
class Noted(nerv.Event):
    """Something was noted."""

    name: str
    number: int
    text: str
