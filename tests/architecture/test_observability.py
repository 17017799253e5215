# SPDX-License-Identifier: Apache-2.0
"""Dashboards, alert rules and documents name metrics that there are, and are as they were made."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.__main__ import FOLDER, text
from deploy.grafana.boards import boards
from deploy.grafana.table import PAGE, page
from nerv.telemetry.declared import ALL, METRICS, Kind
from tests.architecture.test_docs import anchors
from tests.observability.dashboards import names, queries

ROOT = Path(__file__).parent.parent.parent
RULES = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
# Prometheus' own, and those of prometheus_client.
OTHERS = {"up", "target_info", "process_cpu_seconds_total", "process_resident_memory_bytes"}
SAMPLES = {
    metric.prometheus + suffix
    for metric in METRICS.values()
    for suffix in (("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",))
}


def test_the_dashboards_are_what_their_code_makes() -> None:
    """`make dashboards` would change nothing."""
    assert {path.stem for path in FOLDER.glob("*.json")} == boards().keys() == {"mesh", *ALL}
    for name, board in boards().items():
        assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == text(board), "run: make dashboards"


def test_the_table_of_metrics_is_what_is_declared() -> None:
    """`make dashboards` would change nothing here, either."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make dashboards"


def test_dashboards_ask_for_metrics_that_are_declared() -> None:
    """And every metric that services have is on one."""
    asked = {name for one in queries() for name in names(one.expression)} - OTHERS
    assert asked <= SAMPLES
    shown = {metric.name for metric in METRICS.values() if any(name.startswith(metric.prometheus) for name in asked)}
    assert shown == {metric.name for metric in METRICS.values() if metric.services}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_is_about_a_metric_that_is_declared_and_leads_to_its_part_of_the_runbook(
    alert: dict[str, Any],
) -> None:
    """The runbook has a heading of its name."""
    assert names(alert["expr"]) - OTHERS <= SAMPLES
    file, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert anchor == alert["alert"].lower()
    assert anchor in anchors(ROOT / file)
    assert alert["labels"]["severity"] in {"page", "ticket"}


def test_the_runbook_has_no_part_without_an_alert() -> None:
    """What is gone from the rules is gone from there."""
    headings = re.findall(r"^## (.+)$", (ROOT / "docs/runbook.md").read_text(encoding="utf-8"), re.M)
    assert headings == [alert["alert"] for alert in ALERTS]
