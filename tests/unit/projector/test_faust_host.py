# SPDX-License-Identifier: Apache-2.0
"""What becomes of the service when something that Faust runs goes wrong."""

import asyncio

import pytest

from nerv_projector.faust_app import FaustHost


async def test_a_timer_that_raises_brings_the_service_down() -> None:
    """Faust would end by itself, and the service go on without agents and timers."""
    host = FaustHost("m")

    async def fails() -> None:
        raise KeyError("a bug")

    host.every(0.01, fails)
    async with host, asyncio.timeout(30):
        with pytest.raises(KeyError, match="a bug"):
            await host.crashed
