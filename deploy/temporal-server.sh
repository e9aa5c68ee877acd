#!/bin/sh
# Starts the Temporal server with its database password from PASSWORD_FILE; the image reads no file itself.
set -eu

POSTGRES_PWD=$(cat "$PASSWORD_FILE")
export POSTGRES_PWD
exec /etc/temporal/entrypoint.sh
