# SPDX-License-Identifier: Apache-2.0
"""Schedules of the app: their ticks are recorded in `schedule-<name>`, each with what became of it, and start runs."""

from nerv_scheduler.schedules.keeping import Schedules
from nerv_scheduler.schedules.ticking import Ticking

__all__ = ["Schedules", "Ticking"]
