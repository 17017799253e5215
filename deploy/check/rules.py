# SPDX-License-Identifier: Apache-2.0
"""What a rendered chart has to mean, beyond its schemas. Each rule takes the manifests and raises Fault."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from deploy.check.running import Document, Fault

SERVICES = {"broker", "temporal", "projector", "sync", "scheduler"}
KEYED = {"temporal", "projector"}
WORKLOADS = {"Deployment", "StatefulSet"}
SCALERS = {"HorizontalPodAutoscaler", "ScaledObject"}
COMPONENT = "app.kubernetes.io/component"
LABELS = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "managed-by", "part-of")} | {
    "helm.sh/chart"
}
DRAIN_SECONDS = 10  # in which a service ends after SIGTERM (nerv.service.run.STOP_SECONDS)
# Of the restricted profile (kubernetes.io/docs/concepts/security/pod-security-standards); it allows some more.
VOLUMES = {"name", "configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim"}
KAFKA_TRIGGER = (
    "bootstrapServers", "consumerGroup", "topic", "lagThreshold", "activationLagThreshold", "limitToPartitionsWithLag",
)  # fmt: skip

Manifests = list[Document]


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the release, whoever makes it."""

    owner: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def container(self) -> dict[str, Any]:
        """Its only container."""
        [found] = self.spec["containers"]
        container: dict[str, Any] = found
        return container

    @property
    def env(self) -> dict[str, str]:
        """Its variables that have a value."""
        return {one["name"]: one.get("value", "") for one in self.container["env"]}


def named(document: Document) -> str:
    """How people call a manifest."""
    return f"{document['kind']} {document['metadata']['name']}"


def of(manifests: Manifests, *kinds: str) -> Iterator[Document]:
    """The manifests of these kinds."""
    return (document for document in manifests if document["kind"] in kinds)


def pods(manifests: Manifests) -> list[Pod]:
    """All pods: of workloads, jobs and tests."""
    found = []
    for document in of(manifests, *WORKLOADS, "Job", "Pod"):
        template = document if document["kind"] == "Pod" else document["spec"]["template"]
        found.append(Pod(named(document), template["metadata"]["labels"], template["spec"]))
    return found


def workloads(manifests: Manifests) -> dict[str, Document]:
    """The workload of each service. Raises Fault unless there are exactly five."""
    found = list(of(manifests, *WORKLOADS))
    names = {document["metadata"]["labels"][COMPONENT]: document for document in found}
    if len(found) != len(SERVICES) or set(names) != SERVICES:
        raise Fault(f"the chart renders {len(found)} workloads: {sorted(names)}; five are wanted")
    return names


