# SPDX-License-Identifier: Apache-2.0
"""What is started, decided before anything starts."""

from itertools import count
from pathlib import Path

import pytest

from nerv.dev.plan import SERVICES, Wanted, is_insecure, mesh_environment, plan_services, service_environment
from nerv.dev.ports import Ports
from nerv.errors import Misconfigured


def test_every_process_has_a_name_and_ports_of_its_own() -> None:
    """The first replica has the service's name; no two share a port."""
    ports = count(1000)
    plans = plan_services(Wanted("m", None, SERVICES, {"temporal": 3}), lambda: next(ports))
    assert [plan.name for plan in plans[:3]] == ["temporal", "temporal-2", "temporal-3"]
    assert len({port for plan in plans for port in (plan.port, plan.health_port)}) == 2 * len(plans)


def test_wrong_wishes_are_refused() -> None:
    """A service that is none, and no replica at all."""
    for wanted in (Wanted("m", None, ["brokr"]), Wanted("m", None, ["broker"], {"broker": 0})):
        with pytest.raises(Misconfigured):
            plan_services(wanted, lambda: 1)


def test_services_know_each_other_and_themselves() -> None:
    """Addresses of Kafka, Redis and all services; a name, ports and a folder of its own; authentication off, unless set up."""
    ports = count(1000)
    wanted = Wanted("m", "a:app", ["temporal", "broker"])
    plans = plan_services(wanted, lambda: next(ports))
    shared = mesh_environment(wanted, plans, {"PATH": "/bin"}, kafka="k:1", redis="redis://r")
    assert shared["NERV_SERVICES__BROKER"] == plans[1].url
    assert (shared["NERV_APP"], shared["NERV_MESH"], shared["NERV_INSECURE_DEV"]) == ("a:app", "m", "1")
    own = service_environment(plans[0], shared, Path("data"))
    assert (own["NERV_INSTANCE"], own["NERV_DATA_DIR"]) == ("temporal", str(Path("data") / "temporal"))
    assert not is_insecure({"NERV_AUTH__TOKENS_FILE": "t"})
    assert "NERV_INSECURE_DEV" not in mesh_environment(
        wanted, plans, {"NERV_AUTH__TOKENS_FILE": "t"}, kafka="k:1", redis="redis://r"
    )


def test_ports_are_free_and_never_given_twice(tmp_path: Path) -> None:
    """Each one can be listened on."""
    ports = Ports(tmp_path)
    taken = [ports.take() for _ in range(20)]
    assert len(set(taken)) == 20
