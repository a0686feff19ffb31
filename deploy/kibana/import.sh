#!/bin/sh
# Bring the saved searches and the picture of the errors into Kibana; what has the same id is replaced.
#   KIBANA_URL [ELASTICSEARCH_USERNAME ELASTICSEARCH_PASSWORD] deploy/kibana/import.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
url=${KIBANA_URL:-http://kibana:5601}

kibana() {
    if [ -n "${ELASTICSEARCH_USERNAME:-}" ]; then
        account=$(printf '%s:%s' "$ELASTICSEARCH_USERNAME" "$ELASTICSEARCH_PASSWORD" | sed 's/["\\]/\\&/g')
        printf 'user = "%s"\n' "$account" | curl -sS --config - "$@"
    else
        curl -sS "$@"
    fi
}

answer=$(kibana --fail-with-body --retry 30 --retry-delay 2 --retry-all-errors -H 'kbn-xsrf: true' \
    -F "file=@$here/saved-objects.ndjson;type=application/ndjson" "$url/api/saved_objects/_import?overwrite=true")
case $answer in
*'"success":true'*) echo "The saved searches are in Kibana." ;;
*) echo "Kibana did not take everything: $answer" >&2 && exit 1 ;;
esac
