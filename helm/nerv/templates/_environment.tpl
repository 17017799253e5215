{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* What a process of the mesh is told: who it is, where Kafka and Redis are. Secrets come as files. Takes .root and .with. */}}
{{- define "nerv.environment" -}}
- name: NERV_MESH
  value: {{ .with.mesh | quote }}
- name: NERV_PARTITIONS
  value: {{ .with.partitions | quote }}
{{- with .with.app }}
- name: NERV_APP
  value: {{ . | quote }}
{{- end }}
{{- with .with.externalKafka }}
- name: NERV_KAFKA__BOOTSTRAP_SERVERS
  value: {{ .bootstrapServers | quote }}
- name: NERV_KAFKA__SECURITY_PROTOCOL
  value: {{ .securityProtocol | quote }}
{{- if hasPrefix "SASL" .securityProtocol }}
- name: NERV_KAFKA__SASL_MECHANISM
  value: {{ .saslMechanism | quote }}
- name: NERV_KAFKA__SASL_USERNAME
  value: {{ .saslUsername | quote }}
- name: NERV_KAFKA__SASL_PASSWORD_FILE
  value: /etc/nerv/kafka/{{ .passwordFile }}
{{- end }}
{{- include "nerv.tls" (dict "with" . "kind" "kafka") }}
{{- end }}
{{- with .with.externalRedis }}
- name: NERV_REDIS__URL
  value: {{ .url | quote }}
{{- with .username }}
- name: NERV_REDIS__USERNAME
  value: {{ . | quote }}
{{- end }}
{{- if and .existingSecret .passwordFile }}
- name: NERV_REDIS__PASSWORD_FILE
  value: /etc/nerv/redis/{{ .passwordFile }}
{{- end }}
{{- include "nerv.tls" (dict "with" . "kind" "redis") }}
{{- end }}
{{- with .with.telemetry.otlpEndpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Certificates towards Kafka or Redis. Takes .with and .kind. */}}
{{- define "nerv.tls" -}}
{{- if .with.caFile }}
- name: NERV_{{ upper .kind }}__SSL_CA_FILE
  value: /etc/nerv/{{ .kind }}{{ if .with.caSecret }}-ca{{ end }}/{{ .with.caFile }}
{{- end }}
{{- if .with.certificateFile }}
- name: NERV_{{ upper .kind }}__SSL_CERTIFICATE_FILE
  value: /etc/nerv/{{ .kind }}/{{ .with.certificateFile }}
- name: NERV_{{ upper .kind }}__SSL_KEY_FILE
  value: /etc/nerv/{{ .kind }}/{{ .with.keyFile }}
{{- end }}
{{- end }}

{{/* Where the services are, and by which token one speaks to another. Takes .root and .with. */}}
{{- define "nerv.peers" -}}
{{- range $peer, $_ := include "nerv.services" .root | fromJson }}
- name: NERV_SERVICES__{{ upper $peer }}
  value: "http://{{ include "nerv.name" $.root }}-{{ $peer }}:8080"
{{- end }}
{{- if .with.auth.existingSecret }}
- name: NERV_CLIENT__TOKEN_FILE
  value: /etc/nerv/auth/client-token
{{- end }}
{{- end }}

{{/* How a service serves: who it is, its ports, who may come in. Takes .root and .with. */}}
{{- define "nerv.serving" -}}
- name: NERV_INSTANCE
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: NERV_POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: NERV_HTTP__HOST
  value: "0.0.0.0"
- name: NERV_HTTP__PORT
  value: "8080"
- name: NERV_HTTP__ADVERTISE
  value: "http://$(NERV_POD_IP):8080"
- name: NERV_HEALTH__HOST
  value: "0.0.0.0"
- name: NERV_HEALTH__PORT
  value: "9090"
- name: NERV_DATA_DIR
  value: /var/lib/nerv
{{- if .with.auth.existingSecret }}
- name: NERV_AUTH__TOKENS_FILE
  value: /etc/nerv/auth/tokens.json
{{- end }}
{{- with .with.auth.jwksUrl }}
- name: NERV_AUTH__JWKS_URL
  value: {{ . | quote }}
- name: NERV_AUTH__ISSUER
  value: {{ $.with.auth.issuer | quote }}
- name: NERV_AUTH__AUDIENCE
  value: {{ $.with.auth.audience | quote }}
{{- end }}
{{- end }}

{{/* The Secrets that a pod mounts, by the name of the folder under /etc/nerv. Takes .with. */}}
{{- define "nerv.secrets" -}}
{{- $found := dict }}
{{- $kafka := .with.externalKafka }}
{{- $redis := .with.externalRedis }}
{{- range $name, $secret := dict "auth" .with.auth.existingSecret "kafka" $kafka.existingSecret "redis" $redis.existingSecret
      "kafka-ca" (ternary $kafka.caSecret "" (ne $kafka.caFile "")) "redis-ca" (ternary $redis.caSecret "" (ne $redis.caFile "")) }}
{{- if $secret }}{{ $_ := set $found $name $secret }}{{ end }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{- define "nerv.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- range $name, $_ := include "nerv.secrets" . | fromJson }}
- name: {{ $name }}
  mountPath: /etc/nerv/{{ $name }}
  readOnly: true
{{- end }}
{{- end }}

{{- define "nerv.volumes" -}}
- name: tmp
  emptyDir: {}
{{- range $name, $secret := include "nerv.secrets" . | fromJson }}
- name: {{ $name }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
{{- end }}
{{- end }}
