# SPDX-License-Identifier: Apache-2.0
"""The broker, which takes the next mode of `TURNS` with each SIGUSR1."""

import signal
from itertools import cycle
from types import FrameType

import nerv.service.http
import nerv_broker.publishing.owner
import nerv_broker.publishing.taking
from bench.telemetry.modes import TURNS, Hooks, switch
from nerv.service import run
from nerv_broker.app import build
from nerv_broker.settings import BrokerSettings

HOOKS = Hooks(nerv.service.http, nerv_broker.publishing.owner, nerv_broker.publishing.taking)
LEFT = cycle(TURNS)


def take_next(number: int, frame: FrameType | None) -> None:
    """From the next request on."""
    switch(next(LEFT), HOOKS)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, take_next)
    run("broker", BrokerSettings, build)
