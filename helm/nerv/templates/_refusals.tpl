{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* What no schema can say in a sentence: values that are each well formed, and together nonsense. All of it is told at once. */}}
{{- define "nerv.refusals" -}}
{{- $services := include "nerv.services" . | fromJson }}
{{- $text := include "nerv.refusals.mesh" . }}
{{- range $service, $with := $services }}
{{- $text = print $text "\n" (include "nerv.refusals.service" (dict "root" $ "with" $with "service" $service)) }}
{{- end }}
{{- if .Values.topics.create }}
{{- $text = print $text "\n" (include "nerv.refusals.connections" (dict "with" (include "nerv.topicsJob" . | fromJson) "who" "topics")) }}
{{- end }}
{{- $who := dict }}
{{- range splitList "\n" $text }}
{{- $parts := splitn ": " 2 . }}
{{- if trim . }}{{ $_ := set $who $parts._1 (append (get $who $parts._1 | default list) $parts._0) }}{{ end }}
{{- end }}
{{- $told := list }}
{{- range $what, $names := $who }}
{{- $told = append $told (printf "- %s: %s" (ternary "every service" (join ", " $names) (gt (len $names) 4)) $what) }}
{{- end }}
{{- if $told }}
{{- fail (printf "these values cannot be right:\n%s\n" (join "\n" $told)) }}
{{- end }}
{{- end }}

{{- define "nerv.refusals.service" -}}
{{- $with := .with }}
{{- $by := "" }}
{{- $most := int $with.replicaCount }}
{{- if and $with.autoscaling.enabled $with.keda.enabled }}
services.{{ .service }}: autoscaling and keda are both enabled, and would fight over its replicas: enable one of them
{{- end }}
{{- if $with.autoscaling.enabled }}
{{- $by = "autoscaling.maxReplicas" }}
{{- $most = int $with.autoscaling.maxReplicas }}
{{- if gt (int $with.autoscaling.minReplicas) $most }}
services.{{ .service }}: autoscaling.minReplicas is {{ int $with.autoscaling.minReplicas }}, and autoscaling.maxReplicas less: {{ $most }}
{{- end }}
{{- if not (or $with.autoscaling.targetCPUUtilizationPercentage $with.autoscaling.targetMemoryUtilizationPercentage) }}
services.{{ .service }}: autoscaling has no target: set targetCPUUtilizationPercentage or targetMemoryUtilizationPercentage
{{- end }}
{{- range $resource, $target := dict "cpu" $with.autoscaling.targetCPUUtilizationPercentage "memory" $with.autoscaling.targetMemoryUtilizationPercentage }}
{{- if and $target (not (dig "requests" $resource "" $with.resources)) }}
services.{{ $.service }}: autoscaling is by a share of resources.requests.{{ $resource }}, which is not set
{{- end }}
{{- end }}
{{- end }}
{{- if $with.keda.enabled }}
{{- $by = "keda.maxReplicaCount" }}
{{- $most = int $with.keda.maxReplicaCount }}
{{- if gt (int $with.keda.minReplicaCount) $most }}
services.{{ .service }}: keda.minReplicaCount is {{ int $with.keda.minReplicaCount }}, and keda.maxReplicaCount less: {{ $most }}
{{- end }}
{{- if not (include "nerv.keda.triggers" (dict "root" .root "with" $with "service" .service) | trim) }}
services.{{ .service }}: keda is enabled without a trigger: name keda.kafka.topics, keda.redis.streams, keda.projections.names or keda.triggers
{{- end }}
{{- if and $with.keda.kafka.topics (not (include "nerv.keda.group" (dict "with" $with "service" .service))) }}
services.{{ .service }}: keda.kafka.topics without keda.kafka.consumerGroup: {{ .service }} commits to no group of its own
{{- end }}
{{- end }}
{{- if and (has .service (list "temporal" "projector")) (gt $most (int $with.partitions)) }}
services.{{ .service }}: {{ $by | default "replicaCount" }} is {{ $most }}, but there are {{ int $with.partitions }} partitions, each of which has one owner: replicas beyond them would own nothing
{{- end }}
{{- if and $with.persistence.enabled (not $with.stateful) }}
services.{{ .service }}: persistence needs stateful: replicas of a Deployment would share one volume
{{- end }}
{{- if lt (int $with.terminationGracePeriodSeconds) (add 10 (int $with.preStopSeconds) | int) }}
services.{{ .service }}: terminationGracePeriodSeconds is {{ int $with.terminationGracePeriodSeconds }}, but preStopSeconds ({{ int $with.preStopSeconds }}) and the 10 s of draining need {{ add 10 (int $with.preStopSeconds) }}
{{- end }}
{{- $set := list }}
{{- range concat (include "nerv.environment" . | fromYamlArray) (include "nerv.peers" . | fromYamlArray) (include "nerv.serving" . | fromYamlArray) }}{{ $set = append $set .name }}{{ end }}
{{- $known := false }}
{{- $named := $set }}
{{- range $with.extraEnvVars }}
{{- if has .name $set }}
services.{{ $.service }}: extraEnvVars has {{ .name }}, which the chart sets from its own values
{{- end }}
{{- $named = append $named .name }}
{{- if or (eq .name "NERV_INSECURE_DEV") (hasPrefix "NERV_AUTH__" .name) }}{{ $known = true }}{{ end }}
{{- end }}
{{- range $with.extraVolumes }}
{{- if has .name (list "tmp" "data" "auth" "kafka" "kafka-ca" "redis" "redis-ca") }}
services.{{ $.service }}: extraVolumes has {{ .name }}, which is a volume of the chart: give it another name
{{- end }}
{{- end }}
{{- range $label, $_ := merge (deepCopy $with.podLabels) $with.commonLabels }}
{{- if regexMatch "^(app.kubernetes.io|helm.sh)/" $label }}
services.{{ $.service }}: the label {{ $label }} is the chart's, and chooses its pods: commonLabels and podLabels need others
{{- end }}
{{- end }}
{{- if and (ne .service "temporal") (not (has "NERV_SERVICES__TEMPORAL" $named)) }}
services.{{ .service }}: it stands on temporal, which is not enabled: enable it, or name another by NERV_SERVICES__TEMPORAL in extraEnvVars
{{- end }}
{{- if not (or $with.auth.existingSecret $with.auth.jwksUrl $known) }}
services.{{ .service }}: no authentication is set up, so it would refuse to start: set auth.existingSecret
{{- end }}
{{- if and $with.auth.jwksUrl (not (and $with.auth.issuer $with.auth.audience)) }}
services.{{ .service }}: auth.jwksUrl needs auth.issuer and auth.audience: whose JWTs, and meant for whom
{{- end }}
{{ include "nerv.refusals.connections" (dict "with" $with "who" (printf "services.%s" .service)) }}
{{- end }}

