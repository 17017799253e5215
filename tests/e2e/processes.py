# SPDX-License-Identifier: Apache-2.0
"""Programs as people start them: in an environment of their own, marked, so that what they leave behind is found."""

import os
import signal
from contextlib import suppress

import psutil

MARK = "NERV_E2E_MARK"
OURS = ("NERV_", "OTEL_", "KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "FLIGHTS_DATA")


def environment(mark: str) -> dict[str, str]:
    """This one without what would lead a program to servers, settings or collectors of others."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)} | {MARK: mark}


def marked(mark: str) -> list[str]:
    """The command lines of the processes that were started with this mark and still run."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:200])
    return found


def heed_ctrl_c() -> None:
    """In the child, before the command: a test run in the background of a shell ignores SIGINT, and passes that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
