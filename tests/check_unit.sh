#!/usr/bin/env bash
# check_unit.sh ROOT BUILD: systemd reads the units without a complaint; with the built programs in the place of the installed
# ones, and without the manual pages, which are not installed here. 77: there is no systemd-analyze.
set -euo pipefail

root=$1 build=$2
if ! command -v systemd-analyze >/dev/null; then
	echo 'SKIPPED: there is no systemd-analyze here'
	exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for unit in "$build"/systemd/*.service "$root"/systemd/*.socket; do
	sed -e "s|/usr/bin/|$build/daemon/|" -e '/^Documentation=/d' "$unit" >"$folder/${unit##*/}"
done
mkdir "$folder/latentd.service.d"
cp "$root/systemd/cuda.conf" "$folder/latentd.service.d"
# complaints UNIT: what systemd says of our own units.
complaints()
{
	SYSTEMD_UNIT_PATH=$folder: systemd-analyze verify "$folder/$1" 2>&1 | grep -E 'latentd|cuda\.conf' || true
}
for unit in latentd.service latentd@one.service latentd.socket; do
	said=$(complaints "$unit")
	if [ -n "$said" ]; then
		printf '%s\n' "$said"
		exit 1
	fi
done
# And it does complain of what is wrong.
echo 'WatchdogSex=60' >>"$folder/latentd.service"
complaints latentd.service | grep -qF WatchdogSex