{{/* Kafka and Redis as one process reaches them. Takes .with and .who. */}}
{{- define "nerv.refusals.connections" -}}
{{- $kafka := .with.externalKafka }}
{{- $redis := .with.externalRedis }}
{{- if hasPrefix "SASL" $kafka.securityProtocol }}
{{- range list "saslUsername" "existingSecret" "passwordFile" }}
{{- if not (get $kafka .) }}
{{ $.who }}: externalKafka.securityProtocol is {{ $kafka.securityProtocol }}, but externalKafka.{{ . }} is empty
{{- end }}
{{- end }}
{{- end }}
{{- if and $redis.username (not (and $redis.existingSecret $redis.passwordFile)) }}
{{ .who }}: externalRedis.username without a password: set externalRedis.existingSecret and passwordFile
{{- end }}
{{- range $name, $about := dict "externalKafka" (list $kafka (hasSuffix "SSL" $kafka.securityProtocol) "securityProtocol SSL or SASL_SSL") "externalRedis" (list $redis (hasPrefix "rediss" $redis.url) "a url that begins with rediss://") }}
{{- $side := index $about 0 }}
{{- if and (or $side.caFile $side.certificateFile) (not (index $about 1)) }}
{{ $.who }}: {{ $name }} has certificates, but no TLS to show them in: they need {{ index $about 2 }}
{{- end }}
{{- if ne (empty $side.certificateFile) (empty $side.keyFile) }}
{{ $.who }}: {{ $name }}.certificateFile and {{ $name }}.keyFile go together: a certificate is shown with its key
{{- end }}
{{- if or (and $side.certificateFile (not $side.existingSecret)) (and $side.caFile (not (or $side.caSecret $side.existingSecret))) }}
{{ $.who }}: {{ $name }} names certificates, but no Secret that has them: set {{ $name }}.existingSecret
{{- end }}
{{- end }}
{{- end }}

{{- define "nerv.refusals.mesh" -}}
{{- if and .Values.ingress.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.ingressFrom) }}
ingress: it is enabled, but networkPolicy lets nobody in: name the controller's pods in networkPolicy.ingressFrom
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.metricsFrom) }}
metrics.serviceMonitor: it is enabled, but networkPolicy lets nobody read: name Prometheus's pods in networkPolicy.metricsFrom
{{- end }}
{{- if and .Values.topics.create .Values.topics.strimzi.enabled }}
topics: create and strimzi are both enabled, and would both make the topics: enable one of them
{{- end }}
{{- range $service, $with := include "nerv.services" . | fromJson }}
{{- if and $with.keda.enabled $with.keda.projections.names $.Values.networkPolicy.enabled (not $.Values.networkPolicy.ingressFrom) }}
services.{{ $service }}: keda.projections asks the projector, but networkPolicy lets nobody in: name KEDA's pods in networkPolicy.ingressFrom
{{- end }}
{{- end }}
{{- if and .Values.test.view (not .Values.test.event) }}
test.view: it needs test.event: say what is published that is to be found there
{{- end }}
{{- end }}
