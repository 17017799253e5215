# SPDX-License-Identifier: Apache-2.0
"""The workflow `monthly-report`: one task a month reads what the projector has folded, one joins them and publishes."""

from dataclasses import asdict
from typing import Any

import nerv
from flights.events import MonthlyReport
from flights.registry import app
from flights.totals import Totals, add
from nerv.errors import NotFound
from nerv.workflows import Drawing, Fan, Output, Result

MONTHS = range(1, 13)


@app.task(retries=3, timeout=60.0)
async def load_month(month: str, client: nerv.Client) -> dict[str, Any]:
    """What every carrier flew in a month (`2013-01`): `{month, carriers: {code: totals}}`; no carrier, no flight."""
    try:
        view = await client.views.get("months", month)
    except NotFound:
        return {"month": month, "carriers": {}}
    return {"month": month, "carriers": view["state"]}


@app.task(retries=3, timeout=60.0)
async def join_months(parts: list[dict[str, Any]], year: str) -> Result:
    """The report of the year so far, returned and published as `report.monthly.v1`."""
    months: dict[str, Totals] = {}
    carriers: dict[str, Totals] = {}
    for part in parts:
        for code, counted in part["carriers"].items():
            totals = Totals(**counted)
            months[part["month"]] = add(months.get(part["month"], Totals()), totals)
            carriers[code] = add(carriers.get(code, Totals()), totals)
    report = MonthlyReport(
        year=year,
        months={month: asdict(totals) for month, totals in sorted(months.items())},
        carriers={code: asdict(totals) for code, totals in sorted(carriers.items())},
    )
    return Result(report.model_dump(mode="json"), effects=[nerv.publish(report)])


@app.workflow("monthly-report")
def monthly_report(w: Drawing, year: str = "2013") -> Output:
    """Twelve tasks side by side, and one that waits for them all."""
    parts: Fan = w.map(load_month, [f"{year}-{month:02}" for month in MONTHS])
    return w.call(join_months, parts, year)
