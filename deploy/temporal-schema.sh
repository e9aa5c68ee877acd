#!/bin/sh
# Brings Temporal's two databases to the schema of the server's version. Runs as often as you like.
# Needs POSTGRES_SEEDS, DB_PORT, POSTGRES_USER, and the password in PASSWORD_FILE.
set -eu

SQL_PASSWORD=$(cat "$PASSWORD_FILE")
export SQL_PASSWORD

migrate() { # migrate DATABASE FOLDER
    sql_tool() {
        temporal-sql-tool --plugin postgres12 --ep "$POSTGRES_SEEDS" -p "$DB_PORT" \
            -u "$POSTGRES_USER" --db "$database" "$@"
    }
    database=$1
    sql_tool setup-schema -v 0.0
    sql_tool update-schema -d "/etc/temporal/schema/postgresql/v12/$2/versioned"
}

migrate temporal temporal
migrate temporal_visibility visibility
