# SPDX-License-Identifier: Apache-2.0
"""What a projection's supervisor does with a lane that cannot go on."""

import asyncio
from typing import Any

import pytest

import nerv
from nerv.errors import Misconfigured, Unavailable
from nerv.kafka import KafkaSettings
from nerv.projections import Projection
from nerv.testing.memory_views import MemoryViews
from nerv_projector.runner import Hosted, Runner
from nerv_projector.sources import Sources
from nerv_projector.watermarks import Watermarks


def runner() -> tuple[Runner, "asyncio.Future[None]"]:
    """A runner that has not been started, and what brings its service down."""
    app = nerv.App("test")
    app.projection("plane")(lambda state, event: state)
    projection: Projection[Any] = Projection(app, app.projections["plane"])
    crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    watermarks = Watermarks(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "test", "test", 1)
    hosted = Hosted(projection, MemoryViews(), Sources(("m.history.v1",), {}), "m.history.v1", "", ())
    return Runner(hosted, watermarks, crashed), crashed


async def test_a_fault_that_may_pass_is_told_and_tried_again() -> None:
    """The service is not ready meanwhile, and does not come down."""
    projection, crashed = runner()
    projection.failed(Unavailable("Redis is away"))
    assert projection.fault == "Redis is away"
    assert not crashed.done()


@pytest.mark.parametrize("error", [KeyError("a bug"), Misconfigured("no permission")])
async def test_a_fault_that_stays_brings_the_service_down(error: Exception) -> None:
    """Nobody goes on silently without a lane."""
    projection, crashed = runner()
    projection.failed(error)
    assert crashed.exception() is error
