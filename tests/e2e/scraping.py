# SPDX-License-Identifier: Apache-2.0
"""What the services of a running mesh emit on `/metrics`, against what is declared."""

import json
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from nerv.telemetry import names as n
from nerv.telemetry.declared import METRICS, label

EVERY_SECONDS = 0.5
OTHERS = ("process_", "target")  # of prometheus_client and of the exporter
OF_ALL = {label(n.SERVICE_NAME), "le"}


class Seen:
    """The labels of each metric of each service, over all scrapes."""

    def __init__(self) -> None:
        self.labels: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))

    def look(self, context: Path) -> None:
        """Scrape all that run; one that is not there yet, or not any more, is passed over."""
        with suppress(OSError, ValueError):
            services = json.loads(context.read_text(encoding="utf-8"))["services"]
            for name, entry in services.items():
                with urllib.request.urlopen(f"{entry['health']}/metrics", timeout=10) as answer:  # noqa: S310 - our own
                    self._add(name, answer.read().decode())

    def _add(self, service: str, text: str) -> None:
        for family in text_string_to_metric_families(text):
            if not family.name.startswith(OTHERS):
                name = family.name + ("_total" if family.type == "counter" else "")
                self.labels[service][name].update(*(sample.labels for sample in family.samples))

    def differences(self) -> list[str]:
        """What is emitted and not declared, and what is declared and never emitted: names, services and labels."""
        declared = {metric.prometheus: metric for metric in METRICS.values()}
        found: list[str] = []
        for service, metrics in self.labels.items():
            for name, labels in metrics.items():
                metric = declared.get(name)
                if metric is None or service not in metric.services:
                    found.append(f"{service} emits {name}, which it does not declare")
                elif more := labels - OF_ALL - set(map(label, metric.attributes)):
                    found.append(f"{service} emits {name} with {sorted(more)}, which are not declared")
        emitted = {name for metrics in self.labels.values() for name in metrics}
        missing = [name for name, metric in declared.items() if metric.services and name not in emitted]
        return [*found, *(f"nobody emits {name}, which is declared" for name in sorted(missing))]


@contextmanager
def scraped(context: Path) -> Iterator[Seen]:
    """Scrape the mesh of this context file while the block runs, twice a second, from when it is up; and once more at the end."""
    seen, over = Seen(), threading.Event()

    def run() -> None:
        while not over.wait(EVERY_SECONDS):
            seen.look(context)

    thread = threading.Thread(target=run, name="scraper")
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        seen.look(context)
