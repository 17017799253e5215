{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* Who calls a service: its own replicas, which forward to the owner of a partition, and services that stand on it. Tasks of the
     scheduler are given a client of the whole mesh; `test` is helm test. Takes the service. */}}
{{- define "nerv.policy.callers" -}}
{{- get (dict
  "broker" (list "broker" "scheduler" "test")
  "temporal" (list "broker" "projector" "scheduler" "sync" "temporal" "test")
  "projector" (list "projector" "scheduler" "test")
  "sync" (list "scheduler" "sync")
  "scheduler" (list "broker" "scheduler")) . | toJson }}
{{- end }}

{{/* Pods of this release by component. Takes .root and .names. */}}
{{- define "nerv.policy.peers" -}}
- podSelector:
    matchLabels:
      {{- include "nerv.selector" .root | nindent 6 }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: [{{ join ", " .names }}]}
{{- end }}

{{/* The port of a URL, or the one that its scheme has. */}}
{{- define "nerv.policy.port" -}}
{{- $url := urlParse . }}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (get (dict "redis" "6379" "rediss" "6379" "http" "80" "https" "443") $url.scheme) }}
{{- end }}

{{/* A way out to a port. Takes .port and .with (to, ports). */}}
{{- define "nerv.policy.out" -}}
- ports: [{port: {{ .port }}}]
  {{- with .with.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The way to Kafka. Takes values. */}}
{{- define "nerv.policy.kafka" -}}
{{- $ports := .networkPolicy.kafka.ports }}
{{- if not $ports }}
{{- $ports = list }}
{{- range splitList "," .externalKafka.bootstrapServers }}{{ $ports = append $ports (regexFind "[0-9]+$" (trim .)) }}{{ end }}
{{- end }}
- ports:
    {{- range uniq $ports }}
    - {port: {{ int . }}}
    {{- end }}
  {{- with .networkPolicy.kafka.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
