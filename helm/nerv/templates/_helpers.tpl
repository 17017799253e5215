{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{- define "nerv.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "nerv.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: {{ .Values.mesh }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "nerv.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "nerv.image" -}}
{{- with .Values.image }}{{ if .registry }}{{ .registry }}/{{ end }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "nerv.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "nerv.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{/* What every process of the mesh is told: where Kafka and Redis are, and who it is. Secrets come as files. */}}
{{- define "nerv.environment" -}}
- name: NERV_MESH
  value: {{ .Values.mesh | quote }}
- name: NERV_PARTITIONS
  value: {{ .Values.partitions | quote }}
{{- with .Values.app }}
- name: NERV_APP
  value: {{ . | quote }}
{{- end }}
- name: NERV_KAFKA__BOOTSTRAP_SERVERS
  value: {{ .Values.externalKafka.bootstrapServers | quote }}
- name: NERV_KAFKA__SECURITY_PROTOCOL
  value: {{ .Values.externalKafka.securityProtocol | quote }}
{{- if hasPrefix "SASL" .Values.externalKafka.securityProtocol }}
- name: NERV_KAFKA__SASL_MECHANISM
  value: {{ .Values.externalKafka.saslMechanism | quote }}
- name: NERV_KAFKA__SASL_USERNAME
  value: {{ .Values.externalKafka.saslUsername | quote }}
- name: NERV_KAFKA__SASL_PASSWORD_FILE
  value: /etc/nerv/kafka/sasl-password
{{- end }}
{{- with .Values.externalKafka.caFile }}
- name: NERV_KAFKA__SSL_CA_FILE
  value: /etc/nerv/kafka/{{ . }}
{{- end }}
- name: NERV_REDIS__URL
  value: {{ .Values.externalRedis.url | quote }}
{{- with .Values.externalRedis.username }}
- name: NERV_REDIS__USERNAME
  value: {{ . | quote }}
{{- end }}
{{- if .Values.externalRedis.existingSecret }}
- name: NERV_REDIS__PASSWORD_FILE
  value: /etc/nerv/redis/redis-password
{{- end }}
{{- end }}

{{- define "nerv.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.auth.existingSecret }}
- name: auth
  mountPath: /etc/nerv/auth
  readOnly: true
{{- end }}
{{- if .Values.externalKafka.existingSecret }}
- name: kafka
  mountPath: /etc/nerv/kafka
  readOnly: true
{{- end }}
{{- if .Values.externalRedis.existingSecret }}
- name: redis
  mountPath: /etc/nerv/redis
  readOnly: true
{{- end }}
{{- end }}

{{- define "nerv.volumes" -}}
- name: tmp
  emptyDir: {}
{{- range $name, $secret := dict "auth" .Values.auth.existingSecret "kafka" .Values.externalKafka.existingSecret "redis" .Values.externalRedis.existingSecret }}
{{- if $secret }}
- name: {{ $name }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- end }}
