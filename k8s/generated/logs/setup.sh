#!/bin/sh
# Put the index template of the logs, before Filebeat writes the first line; harmless to repeat.
#   ELASTICSEARCH_URL [ELASTICSEARCH_USERNAME ELASTICSEARCH_PASSWORD] deploy/elasticsearch/setup.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
url=${ELASTICSEARCH_URL:-http://elasticsearch:9200}

elasticsearch() {
    if [ -n "${ELASTICSEARCH_USERNAME:-}" ]; then
        account=$(printf '%s:%s' "$ELASTICSEARCH_USERNAME" "$ELASTICSEARCH_PASSWORD" | sed 's/["\\]/\\&/g')
        printf 'user = "%s"\n' "$account" | curl -sS --config - "$@"
    else
        curl -sS "$@"
    fi
}

elasticsearch --fail-with-body --retry 30 --retry-delay 2 --retry-all-errors -o /dev/null \
    "$url/_cluster/health?wait_for_status=yellow&timeout=30s"
elasticsearch --fail-with-body -o /dev/null -X PUT "$url/_index_template/lms-logs" \
    -H 'Content-Type: application/json' --data-binary "@$here/index-template.json"
echo "The index template lms-logs is in place."
