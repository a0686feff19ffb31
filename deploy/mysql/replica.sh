#!/bin/bash
# Run once, when the replica's data folder is made: take over what the primary has, and follow it from there on.
# Docker's entrypoint runs it while the server listens to its socket alone. The binary logs of the primary go back a week, so
# that the replica begins with a dump, and not with the first event.
set -euo pipefail

: "${MYSQL_PRIMARY:?}" "${MYSQL_ROOT_PASSWORD:?}" "${MYSQL_REPLICATION_PASSWORD:?}"
export MYSQL_PWD="$MYSQL_ROOT_PASSWORD"

mysql -uroot <<'SQL'
RESET BINARY LOGS AND GTIDS;
SQL
mysqldump -h "$MYSQL_PRIMARY" -uroot --all-databases --single-transaction --routines --triggers --events \
    --set-gtid-purged=ON --flush-privileges | mysql -uroot
mysql -uroot <<SQL
CHANGE REPLICATION SOURCE TO
    SOURCE_HOST = '$MYSQL_PRIMARY', SOURCE_USER = 'lms_replication', SOURCE_PASSWORD = '$MYSQL_REPLICATION_PASSWORD',
    SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 10;
SQL
