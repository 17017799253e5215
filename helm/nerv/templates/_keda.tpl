{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* The triggers of a ScaledObject. All take .root, .with and .service. */}}
{{- define "nerv.keda.group" -}}
{{- if .with.keda.kafka.consumerGroup }}{{ .with.keda.kafka.consumerGroup }}{{ else if eq .service "broker" }}{{ .with.mesh }}.broker{{ end }}
{{- end }}

{{/* Streams of the scheduler's tasks by priority (services/scheduler/README.md): an entry is there until its task has ended. */}}
{{- define "nerv.keda.streams" -}}
{{- $streams := .with.keda.redis.streams }}
{{- if and (not $streams) (eq .service "scheduler") }}
{{- $streams = list }}
{{- range list "" ":high" ":low" }}{{ $streams = append $streams (printf "%s:tasks:default%s" $.with.mesh .) }}{{ end }}
{{- end }}
{{- toJson $streams }}
{{- end }}

{{- define "nerv.keda.triggers" -}}
{{- $name := printf "%s-%s" (include "nerv.name" .root) .service }}
{{- $kafka := .with.externalKafka }}
{{- $redis := .with.externalRedis }}
{{- $shown := include "nerv.keda.authentications" . | fromJson }}
{{- range .with.keda.kafka.topics }}
- type: kafka
  metadata:
    bootstrapServers: {{ $kafka.bootstrapServers | quote }}
    consumerGroup: {{ include "nerv.keda.group" $ | quote }}
    topic: {{ . | quote }}
    lagThreshold: {{ int $.with.keda.kafka.lagThreshold | quote }}
    activationLagThreshold: {{ int $.with.keda.kafka.activationLagThreshold | quote }}
    limitToPartitionsWithLag: {{ $.with.keda.kafka.limitToPartitionsWithLag | quote }}
    offsetResetPolicy: earliest
    {{- if hasSuffix "SSL" $kafka.securityProtocol }}
    tls: enable
    {{- end }}
    {{- if hasPrefix "SASL" $kafka.securityProtocol }}
    sasl: {{ get (dict "SCRAM-SHA-512" "scram_sha512" "SCRAM-SHA-256" "scram_sha256" "PLAIN" "plaintext") $kafka.saslMechanism }}
    {{- end }}
  {{- if $shown.kafka }}
  authenticationRef: {name: {{ $name }}-kafka}
  {{- end }}
{{- end }}
{{- range include "nerv.keda.streams" . | fromJsonArray }}
{{- $url := urlParse $redis.url }}
- type: redis-streams
  metadata:
    address: {{ ternary $url.host (printf "%s:6379" $url.host) (contains ":" $url.host) | quote }}
    stream: {{ . | quote }}
    streamLength: {{ int $.with.keda.redis.streamLength | quote }}
    databaseIndex: {{ trimPrefix "/" $url.path | default "0" | quote }}
    {{- if eq $url.scheme "rediss" }}
    enableTLS: "true"
    {{- end }}
    {{- with $redis.username }}
    username: {{ . | quote }}
    {{- end }}
  {{- if $shown.redis }}
  authenticationRef: {name: {{ $name }}-redis}
  {{- end }}
{{- end }}
{{- range .with.keda.projections.names }}
- type: metrics-api
  metadata:
    url: {{ printf "http://%s-projector.%s.svc:8080/v1/projections" (include "nerv.name" $.root) $.root.Release.Namespace | quote }}
    valueLocation: {{ printf "projections.#(projection==\"%s\").lag" . | quote }}
    targetValue: {{ int $.with.keda.projections.lagThreshold | quote }}
    {{- if $shown.token }}
    authMode: bearer
    {{- end }}
  {{- if $shown.token }}
  authenticationRef: {name: {{ $name }}-token}
  {{- end }}
{{- end }}
{{- with .with.keda.triggers }}
{{ tpl (toYaml .) $.root }}
{{- end }}
{{- end }}

{{/* What the triggers show to Kafka, Redis and the projector, by the name of its TriggerAuthentication: parameter, secret, key. */}}
{{- define "nerv.keda.authentications" -}}
{{- $kafka := .with.externalKafka }}
{{- $redis := .with.externalRedis }}
{{- $found := dict "kafka" list "redis" list "token" list }}
{{- if .with.keda.kafka.topics }}
{{- if hasPrefix "SASL" $kafka.securityProtocol }}
{{- $_ := set $found "kafka" (list (list "password" $kafka.existingSecret $kafka.passwordFile)) }}
{{- end }}
{{- $_ := set $found "kafka" (concat $found.kafka (include "nerv.keda.certificates" $kafka | fromJsonArray)) }}
{{- end }}
{{- if include "nerv.keda.streams" . | fromJsonArray }}
{{- if and $redis.existingSecret $redis.passwordFile }}
{{- $_ := set $found "redis" (list (list "password" $redis.existingSecret $redis.passwordFile)) }}
{{- end }}
{{- $_ := set $found "redis" (concat $found.redis (include "nerv.keda.certificates" $redis | fromJsonArray)) }}
{{- end }}
{{- if and .with.keda.projections.names .with.auth.existingSecret }}
{{- $_ := set $found "token" (list (list "token" .with.auth.existingSecret "client-token")) }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{- define "nerv.keda.certificates" -}}
{{- $shown := list }}
{{- with .caFile }}{{ $shown = append $shown (list "ca" ($.caSecret | default $.existingSecret) .) }}{{ end }}
{{- with .certificateFile }}{{ $shown = append $shown (list "cert" $.existingSecret .) }}{{ end }}
{{- with .keyFile }}{{ $shown = append $shown (list "key" $.existingSecret .) }}{{ end }}
{{- toJson $shown }}
{{- end }}
