# SPDX-License-Identifier: Apache-2.0
"""When a sync is due: cron expressions, UTC. The one module that imports croniter."""

from datetime import datetime

from croniter import croniter

from nerv.errors import Misconfigured


def following(cron: str, after: datetime) -> datetime:
    """The first instant of a cron expression after another one."""
    found: datetime = croniter(cron, after).get_next(datetime)
    return found


def check_cron(cron: str) -> None:
    """Raise Misconfigured for what is no cron expression of five fields."""
    if len(cron.split()) != 5 or not croniter.is_valid(cron):
        raise Misconfigured(
            f"{cron[:60]!r} is no cron expression; write minute hour day month weekday, as in 0 3 * * *"
        )
