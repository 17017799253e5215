# SPDX-License-Identifier: Apache-2.0
"""The spans that the mesh keeps in a real Redis: found by trace, bounded, and never in anybody's way."""

import json
import time
import uuid
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Link, Status, StatusCode

from nerv.redis import RedisSettings, connect
from nerv.redis.connection import Redis
from nerv.telemetry.spans.bounds import SpanSettings
from nerv.telemetry.spans.document import Kept, kept
from nerv.telemetry.spans.keeper import Keeper
from nerv.telemetry.spans.recent import Recent
from nerv.telemetry.spans.store import SpanStore

NOWHERE = RedisSettings(url="redis://127.0.0.1:1/0")


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """Connections to it."""
    client = connect(RedisSettings(url=redis_url), "test")
    yield client
    await client.aclose()


def mesh() -> str:
    """A name of its own."""
    return f"t{uuid.uuid4().hex[:8]}"


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def one(trace: str, span: str, begun: int, *, took: int = 1000, failed: bool = False) -> Kept:
    """A span."""
    document = {"trace": trace, "span": span, "begun": begun, "microseconds": took}
    return Kept(trace, span, begun, begun + took, failed, json.dumps(document).encode())


async def test_a_trace_is_found_with_its_times(redis: Redis) -> None:
    """From the first begin to the last end of its spans, whoever brought them, in whichever order; again changes nothing."""
    store, now = SpanStore(redis, mesh()), now_us()
    assert await store.keep([one("a", "2", now + 500, took=4500)]) == 0
    assert await store.keep([one("b", "1", now + 9000), one("a", "1", now), one("a", "3", now + 600, failed=True)]) == 0
    await store.keep([one("a", "1", now)])
    latest, first = await store.times()
    assert (latest.trace, latest.failed) == ("b", False)
    assert (first.trace, first.begun, first.microseconds, first.failed, first.spans) == ("a", now, 5000, True, 3)
    assert [span["span"] for span in await store.trace("a")] == ["1", "2", "3"]
    assert await store.trace("c") == []


@pytest.mark.parametrize(
    ("bounds", "left"),
    [
        (SpanSettings(count=25), {"t8", "t9"}),
        (SpanSettings(traces=3), {"t7", "t8", "t9"}),
        (SpanSettings(seconds=60), {f"t{number}" for number in range(4, 10)}),
    ],
)
async def test_the_oldest_traces_make_room(redis: Redis, bounds: SpanSettings, left: set[str]) -> None:
    """Of ten traces of ten spans, ten seconds one after the other, those stay that all bounds leave room for."""
    name = mesh()
    store, now = SpanStore(redis, name, bounds), now_us()
    for number in range(10):
        begun = now - (9 - number) * 10_000_000 - 5_000_000
        await store.keep([one(f"t{number}", str(span), begun) for span in range(10)])
    assert {found.trace for found in await store.times()} == left
    keys = {key.decode().rpartition(":")[2] async for key in redis.scan_iter(f"{name}:spans:*:trace:*")}
    assert keys == left
    assert int(await redis.get(f"{name}:spans:{{recent}}:total") or 0) == 10 * len(left)


async def test_a_trace_holds_no_more_than_its_bound(redis: Redis) -> None:
    """What is over it is refused, and counted."""
    store, now = SpanStore(redis, mesh(), SpanSettings(of_trace=5)), now_us()
    assert await store.keep([one("a", str(span), now + span) for span in range(4)]) == 0
    assert await store.keep([one("a", str(span), now + span) for span in range(4, 8)]) == 3
    assert await store.keep([one("a", "9", now)]) == 1
    assert len(await store.trace("a")) == 5


async def test_nothing_stays_for_ever(redis: Redis) -> None:
    """Every key has an expiry, so that a mesh that is gone leaves nothing behind."""
    name = mesh()
    await SpanStore(redis, name).keep([one("a", "1", now_us(), failed=True)])
    keys = [key async for key in redis.scan_iter(f"{name}:*")]
    assert len(keys) == 6
    for key in keys:
        assert await redis.ttl(key) > 0


async def test_spans_of_the_sdk_are_kept_in_each_trace_that_they_are_linked_to(redis: Redis) -> None:
    """A keeper brings them there; a linked one is a child of the span that it is linked to, and says which trace it is of."""
    recent, store = Recent(100), SpanStore(redis, mesh())
    provider = TracerProvider(resource=Resource({"service.name": "broker", "service.instance.id": "b-1"}))
    provider.add_span_processor(recent)
    tracer = provider.get_tracer("test")
    async with Keeper(recent, store) as keeper:
        with tracer.start_as_current_span("other") as other:
            pass
        with tracer.start_as_current_span("root") as root, tracer.start_as_current_span(
            "commit", links=[Link(other.get_span_context())], attributes={"nerv.streams": ["a-1@1-2"]}
        ) as commit:  # fmt: skip
            commit.set_status(Status(StatusCode.ERROR, "no"))
        await keeper.flush()
    assert keeper.dropped == 0
    mine, others = await store.traces([f"{found.get_span_context().trace_id:032x}" for found in (root, other)])
    assert [(span["name"], span["service"], span["instance"]) for span in mine] == [
        ("root", "broker", "b-1"),
        ("commit", "broker", "b-1"),
    ]
    assert mine[1]["parent"] == mine[0]["span"]
    assert (mine[1]["error"], mine[1]["attributes"]) == ("no", {"nerv.streams": ["a-1@1-2"]})
    assert [span["name"] for span in others] == ["other", "commit"]
    assert (others[1]["parent"], others[1]["of"]) == (others[0]["span"], mine[0]["trace"])


async def test_while_redis_is_away_spans_are_dropped_and_counted() -> None:
    """Work goes on; whoever ends a span never waits, and the service ends in time."""
    recent, away = Recent(3), connect(NOWHERE, "test")
    provider = TracerProvider()
    provider.add_span_processor(recent)
    tracer = provider.get_tracer("test")
    async with Keeper(recent, SpanStore(away, "gone")) as keeper:
        for _ in range(5):
            with tracer.start_as_current_span("work"):
                pass
        assert keeper.dropped == 2  # too many wait
        await keeper.flush()
        assert keeper.dropped == 5
    await away.aclose()


def test_a_span_that_has_not_ended_is_not_kept() -> None:
    """It has no times yet."""
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("work") as span:
        assert list(kept([span])) == []  # type: ignore[list-item]  # the SDK's span is readable


@pytest.mark.parametrize(("odd", "as_told"), [(b"b", "b'b'"), (2**70, str(2**70)), ("\ud800é", "\\ud800é")])
def test_a_span_with_what_json_has_not_is_kept(odd: bytes | int | str, as_told: str) -> None:
    """As Python writes it; and the spans beside it as they are."""
    recent, provider = Recent(9), TracerProvider()
    provider.add_span_processor(recent)
    tracer = provider.get_tracer("test")
    nowhere = Link(INVALID_SPAN_CONTEXT, {"a": 1})
    for value in (odd, "plain"):
        with tracer.start_as_current_span("work", links=[nowhere]) as span:
            span.set_attribute("told", value)
    first, second = [orjson.loads(one.document) for one in kept(recent.take(9))]
    assert first["attributes"] == {"told": as_told}
    assert second["attributes"] == {"told": "plain"}
