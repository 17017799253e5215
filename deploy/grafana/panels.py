# SPDX-License-Identifier: Apache-2.0
"""What dashboards are made of: panels over queries of declared metrics."""

from typing import NamedTuple

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from nerv.telemetry.declared import METRICS, label

SOURCE = DataSourceRef("prometheus", "${datasource}")
HEIGHT, HALF, THIRD, WHOLE = 8, 12, 8, 24
WINDOW = "$__rate_interval"


class Query(NamedTuple):
    """PromQL, and what a series of it is called: `{{label}}` stands for a label's value."""

    expression: str
    legend: str


def metric(name: str, suffix: str = "", **where: str) -> str:
    """The selector of a declared metric; `where` are labels with the values they must have."""
    matchers = ",".join(f'{name}="{value}"' for name, value in sorted(where.items()))
    return METRICS[name].prometheus + suffix + (f"{{{matchers}}}" if matchers else "")


def labels(*names: str) -> str:
    """The labels of these attributes, for `by (...)`."""
    return ", ".join(label(name) for name in names)


def legend(*names: str) -> str:
    """A series called by its attributes."""
    return " ".join(f"{{{{{label(name)}}}}}" for name in names)


def rate(name: str, *by: str, suffix: str = "", **where: str) -> Query:
    """Events a second of a counter, by attributes."""
    return Query(f"sum by ({labels(*by)}) (rate({metric(name, suffix, **where)}[{WINDOW}]))", legend(*by) or "all")


def quantile(share: float, name: str, *by: str, **where: str) -> Query:
    """A quantile of a histogram, by attributes."""
    buckets = f"sum by ({labels(*by, 'le')}) (rate({metric(name, '_bucket', **where)}[{WINDOW}]))"
    return Query(f"histogram_quantile({share}, {buckets})", f"p{share * 100:g} {legend(*by)}".strip())


def mean(name: str, *by: str, **where: str) -> Query:
    """The mean of a histogram, by attributes."""
    sums, counts = (rate(name, *by, suffix=suffix, **where).expression for suffix in ("_sum", "_count"))
    return Query(f"{sums} / {counts}", f"mean {legend(*by)}".strip())


def gauge(how: str, name: str, *by: str, **where: str) -> Query:
    """The `max` or `sum` of a gauge, by attributes."""
    return Query(f"{how} by ({labels(*by)}) ({metric(name, **where)})", legend(*by) or how)


def chart(title: str, unit: str, *queries: Query, about: str = "") -> timeseries.Panel:
    """Lines over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .min(0)
        .datasource(SOURCE)
        .height(HEIGHT)
        .span(THIRD)
        .fill_opacity(10)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    for number, query in enumerate(queries):
        panel.with_target(_target(query, number))
    return panel


def figure(title: str, unit: str, query: Query, about: str = "", width: int = WHOLE) -> stat.Panel:
    """One figure for each series, as it is now."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .datasource(SOURCE)
        .height(4)
        .span(width)
        .color_mode(BigValueColorMode.VALUE)
        .with_target(_target(query, 0))
    )


def _target(query: Query, number: int) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(query.expression)
        .legend_format(query.legend)
        .ref_id(chr(ord("A") + number))
        .datasource(SOURCE)
    )