def chosen(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector means this pod."""
    if any(labels.get(name) != value for name, value in selector.get("matchLabels", {}).items()):
        return False
    return all(
        (labels.get(one["key"]) in one["values"]) == (one["operator"] == "In")
        for one in selector.get("matchExpressions", ())
    )


def serves(manifests: Manifests) -> None:
    """Five services, each run by its name and asked for its health on the port of its own."""
    for service, document in workloads(manifests).items():
        container = document["spec"]["template"]["spec"]["containers"][0]
        if container["args"] != ["serve", service]:
            raise Fault(f"{service} is not run as `serve {service}`")
        for kind, path in (("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")):
            if container[f"{kind}Probe"]["httpGet"] != {"path": path, "port": "health"}:
                raise Fault(f"{service}: its {kind} probe does not ask {path} of the health port")


def restricted(manifests: Manifests) -> None:
    """Every pod passes the restricted Pod Security profile, and may not write to its image."""
    for pod in pods(manifests):
        context, container = pod.spec.get("securityContext", {}), pod.container.get("securityContext", {})
        both = context | container
        faults = {
            "may be root": both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0,
            "has no seccomp profile": both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
            "may gain privileges": container.get("allowPrivilegeEscalation") is not False
            or container.get("privileged", False),
            "keeps capabilities": container.get("capabilities") != {"drop": ["ALL"]},
            "may write to its image": container.get("readOnlyRootFilesystem") is not True,
            "shares the node's names": any(pod.spec.get(f"host{what}") for what in ("Network", "PID", "IPC")),
            "takes a port of the node": any("hostPort" in port for port in pod.container.get("ports", ())),
            "mounts what it may not": any(set(volume) - VOLUMES for volume in pod.spec.get("volumes", ())),
        }
        for fault, found in faults.items():
            if found:
                raise Fault(f"{pod.owner} {fault}: the restricted profile refuses it")


def no_token(manifests: Manifests) -> None:
    """No pod gets a token of Kubernetes, and each runs as an account that is there."""
    accounts = {document["metadata"]["name"]: document for document in of(manifests, "ServiceAccount")}
    for document in accounts.values():
        if document.get("automountServiceAccountToken") is not False:
            raise Fault(f"{named(document)} gives its pods a token")
    for pod in pods(manifests):
        if pod.spec.get("automountServiceAccountToken") is not False:
            raise Fault(f"{pod.owner} gets a token of Kubernetes")
        if accounts and pod.spec["serviceAccountName"] not in {"default", *accounts}:
            raise Fault(f"{pod.owner} runs as {pod.spec['serviceAccountName']}, which nobody makes")


def secrets_are_files(manifests: Manifests) -> None:
    """No secret is in a variable, and each file that a variable names is mounted, read-only."""
    for pod in pods(manifests):
        for variable in pod.container["env"]:
            if "secretKeyRef" in str(variable):
                raise Fault(f"{pod.owner} gets {variable['name']} from a Secret; mount it as a file")
        read = [mount["mountPath"] for mount in pod.container["volumeMounts"] if mount.get("readOnly")]
        for name, value in pod.env.items():
            if name.startswith("NERV_") and name.endswith("_FILE") and value.rpartition("/")[0] not in read:
                raise Fault(f"{pod.owner}: {name} names {value}, where nothing is mounted")


def budgets(manifests: Manifests) -> None:
    """Each service has one PodDisruptionBudget, which means its pods and lets some of them go."""
    found = list(of(manifests, "PodDisruptionBudget"))
    for service, document in workloads(manifests).items():
        labels = document["spec"]["template"]["metadata"]["labels"]
        mine = [one for one in found if chosen(one["spec"]["selector"], labels)]
        if len(mine) != 1:
            raise Fault(f"{service} has {len(mine)} PodDisruptionBudgets; one is wanted")
        if mine[0]["spec"].get("maxUnavailable") in (None, 0, "0%"):
            raise Fault(f"{named(mine[0])} lets no pod go: nodes could never be drained")


def spread(manifests: Manifests) -> None:
    """Replicas are spread over nodes, each service by itself."""
    for service, document in workloads(manifests).items():
        template = document["spec"]["template"]
        constraints = template["spec"].get("topologySpreadConstraints", ())
        if "kubernetes.io/hostname" not in {one["topologyKey"] for one in constraints}:
            raise Fault(f"{service} is not spread over nodes")
        others = template["metadata"]["labels"] | {COMPONENT: "another"}
        for one in constraints:
            selector = one.get("labelSelector", {})
            if not chosen(selector, template["metadata"]["labels"]) or chosen(selector, others):
                raise Fault(f"{service} is spread by labels that are not its own: {selector}")


def drains(manifests: Manifests) -> None:
    """A replica that is to end works on until nobody sends it anything, then has time to end; none goes before another came."""
    for service, document in workloads(manifests).items():
        pod = document["spec"]["template"]["spec"]
        pause = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if pause < 1:
            raise Fault(f"{service} is sent SIGTERM while it is still sent requests: it needs a preStop pause")
        if pod["terminationGracePeriodSeconds"] < pause + DRAIN_SECONDS:
            raise Fault(
                f"{service} is killed before it has drained: {pod['terminationGracePeriodSeconds']} s are too few"
            )
        if document["kind"] == "Deployment" and document["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
            raise Fault(f"{service}: an upgrade takes replicas away before there are new ones")


def scales(manifests: Manifests) -> None:
    """Replicas are counted by one: the workload, an HPA or KEDA; keyed services have no more than partitions."""
    found = workloads(manifests)
    targets = [one["spec"]["scaleTargetRef"] for one in of(manifests, *SCALERS)]
    names = {document["metadata"]["name"] for document in found.values()}
    if strangers := {one["name"] for one in targets} - names:
        raise Fault(f"{sorted(strangers)} are scaled, and are not there")
    for service, document in found.items():
        mine = [
            one
            for one in of(manifests, *SCALERS)
            if one["spec"]["scaleTargetRef"]["name"] == document["metadata"]["name"]
        ]
        if len(mine) + ("replicas" in document["spec"]) != 1:
            raise Fault(
                f"{service}: its replicas are told by {len(mine)} scalers and {document['spec'].get('replicas')}"
            )
        if mine and mine[0]["spec"]["scaleTargetRef"]["kind"] != document["kind"]:
            raise Fault(f"{named(mine[0])} scales no {document['kind']}")
        most = (
            mine[0]["spec"].get("maxReplicas", mine[0]["spec"].get("maxReplicaCount"))
            if mine
            else document["spec"]["replicas"]
        )
        partitions = int(next(pod for pod in pods([document])).env["NERV_PARTITIONS"])
        if service in KEYED and most > partitions:
            raise Fault(f"{service} may have {most} replicas for {partitions} partitions")


def triggers(manifests: Manifests) -> None:
    """KEDA's triggers say all that they need, a topic always; what they show is there."""
    shown = {one["metadata"]["name"] for one in of(manifests, "TriggerAuthentication")}
    used = set()
    for document in of(manifests, "ScaledObject"):
        for trigger in document["spec"]["triggers"]:
            metadata = trigger["metadata"]
            if trigger["type"] == "kafka" and (missing := [key for key in KAFKA_TRIGGER if not metadata.get(key)]):
                raise Fault(f"{named(document)}: a trigger on Kafka says no {', '.join(missing)}")
            if trigger["type"] == "redis-streams" and not (metadata.get("address") and metadata.get("streamLength")):
                raise Fault(f"{named(document)}: a trigger on a stream needs address and streamLength")
            if wrong := [name for name, value in metadata.items() if not isinstance(value, str)]:
                raise Fault(f"{named(document)}: KEDA takes texts alone: {wrong}")
            used |= {trigger["authenticationRef"]["name"]} if "authenticationRef" in trigger else set()
    if used != shown:
        raise Fault(f"triggers show {sorted(used)}, and there are {sorted(shown)}")


def labelled(manifests: Manifests) -> None:
    """Everything, what `extraDeploy` adds included, carries the recommended labels."""
    for document in manifests:
        if missing := LABELS - set(document["metadata"].get("labels", ())):
            raise Fault(f"{named(document)} lacks the labels {sorted(missing)}")


def chooses(manifests: Manifests) -> None:
    """A Service means the pods of one component, and its ports are ports of theirs."""
    everybody = pods(manifests)
    for document in of(manifests, "Service"):
        mine = [pod for pod in everybody if chosen({"matchLabels": document["spec"]["selector"]}, pod.labels)]
        if len(mine) != 1:
            raise Fault(f"{named(document)} means {[pod.owner for pod in mine]}")
        ports = {port["name"] for port in mine[0].container["ports"]}
        if unknown := {port["targetPort"] for port in document["spec"]["ports"]} - ports:
            raise Fault(f"{named(document)} leads to ports that are not there: {sorted(unknown)}")


def topics_first(manifests: Manifests) -> None:
    """The job that makes the topics runs before anything is installed or changed."""
    for document in of(manifests, "Job"):
        hooks = document["metadata"].get("annotations", {}).get("helm.sh/hook", "")
        if set(hooks.split(",")) != {"pre-install", "pre-upgrade"}:
            raise Fault(f"{named(document)} runs beside the services that need its topics")


RULES: tuple[Callable[[Manifests], None], ...] = (
    serves, restricted, no_token, secrets_are_files, budgets, spread, drains, scales, triggers, chooses, topics_first, labelled,
)  # fmt: skip
