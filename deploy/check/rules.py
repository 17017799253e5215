# SPDX-License-Identifier: Apache-2.0
"""`deploy/check.sh` runs this: lint and render the chart, refuse bad values, compare what is kept in git, read compose.

`--write` renders the examples anew instead of comparing them.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships none
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "helm" / "nerv"
KUBERNETES = "1.34"
SERVICES = {"broker", "temporal", "projector", "sync", "scheduler"}
WORKLOADS = {"Deployment", "StatefulSet"}

# What is wrong, the values, and what the refusal has to name.
BAD_VALUES = (
    ("an unknown key", "replicas: 3", "'replicas' not allowed"),
    ("a service that is none", "services: {brokr: {}}", "'brokr' not allowed"),
    ("a mesh name with capitals", "mesh: Nerv", "/mesh"),
    ("an app that is no reference", "app: flights", "/app"),
    ("a negative replica count", "services: {broker: {replicaCount: -1}}", "/services/broker/replicaCount"),
    ("a replica count in quotes", "services: {broker: {replicaCount: '2'}}", "/services/broker/replicaCount"),
    ("a pull policy that is none", "image: {pullPolicy: Sometimes}", "/image/pullPolicy"),
    ("a Redis that is none", "externalRedis: {url: 'http://redis'}", "/externalRedis/url"),
    ("SASL without a user", "externalKafka: {securityProtocol: SASL_SSL}", "/externalKafka/saslUsername"),
    ("an authority without its file", "externalKafka: {caFile: ca.crt}", "/externalKafka/existingSecret"),
    ("a JWKS without an issuer", "auth: {jwksUrl: 'https://keys.example/jwks'}", "/auth/issuer"),
)
# Values that go where those of the examples do not.
VARIANTS = (
    """
auth: {jwksUrl: "https://keys.example/jwks", issuer: "https://keys.example", audience: nerv}
externalKafka: {securityProtocol: SASL_SSL, saslUsername: nerv, existingSecret: kafka-user, caFile: ca.crt}
externalRedis: {url: "rediss://redis:6379/0", username: nerv, existingSecret: redis-user}
services: {temporal: {persistence: {enabled: true, storageClass: fast}}}
""",
    """
image: {registry: registry.example, tag: "1", pullSecrets: [pull]}
serviceAccount: {name: mesh, annotations: {a: b}}
commonLabels: {team: flights}
extraEnvVars: [{name: OTEL_EXPORTER_OTLP_ENDPOINT, value: "http://collector:4318"}]
extraDeploy: ["{apiVersion: v1, kind: ConfigMap, metadata: {name: '{{ .Release.Name }}-more'}}"]
topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway}]
defaults: {podAnnotations: {a: b}}
services: {broker: {extraEnvVars: [{name: NERV_LOG_LEVEL, value: DEBUG}]}, temporal: {stateful: false}}
""",
)


class Fault(Exception):
    """What is wrong, and what to do."""


def run(*command: str, stdin: str | None = None) -> str:
    """The output of a command. Raises Fault with what it said."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise Fault(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def documents(text: str) -> list[dict[str, Any]]:
    """The manifests of a rendered chart."""
    return [document for document in yaml.safe_load_all(text) if document]


def check_workloads(rendered: str) -> None:
    """Exactly the five services, asked for their health on its own port, without root, write access or secrets in variables."""
    found = [document for document in documents(rendered) if document["kind"] in WORKLOADS]
    names = {document["metadata"]["labels"]["app.kubernetes.io/component"] for document in found}
    if len(found) != len(SERVICES) or names != SERVICES:
        raise Fault(f"the chart renders {len(found)} workloads: {sorted(names)}; five are wanted")
    for document in found:
        pod = document["spec"]["template"]["spec"]
        [container] = pod["containers"]
        service = document["metadata"]["labels"]["app.kubernetes.io/component"]
        if container["args"] != ["serve", service]:
            raise Fault(f"{service} is not run as `serve {service}`")
        if not (pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]):
            raise Fault(f"{service} may be root, or write to its image")
        probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("liveness", "readiness")]
        if probes != [{"path": "/livez", "port": "health"}, {"path": "/readyz", "port": "health"}]:
            raise Fault(f"{service} is not asked for its health on the health port")
        secrets = [v["name"] for v in container["env"] if "secretKeyRef" in str(v)]
        if secrets:
            raise Fault(f"{service} gets secrets from the environment: {secrets}; mount them as files")


def check_schemas(rendered: str) -> None:
    """Every manifest holds to Kubernetes' own schema, strictly."""
    for document in documents(rendered):
        try:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            name = f"{document['kind']} {document['metadata']['name']}"
            raise Fault(f"{name}: {error.message} at {list(error.path)}") from None


def render(helm: str, values: str) -> str:
    """The chart with these values. Raises Fault where it refuses them."""
    return run(helm, "template", "mesh", str(CHART), "--values", "-", stdin=values)


def check_bad_values(helm: str) -> None:
    """What is wrong is refused before anything is installed, and the refusal names it."""
    for what, values, named in BAD_VALUES:
        try:
            render(helm, values)
        except Fault as refusal:
            if named not in str(refusal):
                raise Fault(f"the chart refuses {what} without naming {named}: {refusal}") from None
        else:
            raise Fault(f"the chart takes {what}: {values}")


def examples() -> Iterator[Path]:
    """The folders of examples, each with values and what they render to."""
    found = sorted((CHART / "examples").iterdir())
    if not found:
        raise Fault("the chart has no examples")
    yield from found


def check_example(helm: str, folder: Path, *, write: bool) -> str:
    """The rendered manifests in git are what the chart renders now."""
    rendered = render(helm, (folder / "values.yaml").read_text(encoding="utf-8"))
    kept = folder / "rendered" / "manifests.yaml"
    if write:
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(rendered, encoding="utf-8")
    elif not kept.exists() or kept.read_text(encoding="utf-8") != rendered:
        raise Fault(f"{kept.relative_to(ROOT)} is not what the chart renders: deploy/check.sh --write, and look at it")
    return rendered


def check_topics() -> None:
    """The chart's copy of the list of topics is the list."""
    original = ROOT / "libs" / "nerv" / "src" / "nerv" / "topics.yaml"
    if (CHART / "files" / "topics.yaml").read_bytes() != original.read_bytes():
        raise Fault(f"helm/nerv/files/topics.yaml differs from {original.relative_to(ROOT)}: copy it")


def check_compose(composecheck: str) -> None:
    """Compose's parser takes the file, and all five services are in it."""
    found = set(run(composecheck, "docker-compose.yml").split())
    if found != SERVICES | {"kafka", "redis", "topics", "front"}:
        raise Fault(
            f"docker-compose.yml holds {sorted(found)}: the five services, kafka, redis, topics and front are wanted"
        )


def main(helm: str, composecheck: str, *options: str) -> int:
    """All checks; the first fault ends them."""
    try:
        run(helm, "lint", "--strict", str(CHART))
        everything = [render(helm, values) for values in ("{}", *VARIANTS)]
        everything += [check_example(helm, folder, write="--write" in options) for folder in examples()]
        for rendered in everything:
            check_workloads(rendered)
            check_schemas(rendered)
        check_bad_values(helm)
        check_topics()
        check_compose(composecheck)
    except Fault as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    sys.stdout.write(
        f"chart and compose file are good: {len(SERVICES)} workloads, {len(BAD_VALUES)} bad values refused\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
