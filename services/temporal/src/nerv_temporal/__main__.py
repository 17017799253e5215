# SPDX-License-Identifier: Apache-2.0
"""`python -m nerv_temporal`"""

from nerv.service import run
from nerv_temporal.app import build
from nerv_temporal.settings import TemporalSettings

if __name__ == "__main__":
    run("temporal", TemporalSettings, build)
