# SPDX-License-Identifier: Apache-2.0
"""`python -m nerv_scheduler`"""

from nerv.service import run
from nerv_scheduler.app import build
from nerv_scheduler.settings import SchedulerSettings

if __name__ == "__main__":
    run("scheduler", SchedulerSettings, build)
