#!/bin/sh
# A database and a role of its own for each service, and Temporal's. Runs as often as you like: what is
# there stays, passwords are set to what the files say. Needs psql and PGHOST, PGUSER and PGPASSFILE of an
# administrator; in $SECRETS lies ROLE.password for each role.
set -eu

for pair in \
    placet_approval:placet_approval \
    placet_audit:placet_audit \
    placet_decision:placet_decision \
    placet_notification:placet_notification \
    temporal:temporal \
    temporal_visibility:temporal
do
    PASSWORD=$(cat "$SECRETS/${pair#*:}.password")
    export PASSWORD
    psql --no-psqlrc --quiet --dbname=postgres \
        --set=ON_ERROR_STOP=1 --set=database="${pair%:*}" --set=role="${pair#*:}" <<'SQL'
-- From the environment, so that no list of processes shows it.
\getenv password PASSWORD
SELECT format('CREATE ROLE %I', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD %L', :'role', :'password') \gexec
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', :'database') \gexec
SQL
done
