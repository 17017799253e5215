# SPDX-License-Identifier: Apache-2.0
"""The chart says the same as the code, and the rules of `deploy/check` find what is wrong. The rest: `deploy/check.sh`."""

import copy
import importlib
import math
import pkgutil
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from deploy.check import rules, schemas, values
from deploy.check.__main__ import check_copies
from deploy.check.policies import policies
from deploy.check.running import Document, Fault, documents
from nerv.acls import kafka_rights, names_of, redis_rights
from nerv.app import find_app
from nerv.service.http import COMPONENTS
from nerv.service.introspection import MESH, TOPOLOGY, WELL_KNOWN
from nerv.service.routes import Route
from nerv.service.run import STOP_SECONDS
from nerv_broker.settings import BrokerSettings
from nerv_scheduler.queue import redis_queue
from nerv_scheduler.queue.redis_queue import RedisQueue
from tests.architecture.test_settings import SERVICES, settings_of, variables

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "nerv"
EXAMPLES = sorted(folder.name for folder in (CHART / "examples").iterdir())
# What services say to each other alone.
INTERNAL = {"/v1/publications"}
# Named for others to refer to, as the chart's $(NERV_POD_IP); no setting.
CARRIERS = {"NERV_POD_IP"}
RULES = (*rules.RULES, policies)


def manifests(example: str) -> list[Document]:
    """What an example of the chart renders to, to be spoilt; `deploy/check.sh` holds that it still does."""
    return copy.deepcopy(_rendered(example))


@cache
def _rendered(example: str) -> list[Document]:
    text = (CHART / "examples" / example / "rendered" / "manifests.yaml").read_text(encoding="utf-8")
    return documents(text)


def containers(example: str) -> dict[str, dict[str, Any]]:
    """The container of each service in an example."""
    return {
        document["metadata"]["labels"]["app.kubernetes.io/component"]: document["spec"]["template"]["spec"][
            "containers"
        ][0]
        for document in manifests(example)
        if document["kind"] in {"Deployment", "StatefulSet"}
    }


def test_the_chart_carries_true_copies() -> None:
    """Topics and alerts in the chart are those of the repository, byte for byte, and its README lists its values."""
    check_copies(write=False)
    values.check(write=False)
    [rule] = [one for one in manifests("public") if one["kind"] == "PrometheusRule"]
    told = documents((CHART / "files" / "alerts.yml").read_text(encoding="utf-8"))
    assert [rule["spec"]] == told, "deploy/check.sh --write renders the examples anew"


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("service", SERVICES)
def test_the_chart_sets_only_what_a_service_reads(service: str, example: str) -> None:
    """A variable that the chart gives a service is a setting of it, so that no misspelt one is passed over in silence."""
    named = {variable["name"] for variable in containers(example)[service]["env"]} - CARRIERS
    read = {name for name, _ in variables(settings_of(service).model_fields)}
    assert {name for name in named if name.startswith("NERV_")} - read == set()


def routes_of(service: str) -> list[Any]:
    """The routes that a service's own modules declare."""
    package = importlib.import_module(f"nerv_{service}")
    modules = (
        importlib.import_module(one.name)
        for one in pkgutil.walk_packages(package.__path__, f"nerv_{service}.")
        if not one.name.endswith("__main__")
    )
    found = [route for module in modules for route in getattr(module, "ROUTES", ())]
    return [route for route in found if isinstance(route, Route)]


@pytest.mark.parametrize("service", SERVICES)
def test_the_ingress_leads_to_every_route_that_is_for_others(service: str) -> None:
    """Each path of the API belongs to one service by its beginning; what services say to each other alone is not let in."""
    [ingress] = [one for one in manifests("public") if one["kind"] == "Ingress"]
    [rule] = ingress["spec"]["rules"]
    leads = {one["path"]: one["backend"]["service"]["name"].rpartition("-")[2] for one in rule["http"]["paths"]}
    common = {WELL_KNOWN, MESH, TOPOLOGY, COMPONENTS}
    own = {route.path for route in routes_of(service)} - INTERNAL - common
    assert own
    for path in (*own, *common):
        at = max((one for one in leads if path == one or path.startswith(f"{one}/")), key=len, default="")
        assert leads.get(at) == ("broker" if path in common else service), path
    assert not INTERNAL & set(leads)


def test_keda_counts_what_the_services_wait_for() -> None:
    """Scheduler is scaled by the streams of its queue, broker by the group of its reactions, projector by what it tells."""
    scaled = {one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["triggers"]
              for one in manifests("keda") if one["kind"] == "ScaledObject"}  # fmt: skip
    queue = RedisQueue(redis.asyncio.Redis(), "nerv", lease=1.0, keep=1)
    wanted = {f"{queue._stream}{suffix}" for suffix in redis_queue._SUFFIXES.values()}
    assert {one["metadata"]["stream"] for one in scaled["scheduler"]} == wanted
    assert {one["metadata"]["consumerGroup"] for one in scaled["broker"]} == {BrokerSettings().group}
    url, _, path = scaled["projector"][0]["metadata"]["url"].partition(":8080")
    assert url.startswith("http://mesh-nerv-projector.")
    assert path in {route.path for route in routes_of("projector")}
    source = (ROOT / "services/projector/src/nerv_projector/introspecting.py").read_text(encoding="utf-8")
    assert all(f'"{word}"' in source for word in ("projections", "projection", "lag"))


