# SPDX-License-Identifier: Apache-2.0
"""What `/metrics` says is what is declared, under the names that are declared."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families

from nerv.service import Health
from nerv.telemetry import Scrape, counter, histogram, observe
from nerv.telemetry import names as n
from nerv.telemetry.declared import METRICS, Kind
from nerv.telemetry.setup import METRICS as SIGNAL
from nerv.telemetry.setup import allowed, telemetry
from tests.unit.service.asking import ask


@pytest.fixture
def scrape() -> Iterator[tuple[Scrape, MeterProvider]]:
    """A reader, and the provider whose metrics it reads."""
    found = Scrape()
    provider = MeterProvider([found.reader], Resource.create({n.SERVICE_NAME: "broker"}))
    yield found, provider
    provider.shutdown()


def families(text: bytes) -> dict[str, str]:
    """The type of each metric in a scrape, by its name as samples have it."""
    found = text_string_to_metric_families(text.decode())
    return {one.name + ("_total" if one.type == "counter" else ""): one.type for one in found}


def test_every_metric_has_the_name_and_type_that_its_declaration_says(scrape: tuple[Scrape, MeterProvider]) -> None:
    """So dashboards and alert rules may be made of declarations."""
    read, provider = scrape
    meter = provider.get_meter("test")
    for name, metric in METRICS.items():
        attributes = dict.fromkeys(metric.attributes, "x")
        if metric.kind is Kind.HISTOGRAM:
            histogram(name).record(1.0, attributes)
        else:
            observe(name, lambda attributes=attributes: [(1.0, attributes)], meter)  # type: ignore[misc]
    found = families(read())
    assert {metric.prometheus: metric.kind.value for metric in METRICS.values()}.items() <= found.items()


def test_a_series_says_of_which_service_it_is(scrape: tuple[Scrape, MeterProvider]) -> None:
    """Whatever the scraper calls its jobs; and a counter is seen before it has counted anything."""
    read, provider = scrape
    counter(n.DEADLETTERS, provider.get_meter("test")).add(0, {n.DESTINATION: "a.b.v1", n.BY: "c"})
    line = 'nerv_deadletters_total{messaging_destination_name="a.b.v1",nerv_by="c",service_name="broker"} 0.0'
    assert line in read().decode().splitlines()


def test_what_is_not_declared_cannot_be_measured() -> None:
    """There is one list of metrics."""
    with pytest.raises(KeyError):
        counter("nerv.unheard.of")


async def test_the_health_port_serves_the_text(scrape: tuple[Scrape, MeterProvider]) -> None:
    """In the format that every Prometheus reads, also before the service is ready."""
    read, _ = scrape
    answer = await ask(Health().app(read), "GET", "/metrics")
    assert (answer.status, answer.headers["content-type"]) == (200, Scrape.content_type)
    assert b"process_cpu_seconds_total" in answer.body


async def test_without_metrics_the_health_port_says_why_there_are_none() -> None:
    """404, naming the variables that turn them off."""
    answer = await ask(Health().app(), "GET", "/metrics")
    assert (answer.status, b"OTEL_METRICS_EXPORTER" in answer.body) == (404, True)


@pytest.mark.parametrize(("name", "value"), [("OTEL_METRICS_EXPORTER", "none"), ("OTEL_SDK_DISABLED", "true")])
def test_the_usual_variables_turn_metrics_off(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Nothing of OpenTelemetry's SDK runs then."""
    monkeypatch.setenv(name, value)
    assert not allowed(SIGNAL)
    with telemetry("broker", "broker-0") as read:
        assert read is None


def test_declarations_are_bounded_and_complete() -> None:
    """Every metric is described, histograms have buckets, and no attribute can have as many values as there are streams."""
    for metric in METRICS.values():
        assert metric.description, metric.name
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM), metric.name
        assert not {n.STREAM, n.RUN, n.VERSION, n.KEY, n.OFFSET, n.CLIENT_ID, n.URL_PATH} & set(metric.attributes)
