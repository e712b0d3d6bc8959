{{/* The name that everything of a release begins with. */}}
{{- define "entrepot.name" -}}
{{- if contains "entrepot" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-entrepot" (.Release.Name | trunc 40 | trimSuffix "-") }}{{ end }}
{{- end }}

{{/* What selects the pods of a part of it: a list of the root and the part's name. */}}
{{- define "entrepot.selector" -}}
app.kubernetes.io/name: entrepot
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "entrepot.labels" -}}
{{ include "entrepot.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/part-of: entrepot
{{- end }}

{{- define "entrepot.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "entrepot.secret" -}}
{{ .Values.secrets.existing | default (include "entrepot.name" .) }}
{{- end }}

{{- define "entrepot.publicUrl" -}}
{{- if .Values.publicUrl }}{{ .Values.publicUrl }}
{{- else if .Values.ingress.enabled }}{{ if .Values.ingress.tlsSecret }}https{{ else }}http{{ end }}://{{ .Values.ingress.host }}
{{- end }}
{{- end }}

{{/* What is not secret, as variables. */}}
{{- define "entrepot.variables" -}}
ENTREPOT_CONFIG: /etc/entrepot/config.toml
{{- if .Values.postgresql.enabled }}
DBHOST: {{ include "entrepot.name" . }}-postgresql
DBPORT: "5432"
{{- else }}
DBHOST: {{ required "database.host: the chart's own PostgreSQL is switched off (postgresql.enabled), so say where yours is" .Values.database.host | quote }}
DBPORT: {{ .Values.database.port | quote }}
{{- end }}
DBNAME: {{ .Values.database.name | quote }}
DBUSER: {{ .Values.database.user | quote }}
{{- if .Values.s3.enabled }}
MINIO_ENDPOINT: {{ include "entrepot.name" . }}-s3:9000
MINIO_SECURE: "false"
{{- else }}
MINIO_ENDPOINT: {{ required "objects.endpoint: the chart's own S3 server is switched off (s3.enabled), so say where yours is (host:port)" .Values.objects.endpoint | quote }}
MINIO_SECURE: {{ .Values.objects.secure | quote }}
{{- end }}
MINIO_BUCKET: {{ .Values.objects.bucket | quote }}
{{- end }}

{{/* The server's configuration file. */}}
{{- define "entrepot.config" -}}
[server]
listen = "0.0.0.0:8080"
public_url = {{ include "entrepot.publicUrl" . | quote }}
trusted_proxies = {{ .Values.trustedProxies | toJson }}

[limits]
max_upload_bytes = {{ mul .Values.bodyLimitGiB 1073741824 }}

[log]
format = "json"
{{- with .Values.config }}

{{ . | trim }}
{{- end }}
{{- end }}

{{/* A secret that somebody must choose: a list of the root, its value and what it is. Where a cluster can be seen it must be there; what is only
rendered (`helm template`, `helm lint`) gets a word in its place with which no server starts. */}}
{{- define "entrepot.chosen" -}}
{{- $root := index . 0 -}}
{{- if index . 1 }}{{ index . 1 }}
{{- else if lookup "v1" "Secret" $root.Release.Namespace "" }}{{ fail (printf "%s; or name a Secret of yours in secrets.existing" (index . 2)) }}
{{- else }}CHANGE-ME
{{- end }}
{{- end }}

{{/* What is secret, as variables. */}}
{{- define "entrepot.secrets" -}}
{{- $secrets := .Values.secrets -}}
ENTREPOT_MASTER_KEY: {{ include "entrepot.chosen" (list . $secrets.masterKey "secrets.masterKey: 64 hexadecimal characters (openssl rand -hex 32 makes some)") | quote }}
ENTREPOT_ADMIN_PASSWORD: {{ include "entrepot.chosen" (list . $secrets.adminPassword "secrets.adminPassword: the first password of the user admin") | quote }}
DBPASS: {{ include "entrepot.chosen" (list . $secrets.databasePassword "secrets.databasePassword: the password of the database") | quote }}
MINIO_ACCESS_KEY: {{ include "entrepot.chosen" (list . $secrets.s3AccessKey "secrets.s3AccessKey: the access key of the S3 server") | quote }}
MINIO_SECRET_KEY: {{ include "entrepot.chosen" (list . $secrets.s3SecretKey "secrets.s3SecretKey: the secret key of the S3 server") | quote }}
{{- if .Values.redis.enabled }}
{{- $password := include "entrepot.chosen" (list . $secrets.redisPassword "secrets.redisPassword: a password for the chart's own Redis") }}
REDIS_PASSWORD: {{ $password | quote }}
REDIS_URL: {{ printf "redis://:%s@%s-redis:6379/0" ($password | urlquery | replace "+" "%20") (include "entrepot.name" .) | quote }}
{{- else if .Values.redis.url }}
REDIS_URL: {{ .Values.redis.url | quote }}
{{- end }}
{{- end }}

{{/* What the server's process may do: nothing but its work. The user's number. */}}
{{- define "entrepot.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "entrepot.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
