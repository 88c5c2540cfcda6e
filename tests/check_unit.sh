#!/usr/bin/env bash
# check_unit.sh ROOT BUILD: systemd reads the unit without a complaint; with the built program in the place of the
# installed one, and without the manual pages, which are not installed here. 77: there is no systemd-analyze.
set -euo pipefail

root=$1 build=$2
if ! command -v systemd-analyze >/dev/null; then
	echo 'SKIPPED: there is no systemd-analyze here'
	exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sed -e "s|/usr/bin/latentd|$build/daemon/latentd|" -e '/^Documentation=/d' \
	"$root/systemd/latentd.service" >"$folder/latentd.service"
said=$(systemd-analyze verify "$folder/latentd.service" 2>&1 | grep -F latentd.service) || true
if [ -n "$said" ]; then
	printf '%s\n' "$said"
	exit 1
fi
# And it does complain of what is wrong.
echo 'WatchdogSex=60' >>"$folder/latentd.service"
systemd-analyze verify "$folder/latentd.service" 2>&1 | grep -qF WatchdogSex
