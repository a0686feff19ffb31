#!/bin/sh
# One of three machines with Redis and a sentinel: `sentinel.sh redis` and `sentinel.sh sentinel`. Who leads is what the
# sentinels say; at the very first start, when none says anything, it is the first peer. Two sentinels of three agree
# that a leader is gone, and choose another within seconds.
#
#   REDIS_PEERS      names or addresses of the three, separated by spaces
#   REDIS_ADDRESS    this one's
#   REDIS_PASSWORD   of Redis and of the sentinels
#   REDIS_FOLDER     where to write (/data)
#   REDIS_CONF       redis.conf (/etc/redis/redis.conf); REDIS_MAXMEMORY overrides its size
set -eu

folder=${REDIS_FOLDER:-/data}
port=${REDIS_PORT:-6379}
sentinel_port=${SENTINEL_PORT:-26379}
export REDISCLI_AUTH="$REDIS_PASSWORD"

leader() {
    for peer in $REDIS_PEERS; do
        found=$(timeout 2 redis-cli -h "$peer" -p "$sentinel_port" SENTINEL get-master-addr-by-name lms 2>/dev/null | head -n 1)
        case $found in "" | *" "*) ;; *) echo "$found" && return ;; esac
    done
    echo "${REDIS_PEERS%% *}"
}

leads=$(leader)
case $1 in
redis)
    mkdir -p "$folder"
    # Sentinels have Redis write into its configuration: into a copy of its own.
    cp "${REDIS_CONF:-/etc/redis/redis.conf}" "$folder/redis.conf"
    chmod u+w "$folder/redis.conf"
    set -- "$folder/redis.conf" --port "$port" --bind "${REDIS_BIND:-* -::*}" --dir "$folder" \
        --requirepass "$REDIS_PASSWORD" --masterauth "$REDIS_PASSWORD" --replica-announce-ip "$REDIS_ADDRESS" \
        --replica-announce-port "$port"
    [ -z "${REDIS_MAXMEMORY:-}" ] || set -- "$@" --maxmemory "$REDIS_MAXMEMORY"
    [ "$leads" = "$REDIS_ADDRESS" ] || set -- "$@" --replicaof "$leads" "$port"
    exec redis-server "$@"
    ;;
sentinel)
    # Sentinels rewrite their configuration as they learn; it begins anew with the machine.
    umask 077
    mkdir -p "$folder"
    cat >"$folder/sentinel.conf" <<EOF
port $sentinel_port
bind ${REDIS_BIND:-* -::*}
dir $folder
requirepass $REDIS_PASSWORD
sentinel sentinel-pass $REDIS_PASSWORD
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $REDIS_ADDRESS
sentinel announce-port $sentinel_port
sentinel monitor lms $leads $port 2
sentinel auth-pass lms $REDIS_PASSWORD
sentinel down-after-milliseconds lms ${SENTINEL_DOWN_MS:-5000}
sentinel failover-timeout lms 30000
sentinel parallel-syncs lms 1
EOF
    exec redis-server "$folder/sentinel.conf" --sentinel
    ;;
*)
    echo "sentinel.sh redis|sentinel" >&2
    exit 2
    ;;
esac
