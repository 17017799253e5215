# SPDX-License-Identifier: Apache-2.0
"""The ledger on machines whose clocks a test sets: a file beside a replica's folder holds by how many seconds it is wrong."""

import importlib
import os
from datetime import datetime, timedelta
from pathlib import Path

from nerv.clock import SystemClock
from nerv.types import utc_now

app = importlib.import_module("ledger").app

WRONG_BY = Path(os.environ.get("NERV_DATA_DIR", ".") + ".clock")


def _now(_: SystemClock) -> datetime:
    return utc_now() + timedelta(seconds=float(WRONG_BY.read_text()) if WRONG_BY.exists() else 0.0)


SystemClock.now = _now  # type: ignore[assignment, method-assign]  # stands for the clock of another machine
