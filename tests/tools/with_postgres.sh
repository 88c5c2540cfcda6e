#!/usr/bin/env bash
# with_postgres.sh COMMAND...: runs COMMAND beside a PostgreSQL of its own, on a socket in a temporary folder
# that goes with it. LATENTD_TEST_POSTGRES is what libpq connects with, as a superuser;
# LATENTD_TEST_POSTGRES_DIR is the folder: data in data/, the socket .s.PGSQL.5432 in it.
# LATENTD_TEST_POSTGRES_FSYNC=on: as in earnest, for measurements, which LATENTD_TEST_POSTGRES_SETTINGS (lines of
# postgresql.conf) may vary. Ends with 77 where there is no PostgreSQL.
set -euo pipefail

# Debian keeps the server's programs out of PATH.
bin=$(find /usr/lib/postgresql /usr/pgsql* -maxdepth 2 -name bin -type d 2>/dev/null | sort -V | tail -n 1 || true)
[ -x "$bin/initdb" ] || bin=$(dirname "$(command -v initdb || echo /nowhere/initdb)")
if ! [ -x "$bin/initdb" ] || ! [ -x "$bin/postgres" ]; then
	echo "SKIPPED: there is no PostgreSQL server here (Debian: apt-get install postgresql)"
	exit 77
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/latentd-pg.XXXXXX")
as=()
if [ "$(id -u)" -eq 0 ]; then # initdb refuses root
	as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
	chown nobody:nogroup "$dir"
	chmod 755 "$dir"
fi
if ! "${as[@]}" test -w "$dir"; then
	rmdir "$dir"
	echo "SKIPPED: user nobody, who would run PostgreSQL, cannot reach $dir"
	exit 77
fi
run()
{
	(cd "$dir" && "${as[@]}" env HOME="$dir" LC_ALL=C "$@")
}
finish()
{
	[ ! -e "$dir/data/postmaster.pid" ] ||
		run "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 143' TERM INT

run "$bin/initdb" -D "$dir/data" -U latentd -A trust -E UTF8 --no-locale --no-sync >"$dir/log" 2>&1 ||
	{ cat "$dir/log"; exit 1; }
fsync=${LATENTD_TEST_POSTGRES_FSYNC:-off}
cat >>"$dir/data/postgresql.conf" <<-END
	listen_addresses = ''
	unix_socket_directories = '$dir'
	fsync = $fsync
	full_page_writes = $fsync
	shared_buffers = 128MB
	max_wal_size = 2GB
	${LATENTD_TEST_POSTGRES_SETTINGS:-}
	log_min_messages = warning
	log_min_error_statement = panic
END
run "$bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -t 180 start >/dev/null || { cat "$dir/server.log"; exit 1; }

# Not exec: the server ends after the command.
status=0
LATENTD_TEST_POSTGRES="host=$dir user=latentd dbname=postgres" LATENTD_TEST_POSTGRES_DIR=$dir \
	LATENTD_TEST_POSTGRES_BIN=$bin "$@" || status=$?
[ "$status" -eq 0 ] || tail -n 20 "$dir/server.log"
exit "$status"
