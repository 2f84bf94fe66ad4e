#!/bin/sh
# Makes the secrets of compose.yaml in deploy/secrets, those that are not there yet.
#
# Containers have users of their own, so the files can be read by all; the folder cannot be entered.
set -eu

cd "$(dirname "$0")/secrets"
chmod 700 .
umask 022

for name in api_key metrics_key database_password grafana_password; do
    [ -s "$name" ] || openssl rand -hex 32 >"$name"
done

# The service is told hashes of the keys alone.
for name in api_key metrics_key; do
    printf 'sha256:%s\n' "$(printf %s "$(cat $name)" | openssl dgst -sha256 -r | cut -d ' ' -f 1)"
done >rec_keys

# Where libpq finds the database, so that no command and no environment holds the password.
cat >rec_database <<END
[rec]
host=database
dbname=rec
user=rec
password=$(cat database_password)
END

echo "the API key is in deploy/secrets/api_key, Grafana's password in deploy/secrets/grafana_password"
