# SPDX-License-Identifier: Apache-2.0
"""The app whose reactions are measured: one reaction that publishes, the same in batches, and one that appends."""

import nerv

app = nerv.App("bench")

PUBLISHED, BATCHED, APPENDED = "bench.published.v1", "bench.batched.v1", "bench.appended.v1"
app.topic("bench.out.v1", partitions=4)
for _topic in (PUBLISHED, BATCHED, APPENDED):
    app.topic(_topic, partitions=4)


class Told(nerv.Event):
    """What the topics hold."""

    key: str
    number: int
    text: str = ""


@app.event("bench.told.v1", topic=PUBLISHED, key="key")
class ToPublish(Told):
    """Is published on."""


@app.event("bench.batched.v1", topic=BATCHED, key="key")
class ToBatch(Told):
    """Is published on, many at a time."""


@app.event("bench.kept.v1", topic=APPENDED, key="key")
class ToKeep(Told):
    """Is appended."""


@app.event("bench.out.v1", topic="bench.out.v1", key="key")
class Out(nerv.Event):
    """What comes out."""

    key: str
    number: int


@app.on("bench.told.v1")
def say(event: ToPublish) -> nerv.effects.Publish:
    """One out for one in."""
    return nerv.publish(Out(key=event.key, number=event.number))


@app.on("bench.batched.v1", batch=500)
def say_many(events: list[ToBatch]) -> list[nerv.effects.Publish]:
    """The same, for many."""
    return [nerv.publish(Out(key=event.key, number=event.number)) for event in events]


@app.on("bench.kept.v1")
def keep(event: ToKeep) -> nerv.effects.Append:
    """Into one of a hundred streams."""
    return nerv.append(f"bench-{event.key}", event)
