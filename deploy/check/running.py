# SPDX-License-Identifier: Apache-2.0
"""The programs, and what is wrong."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "helm" / "nerv"
KUBERNETES = "1.34.0"

Document = dict[str, Any]


class Fault(Exception):
    """What is wrong, and what to do."""


def run(*command: str | Path, stdin: str | None = None) -> str:
    """The output of a command. Raises Fault with what it said."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise Fault(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def documents(text: str) -> list[Document]:
    """The manifests of a rendered chart."""
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


@dataclass(frozen=True, slots=True)
class Tools:
    """The folders where `deploy/check.sh` keeps the programs that it has built, and the schemas."""

    folder: Path
    schemas: Path

    def render(self, values: str) -> str:
        """The chart with these values. Raises Fault where it refuses them."""
        return run(self.folder / "helm", "template", "mesh", CHART, "--values", "-", stdin=values)

    def lint(self) -> None:
        """Helm's own opinion of the chart."""
        run(self.folder / "helm", "lint", "--strict", CHART)

    def conform(self, rendered: str) -> None:
        """Every manifest holds to its schema, strictly: those of Kubernetes, KEDA, Strimzi and the Prometheus operator."""
        schemas = f"{self.schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
        options = ("-strict", "-kubernetes-version", KUBERNETES, "-schema-location", schemas)
        run(self.folder / "kubeconform", *options, "-", stdin=rendered)

    def compose(self, *files: str) -> set[str]:
        """The services of compose files that are read together."""
        return set(run(self.folder / "composecheck", *files).split())
