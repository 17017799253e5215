# SPDX-License-Identifier: Apache-2.0
"""What a consumer does when its loop does not follow."""

import asyncio

import pytest

from nerv.errors import Retry, Unavailable
from nerv.kafka import BatchConsumer, KafkaSettings, consumer


async def test_a_rebalance_that_takes_too_long_ends_the_membership_and_not_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever reads is told to join again, and what was to be done for the rebalance is broken off."""
    monkeypatch.setattr(consumer, "REBALANCE_SECONDS", 0.05)
    slow = BatchConsumer(KafkaSettings(bootstrap_servers="127.0.0.1:9"), "test", "test")
    slow._loop = asyncio.get_running_loop()
    broken_off = asyncio.Event()

    async def revoke() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.set()

    with pytest.raises(Unavailable, match="join again") as raised:
        await asyncio.to_thread(slow._wait_for, revoke())
    assert raised.value.retry is Retry.LATER
    async with asyncio.timeout(10):
        await broken_off.wait()
