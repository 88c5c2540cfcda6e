#!/usr/bin/env bash
# with_pooler.sh COMMAND...: as with_postgres.sh does, within which it is to run, and through a pgbouncer in transaction mode, whose
# connections change hands after each transaction. Ends with 77 where there is none.
set -euo pipefail

PATH=$PATH:/usr/sbin
if ! command -v pgbouncer >/dev/null; then
	echo "SKIPPED: there is no pgbouncer here (Debian: apt-get install pgbouncer)"
	exit 77
fi
dir=$LATENTD_TEST_POSTGRES_DIR/pooler
as=()
mkdir "$dir"
echo '"latentd" ""' >"$dir/users"
cat >"$dir/ini" <<-END
	[databases]
	postgres = host=$LATENTD_TEST_POSTGRES_DIR
	[pgbouncer]
	listen_addr =
	listen_port = 6432
	unix_socket_dir = $dir
	auth_type = trust
	auth_file = $dir/users
	pool_mode = transaction
	default_pool_size = 4
END
if [ "$(id -u)" -eq 0 ]; then # pgbouncer refuses root
	as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
	chown nobody:nogroup "$dir"
	chmod 755 "$dir"
fi
"${as[@]}" pgbouncer "$dir/ini" >"$dir/log" 2>&1 &
pooler=$!
trap 'kill $pooler 2>/dev/null || true' EXIT
until [ -S "$dir/.s.PGSQL.6432" ]; do
	kill -0 $pooler 2>/dev/null || { cat "$dir/log"; exit 1; }
done
LATENTD_TEST_POSTGRES="host=$dir port=6432 user=latentd dbname=postgres" "$@"
