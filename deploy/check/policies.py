# SPDX-License-Identifier: Apache-2.0
"""What NetworkPolicies let through: by default nothing, and of each way both ends."""

from collections.abc import Iterator
from typing import Any

from deploy.check.rules import COMPONENT, SERVICES, Manifests, Pod, chosen, of, pods
from deploy.check.running import Document, Fault

Rule = dict[str, Any]
HTTP, DNS = 8080, 53


def policies(manifests: Manifests) -> None:
    """Every pod is denied all, may ask DNS, and what may leave one may enter the other; services reach Kafka and Redis."""
    found = list(of(manifests, "NetworkPolicy"))
    if not found:
        return
    everybody = pods(manifests)
    for pod in everybody:
        _denied(found, pod)
        if not any(_port(rule, DNS) for rule in _rules(found, pod, "egress")):
            raise Fault(f"{pod.owner} may not ask DNS")
    leaving = {
        (one.owner, other.owner) for one in everybody for other in everybody if _may(found, one, other, "egress")
    }
    entering = {
        (one.owner, other.owner) for one in everybody for other in everybody if _may(found, other, one, "ingress")
    }
    if leaving != entering:
        raise Fault(f"one end of these ways is shut: {sorted(leaving ^ entering)}")
    _reached(everybody, found)


def _denied(found: list[Document], pod: Pod) -> None:
    for direction in ("Ingress", "Egress"):
        mine = (one["spec"] for one in found if chosen(one["spec"]["podSelector"], pod.labels))
        if not any(direction in spec["policyTypes"] for spec in mine):
            raise Fault(f"{pod.owner} is open: no policy denies {direction}")


def _rules(found: list[Document], pod: Pod, direction: str) -> Iterator[Rule]:
    for one in found:
        if chosen(one["spec"]["podSelector"], pod.labels):
            yield from one["spec"].get(direction, ())


def _port(rule: Rule, port: int) -> bool:
    return any(one["port"] == port for one in rule.get("ports", ()))


def _may(found: list[Document], pod: Pod, other: Pod, direction: str) -> bool:
    """Whether a pod may call, or be called by, another one of the release."""
    end = "to" if direction == "egress" else "from"
    return any(
        chosen(peer["podSelector"], other.labels)
        for rule in _rules(found, pod, direction)
        if _port(rule, HTTP)
        for peer in rule.get(end, ())
        if "podSelector" in peer and "namespaceSelector" not in peer
    )


def _reached(everybody: list[Pod], found: list[Document]) -> None:
    by = {pod.labels[COMPONENT]: pod for pod in everybody}
    for service in SERVICES:
        pod = by[service]
        out = list(_rules(found, pod, "egress"))
        for other in {service, "temporal"}:
            if not _may(found, pod, by[other], "egress"):
                raise Fault(f"{pod.owner} may not call {other}")
        redis = int(pod.env["NERV_REDIS__URL"].rpartition(":")[2].partition("/")[0])
        if not any(_port(rule, redis) for rule in out):
            raise Fault(f"{pod.owner} may not reach Redis at port {redis}")
        kafka = {int(one.rpartition(":")[2]) for one in pod.env["NERV_KAFKA__BOOTSTRAP_SERVERS"].split(",")}
        if not all(any(_port(rule, port) for rule in out) for port in kafka):
            raise Fault(f"{pod.owner} may not reach Kafka at ports {sorted(kafka)}")