def test_the_users_of_the_secured_mesh_have_rights() -> None:
    """Each service of the example, and the job that makes topics, is the user that `nerv acls` makes for it."""
    names = names_of("nerv", find_app("flights:app"))
    kafka, stored = {right.user for right in kafka_rights(names)}, {right.user for right in redis_rights(names)}
    [job] = [one for one in rules.pods(manifests("secured")) if one.owner.startswith("Job")]
    assert job.env["NERV_KAFKA__SASL_USERNAME"] == "nerv-setup"
    for service, container in containers("secured").items():
        env = {one["name"]: one.get("value") for one in container["env"]}
        assert env["NERV_KAFKA__SASL_USERNAME"] == env["NERV_REDIS__USERNAME"] == f"nerv-{service}"
    assert {"nerv-setup", *(f"nerv-{service}" for service in SERVICES)} <= kafka
    assert {f"nerv-{service}" for service in SERVICES} == stored


def test_the_chart_leaves_time_to_drain() -> None:
    """What the chart holds a service to is what the service holds itself to."""
    assert math.ceil(STOP_SECONDS) == rules.DRAIN_SECONDS


def keep(found: list[Document]) -> None:
    """Every rule. Raises the first Fault."""
    for rule in RULES:
        rule(found)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_keeps_every_rule(example: str) -> None:
    """What each example renders to holds to all rules, so that a rule that is broken on purpose below is broken by that alone."""
    keep(manifests(example))


def spoilt(example: str, path: str, value: Any) -> list[Document]:
    """An example with one value changed: `Kind component key.key.0.key`, where ~ is a dot in a key; `DELETE` takes it away."""
    kind, component, keys = path.split(" ")
    found = manifests(example)
    [node] = [one for one in found if one["kind"] == kind and component in called(one)]
    *way, last = [int(key) if key.isdigit() else key.replace("~", ".") for key in keys.split(".")]
    for key in way:
        node = node[key]  # type: ignore[index]  # an int where it is a list
    if value is DELETE:
        del node[last]  # type: ignore[arg-type]
    else:
        node[last] = value  # type: ignore[index]
    return found


def called(document: Document) -> set[str]:
    """By what a manifest is meant: its name, or the component that it is of."""
    return {document["metadata"]["name"], document["metadata"]["labels"].get("app.kubernetes.io/component", "")}


