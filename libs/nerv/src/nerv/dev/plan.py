# SPDX-License-Identifier: Apache-2.0
"""What to start, decided before anything starts: names, ports and environment of every service process. Pure."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nerv.dev.ports import HOST
from nerv.errors import Misconfigured

SERVICES = ("temporal", "broker", "projector", "sync", "scheduler")

CommandOf = Callable[[str], Sequence[str]]


def service_command(service: str) -> Sequence[str]:
    """How a service is run: the same as `nerv serve SERVICE`."""
    return (sys.executable, "-m", f"nerv_{service}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for. `replicas` is the number of processes of a service where that is not 1."""

    mesh: str
    app: str | None
    services: Sequence[str] = SERVICES
    replicas: Mapping[str, int] = field(default_factory=dict)
    command: CommandOf = service_command


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One process of a service. The first replica has the service's name, later ones `temporal-2`, `temporal-3`."""

    name: str
    service: str
    command: Sequence[str]
    port: int
    health_port: int

    @property
    def url(self) -> str:
        """The base URL of its API."""
        return f"http://{HOST}:{self.port}"

    @property
    def health(self) -> str:
        """The base URL of `/livez` and `/readyz`."""
        return f"http://{HOST}:{self.health_port}"


def plan_services(wanted: Wanted, take_port: Callable[[], int]) -> list[ServicePlan]:
    """Every process that is to run. Raises Misconfigured for a service that does not exist."""
    _check(wanted)
    plans = []
    for service in wanted.services:
        for number in range(1, wanted.replicas.get(service, 1) + 1):
            name = service if number == 1 else f"{service}-{number}"
            plans.append(ServicePlan(name, service, wanted.command(service), take_port(), take_port()))
    return plans


def _check(wanted: Wanted) -> None:
    unknown = [name for name in (*wanted.services, *wanted.replicas) if name not in SERVICES]
    if unknown:
        raise Misconfigured(f"there is no service {', '.join(unknown)}; the services are {', '.join(SERVICES)}")
    few = [name for name, count in wanted.replicas.items() if count < 1]
    if few:
        raise Misconfigured(f"replicas of {', '.join(few)} must be 1 or more; leave it out of the services instead")


def mesh_environment(
    wanted: Wanted, plans: Sequence[ServicePlan], base: Mapping[str, str], *, kafka: str, redis: str
) -> dict[str, str]:
    """What all services of the mesh see: `base`, the addresses of the servers and of each other.

    Authentication is off, unless `base` sets it up.
    """
    found = dict(base)
    found["NERV_MESH"] = wanted.mesh
    found["NERV_KAFKA__BOOTSTRAP_SERVERS"] = kafka
    found["NERV_REDIS__URL"] = redis
    found["PYTHONUNBUFFERED"] = "1"  # the last words of a process that dies must reach its log
    if wanted.app is not None:
        found["NERV_APP"] = wanted.app
    if is_insecure(base):
        found["NERV_INSECURE_DEV"] = "1"
    for plan in plans:
        if plan.name == plan.service:
            found[f"NERV_SERVICES__{plan.service.upper()}"] = plan.url
    return found


def is_insecure(base: Mapping[str, str]) -> bool:
    """Whether authentication is off: nobody has set it up."""
    return not any(name.startswith("NERV_AUTH__") for name in base)


def service_environment(plan: ServicePlan, shared: Mapping[str, str], data: Path) -> dict[str, str]:
    """What one process sees: the mesh's environment, its own name, ports and folder."""
    return {
        **shared,
        "NERV_INSTANCE": plan.name,
        "NERV_HTTP__HOST": HOST,
        "NERV_HTTP__PORT": str(plan.port),
        "NERV_HTTP__ADVERTISE": plan.url,
        "NERV_HEALTH__HOST": HOST,
        "NERV_HEALTH__PORT": str(plan.health_port),
        "NERV_DATA_DIR": str(data / plan.name),
    }
