# SPDX-License-Identifier: Apache-2.0
"""Values that are nonsense, each with what the chart's refusal has to name."""

from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

from deploy.check.running import Fault, Tools

HPA = "autoscaling: {enabled: true}"
SASL = "externalKafka: {securityProtocol: SASL_SSL, saslUsername: mesh, existingSecret: kafka"

BAD_VALUES = (
    # what the schema says
    ("an unknown key", "replicas: 3", "'replicas' not allowed"),
    ("an unknown key of a service", "services: {broker: {replicas: 3}}", "'replicas' not allowed"),
    ("a service that is none", "services: {brokr: {}}", "'brokr' not allowed"),
    ("a mesh name with capitals", "mesh: Nerv", "/mesh"),
    ("an app that is no reference", "app: flights", "/app"),
    ("a negative replica count", "services: {broker: {replicaCount: -1}}", "/services/broker/replicaCount"),
    ("a replica count in quotes", "services: {broker: {replicaCount: '2'}}", "/services/broker/replicaCount"),
    ("no partitions", "partitions: 0", "/partitions"),
    ("a pull policy that is none", "image: {pullPolicy: Sometimes}", "/image/pullPolicy"),
    ("a tag that YAML takes for a number", "image: {tag: 1.10}", "/image/tag': got number, want string"),
    ("a tag within the repository", "image: {repository: 'nerv-mesh:1'}", "/image/repository"),
    ("a digest that is none", "image: {digest: '1.2.3'}", "/image/digest"),
    ("a Redis that is none", "externalRedis: {url: 'http://redis'}", "/externalRedis/url"),
    ("a password in a URL", "externalRedis: {url: 'redis://:secret@redis:6379/0'}", "/externalRedis/url"),
    ("a Kafka without a port", "externalKafka: {bootstrapServers: kafka}", "/externalKafka/bootstrapServers"),
    ("a protocol in front of Kafka", "externalKafka: {bootstrapServers: 'kafka://k:9092'}", "/bootstrapServers"),
    ("a mechanism that is none", "externalKafka: {saslMechanism: SCRAM}", "/externalKafka/saslMechanism"),
    ("a path instead of a file", "externalKafka: {caFile: /etc/ca.crt}", "/externalKafka/caFile"),
    ("an amount that is none", "resources: {requests: {memory: 256MB}}", "/resources/requests/memory"),
    ("a resource out of place", "resources: {memory: 1Gi}", "'memory' not allowed"),
    ("a variable without a name", "extraEnvVars: [{value: x}]", "/extraEnvVars/0"),
    ("a variable that is a number", "extraEnvVars: [{name: N, value: 1}]", "/extraEnvVars/0/value"),
    ("variables as a mapping", "extraEnvVars: {A: b}", "/extraEnvVars"),
    ("scaling to nothing", "keda: {minReplicaCount: 0}", "/keda/minReplicaCount"),
    ("a budget that lets nobody go", "pdb: {maxUnavailable: 0}", "/pdb/maxUnavailable"),
    ("a topic without replicas", "topics: {replicationFactor: 0}", "/topics/replicationFactor"),
    ("Strimzi without its Kafka", "topics: {create: false, strimzi: {enabled: true}}", "/topics/strimzi/cluster"),
    ("a host with its protocol", "ingress: {host: 'https://nerv.example'}", "/ingress/host"),
    ("a collector without its protocol", "telemetry: {otlpEndpoint: 'collector:4318'}", "/telemetry/otlpEndpoint"),
    ("a peer that is none", "networkPolicy: {ingressFrom: [{namespace: ingress}]}", "/networkPolicy/ingressFrom/0"),
    ("a test event without a type", "test: {event: {topic: a.b.v1}}", "/test/event"),
    ("a constraint without its key", "topologySpreadConstraints: [{maxSkew: 1}]", "/topologySpreadConstraints/0"),
    # what the chart says in a sentence
    ("HPA and KEDA together", f"{HPA}\nkeda: {{enabled: true}}", "autoscaling and keda are both enabled"),
    (
        "HPA of all and KEDA of one",
        f"{HPA}\nservices: {{broker: {{keda: {{enabled: true}}}}}}",
        "services.broker: autoscaling and",
    ),
    (
        "replicas beyond partitions",
        "services: {temporal: {replicaCount: 13}}",
        "temporal: replicaCount is 13, but there are 12",
    ),
    ("an HPA beyond partitions", f"{HPA}\npartitions: 4", "autoscaling.maxReplicas is 6, but there are 4 partitions"),
    (
        "KEDA beyond partitions",
        "services: {projector: {keda: {enabled: true, maxReplicaCount: 20, projections: {names: [a]}}}}",
        "keda.maxReplicaCount is 20",
    ),
    ("a minimum above the maximum", "autoscaling: {enabled: true, minReplicas: 9}", "minReplicas is 9"),
    (
        "KEDA's minimum above its maximum",
        "services: {scheduler: {keda: {enabled: true, minReplicaCount: 9}}}",
        "minReplicaCount is 9",
    ),
    ("an HPA without a target", "autoscaling: {enabled: true, targetCPUUtilizationPercentage: 0}", "no target"),
    (
        "an HPA on a share of nothing",
        "autoscaling: {enabled: true, targetMemoryUtilizationPercentage: 80}\nresources: {requests: {memory: null}}",
        "share of resources.requests.memory",
    ),
    ("KEDA without a trigger", "services: {sync: {keda: {enabled: true}}}", "keda is enabled without a trigger"),
    (
        "a lag of no group",
        "services: {sync: {keda: {enabled: true, kafka: {topics: [a.b.v1]}}}}",
        "without keda.kafka.consumerGroup",
    ),
    (
        "KEDA shut out",
        "services: {projector: {keda: {enabled: true, projections: {names: [aircraft]}}}}",
        "name KEDA's pods in networkPolicy.ingressFrom",
    ),
    ("a disk that is shared", "services: {broker: {persistence: {enabled: true}}}", "persistence needs stateful"),
    ("too little time to drain", "preStopSeconds: 25", "the 10 s of draining need 35"),
    ("a variable of the chart's", "extraEnvVars: [{name: NERV_MESH, value: x}]", "NERV_MESH, which the chart sets"),
    ("a mesh without history", "services: {temporal: {enabled: false}}", "it stands on temporal, which is not enabled"),
    ("a volume of the chart's", "extraVolumes: [{name: data, emptyDir: {}}]", "extraVolumes has data"),
    ("a label of the chart's", "commonLabels: {app.kubernetes.io/name: mine}", "the label app.kubernetes.io/name"),
    ("a mount without its path", "extraVolumeMounts: [{name: files}]", "/extraVolumeMounts/0"),
    ("no authentication", "auth: {existingSecret: ''}", "refuse to start: set auth.existingSecret"),
    ("a JWKS without an issuer", "auth: {jwksUrl: 'https://keys.example/jwks'}", "auth.issuer"),
    ("SASL without a user", "externalKafka: {securityProtocol: SASL_SSL}", "externalKafka.saslUsername is empty"),
    (
        "SASL without a user for the job",
        f"{SASL}}}\ntopics: {{externalKafka: {{saslUsername: ''}}}}",
        "topics: externalKafka.securityProtocol is SASL_SSL",
    ),
    ("a Redis user without a password", "externalRedis: {username: mesh}", "externalRedis.username without a password"),
    (
        "an authority without TLS",
        "externalKafka: {caFile: ca.crt, existingSecret: kafka}",
        "externalKafka has certificates, but no TLS",
    ),
    ("an authority without TLS to Redis", "externalRedis: {caFile: ca.crt, caSecret: ca}", "begins with rediss://"),
    (
        "an authority without its Secret",
        "externalKafka: {securityProtocol: SSL, caFile: ca.crt}",
        "no Secret that has them",
    ),
    (
        "a certificate without its key",
        "externalKafka: {securityProtocol: SSL, certificateFile: user.crt, existingSecret: kafka}",
        "go together",
    ),
    ("an Ingress that is shut out", "ingress: {enabled: true}", "name the controller's pods"),
    ("a Prometheus that is shut out", "metrics: {serviceMonitor: {enabled: true}}", "name Prometheus's pods"),
    ("topics made twice", "topics: {strimzi: {enabled: true, cluster: kafka}}", "both make the topics"),
    ("a view without an event", "test: {view: {projection: aircraft, key: N1}}", "it needs test.event"),
)


def check(tools: Tools) -> None:
    """What is wrong is refused before anything is installed, and the refusal names it."""
    with ThreadPoolExecutor(cpu_count()) as pool:
        list(pool.map(lambda row: _refused(tools, *row), BAD_VALUES))  # raises the first Fault


def _refused(tools: Tools, what: str, values: str, named: str) -> None:
    try:
        tools.render(values)
    except Fault as refusal:
        if named not in str(refusal):
            raise Fault(f"the chart refuses {what} without naming {named}: {refusal}") from None
    else:
        raise Fault(f"the chart takes {what}: {values}")
