# SPDX-License-Identifier: Apache-2.0
"""`python -m nerv_broker`."""

from nerv.service import run
from nerv_broker.app import build
from nerv_broker.settings import BrokerSettings

if __name__ == "__main__":
    run("broker", BrokerSettings, build)
