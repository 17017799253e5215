{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/* Names, labels, and what pods share. */}}
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
{{- with .Values.image }}{{ if .registry }}{{ .registry }}/{{ end }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{/* The services that are installed, each with its values: the chart's, overlaid by those of its own section. Variables are
     not overlaid: it has those of all and its own. */}}
{{- define "nerv.services" -}}
{{- $found := dict }}
{{- range $service, $own := .Values.services }}
{{- $with := mergeOverwrite (deepCopy (omit $.Values "services" "global" "extraEnvVars" "extraDeploy" "topics")) (deepCopy ($own | default dict)) }}
{{- $_ := set $with "extraEnvVars" (concat $.Values.extraEnvVars (($own | default dict).extraEnvVars | default list)) }}
{{- if $with.enabled }}{{ $_ := set $found $service $with }}{{ end }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{/* The values of the job that makes the topics: those of all, overlaid by `topics`. */}}
{{- define "nerv.topicsJob" -}}
{{- $with := omit (deepCopy .Values) "services" "global" "extraDeploy" }}
{{- $_ := set $with.auth "existingSecret" "" }}{{- /* it asks no service */}}
{{- $_ := set $with "externalKafka" (mergeOverwrite $with.externalKafka $with.topics.externalKafka) }}
{{- $_ := set $with "extraEnvVars" (concat $with.extraEnvVars $with.topics.extraEnvVars) }}
{{- toJson $with }}
{{- end }}

{{/* Takes .root, .with (values) and .component. */}}
{{- define "nerv.serviceAccount" -}}
{{- .with.serviceAccount.name | default (ternary (printf "%s-%s" (include "nerv.name" .root) .component) "default" .with.serviceAccount.create) }}
{{- end }}

{{/* Of every pod, whatever runs in it. Takes .root and .with. */}}
{{- define "nerv.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .with.podSecurityContext | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .with.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .with.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .with.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .with.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* A probe of the health port. Takes .probe and .path. */}}
{{- define "nerv.probe" -}}
httpGet: {path: {{ .path }}, port: health}
periodSeconds: {{ int .probe.periodSeconds }}
timeoutSeconds: {{ int .probe.timeoutSeconds }}
failureThreshold: {{ int .probe.failureThreshold }}
{{- end }}
