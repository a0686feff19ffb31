#!/bin/sh
# Delete the log indices of days that lie more than LMS_LOG_RETENTION_DAYS (30) back. Run it once a day.
#   ELASTICSEARCH_URL [ELASTICSEARCH_USERNAME ELASTICSEARCH_PASSWORD] deploy/elasticsearch/retention.sh
set -eu
url=${ELASTICSEARCH_URL:-http://elasticsearch:9200}
days=${LMS_LOG_RETENTION_DAYS:-30}
case $days in
'' | *[!0-9]*) echo "LMS_LOG_RETENTION_DAYS must be a number of days, not '$days'." >&2 && exit 2 ;;
esac
oldest="lms-logs-$(date -u -d "-$days days" +%Y.%m.%d)"

elasticsearch() {
    if [ -n "${ELASTICSEARCH_USERNAME:-}" ]; then
        account=$(printf '%s:%s' "$ELASTICSEARCH_USERNAME" "$ELASTICSEARCH_PASSWORD" | sed 's/["\\]/\\&/g')
        printf 'user = "%s"\n' "$account" | curl -sS --config - "$@"
    else
        curl -sS "$@"
    fi
}

# Names of days compare as the days do.
indices=$(elasticsearch --fail-with-body "$url/_cat/indices/lms-logs-*?h=index" | sort)
for index in $indices; do
    case $index in
    lms-logs-[0-9][0-9][0-9][0-9].[0-9][0-9].[0-9][0-9])
        if [ "$(printf '%s\n%s\n' "$index" "$oldest" | sort | head -n 1)" = "$index" ] && [ "$index" != "$oldest" ]; then
            elasticsearch --fail-with-body -o /dev/null -X DELETE "$url/$index"
            echo "$index is deleted."
        fi
        ;;
    esac
done
