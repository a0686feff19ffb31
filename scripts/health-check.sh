#!/bin/sh
# Wait until LMS is healthy and say how each part does; exit with 1 when it is not after SECONDS.
#   scripts/health-check.sh [URL] [SECONDS]      from inside: every part; from outside: only the whole
set -eu
url=${1:-${LMS_URL:-http://127.0.0.1:8080}}
seconds=${2:-0}
until_second=$(($(date +%s) + seconds))
while :; do
    found=$(curl -sS --max-time 10 -w '\n%{http_code}' "$url/health" 2>&1) || true
    status=$(printf '%s\n' "$found" | tail -n 1)
    body=$(printf '%s\n' "$found" | sed '$d')
    if [ "$status" = 200 ] || [ "$(date +%s)" -ge "$until_second" ]; then break; fi
    sleep 1
done
printf '%s\n' "$body" | jq -r '
    "\(.status)",
    (.checks // {} | to_entries[] | "  \(.key): \(.value.status)\(
        if .value.latency_ms then ", \(.value.latency_ms) ms" else "" end)\(
        if .value.detail then ", \(.value.detail)" else "" end)")' 2>/dev/null ||
    printf '%s does not answer: %s\n' "$url" "$body"
[ "$status" = 200 ]
