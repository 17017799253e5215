# SPDX-License-Identifier: Apache-2.0
"""The table of metrics in docs/metrics.md, of what is declared."""

import re
from pathlib import Path

from nerv.telemetry.declared import ALL, METRICS, Metric, label

PAGE = Path(__file__).parent.parent.parent / "docs/metrics.md"
BEGIN, END = "<!-- made by `make dashboards` of nerv.telemetry.declared -->", "<!-- end of what is made -->"


def table() -> str:
    """Markdown, a line a metric."""
    lines = [f"| metric on `/metrics` | kind | labels | services | |\n|{' --- |' * 5}"]
    return "\n".join([*lines, *map(_line, METRICS.values())])


def page() -> str:
    """The page as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    made = f"{BEGIN}\n{table()}\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: made, text, flags=re.S)


def _line(metric: Metric) -> str:
    labels = ", ".join(f"`{label(name)}`" for name in metric.attributes)
    services = "all" if metric.services == ALL else ", ".join(metric.services) or "apps that weave it"
    about = f"{metric.description} (OpenTelemetry: `{metric.name}`)"
    return f"| `{metric.prometheus}` | {metric.kind} | {labels} | {services} | {about} |"
