# SPDX-License-Identifier: Apache-2.0
"""The broker, which takes the next mode of `TURNS` with each SIGUSR1."""

import signal
from itertools import cycle
from types import FrameType

import nerv.service.http
import nerv_broker.publishing.owner
import nerv_broker.publishing.taking
from bench.telemetry.modes import SAMPLINGS, TURNS, Hooks, Mode
from nerv.service import run
from nerv.telemetry.tracing import sample
from nerv_broker.app import build
from nerv_broker.settings import BrokerSettings

HOOKS = Hooks(nerv.service.http, nerv_broker.publishing.owner, nerv_broker.publishing.taking)
LEFT = cycle(TURNS)


def switch(number: int, frame: FrameType | None) -> None:
    """From the next request on."""
    mode = next(LEFT)
    if mode is Mode.NONE:
        HOOKS.take_out()
    else:
        HOOKS.put_back()
    sample(SAMPLINGS.get(mode))


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, switch)
    run("broker", BrokerSettings, build)
