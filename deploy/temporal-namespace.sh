#!/bin/sh
# Makes the namespace, if Temporal at $TEMPORAL_ADDRESS has none of that name, and waits until it can be used.
set -eu

temporal operator namespace describe --namespace "$NAMESPACE" >/dev/null 2>&1 ||
    temporal operator namespace create --namespace "$NAMESPACE" --retention "$RETENTION"

# Servers learn of a new namespace after a few seconds.
tries=0
until temporal workflow list --namespace "$NAMESPACE" --limit 1 >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || { echo "the namespace $NAMESPACE cannot be used" >&2; exit 1; }
    sleep 1
done
