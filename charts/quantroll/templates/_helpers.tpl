{{- define "quantroll.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "quantroll.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "quantroll.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "quantroll.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "quantroll.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "quantroll.selectorLabels" -}}
app.kubernetes.io/name: {{ include "quantroll.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "quantroll.labels" -}}
{{ include "quantroll.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* An image's reference, from (list CONTEXT IMAGE): the digest where there is one, else the tag. */}}
{{- define "quantroll.image" -}}
{{- $context := index . 0 }}
{{- $image := index . 1 }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository (default $context.Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{- /* What the operator may do in each namespace that it serves. */}}
{{- define "quantroll.rules" -}}
# read what users declare
- apiGroups: [quantroll.io]
  resources: [quantizedmodels]
  verbs: [get, list, watch]
# write what was decided; the spec stays the user's
- apiGroups: [quantroll.io]
  resources: [quantizedmodels/status]
  verbs: [update]
# prepare, quantize, evaluate
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# one for each revision
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# one for each revision, and the stable one
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
# the artifact claim; never deleted by the operator
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
# the traffic split
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch]
# why a pod does not get on, and the report of a Job
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# tell the user, and count what is told again
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}
