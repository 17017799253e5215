# SPDX-License-Identifier: Apache-2.0
"""The broker without the calls that make spans."""

import nerv.service.http
import nerv_broker.publishing.owner
import nerv_broker.publishing.taking
from bench.telemetry.modes import take_hooks_out
from nerv.service import run
from nerv_broker.app import build
from nerv_broker.settings import BrokerSettings

if __name__ == "__main__":
    take_hooks_out(nerv.service.http, nerv_broker.publishing.owner, nerv_broker.publishing.taking)
    run("broker", BrokerSettings, build)