DELETE = "(left out)"  # a text, since ids of tests must be the same in every worker
POD = "spec.template.spec"
BOX = f"{POD}.containers.0"
SPOILT: tuple[tuple[str, str, str, Any], ...] = (
    ("is not run as", "default", f"Deployment broker {BOX}.args", ["serve", "everything"]),
    ("does not ask /readyz", "default", f"Deployment broker {BOX}.readinessProbe.httpGet.port", "http"),
    ("does not ask /livez", "default", f"Deployment broker {BOX}.startupProbe.httpGet.path", "/readyz"),
    ("may be root", "default", f"Deployment broker {POD}.securityContext.runAsNonRoot", False),
    ("may be root", "default", f"Deployment broker {BOX}.securityContext.runAsUser", 0),
    ("seccomp", "default", f"Job topics {POD}.securityContext.seccompProfile", DELETE),
    ("gain privileges", "default", "Pod test spec.containers.0.securityContext.allowPrivilegeEscalation", DELETE),
    ("capabilities", "default", f"Deployment sync {BOX}.securityContext.capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
    ("write to its image", "default", f"Deployment sync {BOX}.securityContext.readOnlyRootFilesystem", False),
    ("node's names", "default", f"Deployment sync {POD}.hostNetwork", True),
    ("port of the node", "default", f"Deployment sync {BOX}.ports.0.hostPort", 8080),
    ("mounts what it may not", "default", f"Deployment sync {POD}.volumes.0", {"name": "tmp", "hostPath": {"path": "/"}}),
    ("gets a token", "default", f"Deployment sync {POD}.automountServiceAccountToken", DELETE),
    ("gives its pods a token", "default", "ServiceAccount sync automountServiceAccountToken", True),
    ("which nobody makes", "default", f"Deployment sync {POD}.serviceAccountName", "admin"),
    ("from a Secret", "default", f"Deployment sync {BOX}.env.0", {"name": "T", "valueFrom": {"secretKeyRef": {"name": "a"}}}),
    ("where nothing is mounted", "secured", f"Deployment sync {BOX}.volumeMounts.1.readOnly", False),
    ("0 PodDisruptionBudgets", "default", "PodDisruptionBudget sync spec.selector.matchLabels", {"a": "b"}),
    ("no pod go", "default", "PodDisruptionBudget sync spec.maxUnavailable", 0),
    ("not spread", "default", f"Deployment sync {POD}.topologySpreadConstraints", []),
    ("not its own", "default", f"Deployment sync {POD}.topologySpreadConstraints.0.labelSelector.matchLabels", {}),
    ("preStop", "default", f"Deployment sync {BOX}.lifecycle", DELETE),
    ("before it has drained", "default", f"Deployment sync {POD}.terminationGracePeriodSeconds", 14),
    ("before there are new ones", "default", "Deployment sync spec.strategy.rollingUpdate.maxUnavailable", 1),
    ("told by 1 scalers", "hpa", "Deployment sync spec.replicas", 2),
    ("scales no Deployment", "hpa", "HorizontalPodAutoscaler sync spec.scaleTargetRef.kind", "StatefulSet"),
    ("not there", "keda", "ScaledObject sync spec.scaleTargetRef.name", "nobody"),
    ("for 4 partitions", "default", "StatefulSet temporal spec.replicas", 5),
    ("for 12 partitions", "keda", "ScaledObject projector spec.maxReplicaCount", 13),
    ("no topic", "keda", "ScaledObject broker spec.triggers.0.metadata.topic", ""),
    ("no limitToPartitionsWithLag", "keda", "ScaledObject broker spec.triggers.0.metadata.limitToPartitionsWithLag", DELETE),
    ("needs address", "keda", "ScaledObject scheduler spec.triggers.0.metadata.address", ""),
    ("texts alone", "keda", "ScaledObject sync spec.triggers.0.metadata.desiredReplicas", 4),
    ("triggers show", "keda", "ScaledObject broker spec.triggers.0.authenticationRef", DELETE),
    ("not there: ['metrics']", "default", "Service sync spec.ports.1.targetPort", "metrics"),
    ("means []", "default", "Service sync spec.selector", {"a": "b"}),
    ("beside the services", "default", "Job topics metadata.annotations.helm~sh/hook", "post-install"),
    ("lacks the labels", "default", "Service sync metadata.labels", {"app.kubernetes.io/component": "sync"}),
    ("no policy denies", "default", "NetworkPolicy mesh-nerv-deny spec.podSelector.matchLabels", {"a": "b"}),
    ("may not ask DNS", "default", "NetworkPolicy mesh-nerv-dns spec.egress", []),
    ("is shut", "default", "NetworkPolicy temporal spec.ingress.0.from", []),
    ("is shut", "default", "NetworkPolicy sync spec.egress.0.to", []),
    ("reach Redis", "default", "NetworkPolicy sync spec.egress.2.ports.0.port", 6380),
    ("reach Kafka", "default", "NetworkPolicy broker spec.egress.1.ports.0.port", 9093),
)  # fmt: skip


@pytest.mark.parametrize(("fault", "example", "path", "value"), SPOILT, ids=lambda value: str(value)[:60])
def test_the_rules_find_what_is_wrong(fault: str, example: str, path: str, value: Any) -> None:
    """A chart that says one thing wrong is found, and told by that."""
    wrong = spoilt(example, path, value)
    with pytest.raises(Fault, match=re.escape(fault)):
        keep(wrong)


def test_the_rules_count_the_workloads() -> None:
    """Six workloads are one too many, four one too few."""
    found = manifests("default")
    [broker] = [one for one in found if one["kind"] == "Deployment" and one["metadata"]["name"].endswith("broker")]
    for wrong in ([*found, broker], [one for one in found if one is not broker]):
        with pytest.raises(Fault, match="five are wanted"):
            rules.workloads(wrong)


def test_schemas_are_strict() -> None:
    """A field that a custom resource does not have is an error, unless its definition leaves it open."""
    leaf = {"type": "object", "properties": {"topic": {"x-kubernetes-int-or-string": True}}}
    opened = {"type": "object", "properties": {}, "x-kubernetes-preserve-unknown-fields": True}
    found = schemas._strict(
        {"type": "object", "properties": {"spec": leaf, "status": opened, "metadata": {"type": "object"}}}
    )
    assert found["additionalProperties"] is False
    assert found["properties"]["spec"]["additionalProperties"] is False
    assert found["properties"]["spec"]["properties"]["topic"] == {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert "additionalProperties" not in found["properties"]["status"]
    assert "additionalProperties" not in found["properties"]["metadata"]


def test_the_table_of_values_tells_each_with_its_default() -> None:
    """A row has name, default and comment; what is nested has its path, a list its default in one line."""
    text = 'a: 1 # one\nb: # two\n  c: [x] # three\n  d: ""\nservices:\n  e: {} # four\n'
    rows = values.table(text).splitlines()[2:]
    assert rows == [
        "| `a` | `1` | one |",
        "| `b` |  | two |",
        "| `b.c` | `[x]` | three |",
        '| `b.d` | `""` |  |',
        "| `services.e` | `{}` | four |",
    ]
