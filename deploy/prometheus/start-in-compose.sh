#!/bin/sh
# Start Prometheus in compose, with what there is to scrape: targets/compose, and what is asked from outside.
#
# LMS_DOMAIN is the name that people open. Where there is one, the probe goes their way, by that name and TLS through nginx,
# and the certificate is watched. Where there is none (a laptop), nothing asks for a name either: the probe goes to the
# gateway, and nobody's browser trusts the placeholder that stands in for a certificate.
set -eu
from=${LMS_TARGETS_FROM:-/etc/lms/targets}
to=${LMS_TARGETS_TO:-/etc/prometheus/targets}
domain=${LMS_DOMAIN:-}

case $domain in
*[!A-Za-z0-9.-]*)
    echo "Prometheus cannot start: LMS_DOMAIN is \"$domain\"; correct the variable and start again." >&2
    exit 1
    ;;
# In a container that is the container itself.
localhost) domain="" ;;
esac

asked() { printf '%s\n' "- targets: [\"$1\"]" '  labels: {__blackbox__: "blackbox-exporter:9115"}'; }

# Links, so that a target which is added to a file is seen by a Prometheus that runs.
rm -f "$to"/*.yml
for file in "$from"/*.yml; do ln -s "$file" "$to/${file##*/}"; done
# Who has put a file of his own there knows better.
written() { [ -e "$to/$1.yml" ] || asked "$2" >"$to/$1.yml"; }
if [ -n "$domain" ]; then
    written probe "https://$domain/readyz"
    written certificate "$domain:443"
else
    written probe http://gateway:8000/readyz
fi
exec prometheus "$@"
