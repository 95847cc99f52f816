{{- define "barnabas.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 50 characters, so that names made of it stay within 63. The release `barnabas` needs no
second `barnabas` in its names. */}}
{{- define "barnabas.fullname" -}}
{{- $name := include "barnabas.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else if hasPrefix (printf "%s-" .Release.Name) $name -}}
{{- $name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Cluster-wide objects carry the namespace too: releases of one name may coexist. */}}
{{- define "barnabas.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "barnabas.fullname" .) -}}
{{- end -}}

{{- define "barnabas.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "barnabas.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "barnabas.selector" -}}
app.kubernetes.io/name: {{ include "barnabas.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "barnabas.labels" -}}
{{ include "barnabas.selector" . }}
app.kubernetes.io/part-of: barnabas
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image of {image: .Values.image, version: .Chart.AppVersion}. */}}
{{- define "barnabas.image" -}}
{{- $name := .image.repository -}}
{{- with .image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.image.tag | default .version) -}}
{{- end -}}
{{- end -}}

{{- define "barnabas.operatorImage" -}}
{{- include "barnabas.image" (dict "image" .Values.image "version" .Chart.AppVersion) -}}
{{- end -}}

{{- define "barnabas.brokerImage" -}}
{{- include "barnabas.image" (dict "image" .Values.brokerImage "version" .Chart.AppVersion) -}}
{{- end -}}

{{/* Not empty where the operator reads nodes and storage classes. */}}
{{- define "barnabas.global" -}}
{{- if kindIs "bool" .Values.rbac.global -}}
{{- if .Values.rbac.global }}true{{ end -}}
{{- else if not .Values.watchNamespaces -}}
true
{{- end -}}
{{- end -}}

{{- define "barnabas.aggregate" -}}
{{- if kindIs "bool" .Values.rbac.aggregate -}}
{{- if .Values.rbac.aggregate }}true{{ end -}}
{{- else if not .Values.watchNamespaces -}}
true
{{- end -}}
{{- end -}}

{{/* What the operator does where it looks after clusters; the same for a Role and a ClusterRole. */}}
{{- define "barnabas.rules" -}}
- apiGroups: [barnabas.dev]
  resources: [kafkaclusters, topics]
  verbs: [get, list, watch, update, patch]
- apiGroups: [barnabas.dev]
  resources: [kafkaclusters/status, topics/status]
  verbs: [get, update, patch]
# An owner that blocks deletion may be named only by who may write its finalizers.
- apiGroups: [barnabas.dev]
  resources: [kafkaclusters/finalizers, topics/finalizers]
  verbs: [update]
# Whether the namespace is being deleted; a Role gives it for its own.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts]
  verbs: [get, list, watch, create, update, patch, delete]
# What brokers prove to each other is made once, and never read, changed or deleted.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [pods, persistentvolumeclaims]
  verbs: [get, list, watch, update, patch, delete]
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
