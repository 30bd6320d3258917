{{- define "hairpin.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Labels of every object: (dict "part" NAME "context" $) */}}
{{- define "hairpin.labels" -}}
app: {{ .part }}
app.kubernetes.io/name: {{ .part }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
app.kubernetes.io/part-of: hairpin
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version }}
{{- end }}

{{/* The mesh's own pods are never captured. */}}
{{- define "hairpin.uncaptured" -}}
istio.io/dataplane-mode: none
sidecar.istio.io/inject: "false"
{{- end }}

{{- define "hairpin.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Scheduling of a part: (dict "part" .Values.x) */}}
{{- define "hairpin.scheduling" -}}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .part.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .part.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Environment of every part. */}}
{{- define "hairpin.environment" -}}
- { name: LOG_LEVEL, value: {{ .Values.log.level | quote }} }
- { name: LOG_FORMAT, value: {{ .Values.log.format | quote }} }
- { name: CLUSTER_ID, value: {{ .Values.mesh.clusterId | quote }} }
- { name: CLUSTER_DOMAIN, value: {{ .Values.mesh.clusterDomain | quote }} }
- { name: TRUST_DOMAIN, value: {{ .Values.mesh.trustDomain | quote }} }
- { name: NETWORK, value: {{ .Values.mesh.network | quote }} }
- { name: POD_NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
- { name: POD_NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
- { name: INSTANCE_IP, valueFrom: { fieldRef: { fieldPath: status.podIP } } }
- { name: NODE_NAME, valueFrom: { fieldRef: { fieldPath: spec.nodeName } } }
- { name: SERVICE_ACCOUNT, valueFrom: { fieldRef: { fieldPath: spec.serviceAccountName } } }
{{- end }}

{{- define "hairpin.heap" -}}
- { name: NODE_OPTIONS, value: {{ printf "--max-old-space-size=%d" (int .) | quote }} }
{{- end }}

{{- define "hairpin.locked" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 1337
runAsGroup: 1337
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* The node's CNI folders, by platform: (include "hairpin.cniBinDir" .) and so on. */}}
{{- define "hairpin.cniBinDir" -}}
{{- $known := dict "gke" "/home/kubernetes/bin" "k3s" "/var/lib/rancher/k3s/data/cni" "microk8s" "/var/snap/microk8s/current/opt/cni/bin" "openshift" "/var/lib/cni/bin" -}}
{{ .Values.capture.cniBinDir | default (get $known .Values.platform) | default "/opt/cni/bin" }}
{{- end }}
{{- define "hairpin.cniConfDir" -}}
{{- $known := dict "k3s" "/var/lib/rancher/k3s/agent/etc/cni/net.d" "microk8s" "/var/snap/microk8s/current/args/cni-network" "openshift" "/etc/cni/multus/net.d" -}}
{{ .Values.capture.cniConfDir | default (get $known .Values.platform) | default "/etc/cni/net.d" }}
{{- end }}
