#!/usr/bin/env bash
# check_scripts.sh ROOT: every shell script of the tree is one to the shell that its first line names, and to shellcheck, where
# that is here.
set -euo pipefail

root=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# scripts FOLDER: paths below it, each after the shell it is for; what is built is not ours.
scripts()
{
	# shellcheck disable=SC2016 # $0 is awk's
	find "$1" \( -name .git -o -name 'build*' \) -prune -o -type f -size -1024k -print0 |
		xargs -0 awk 'FNR == 1 && match($0, /^#!.*[\/ ](ba|da)?sh( |$)|^# shellcheck shell=/) {
			printf "%s\t%s\n", /bash/ ? "bash" : "sh", FILENAME } FNR == 1 { nextfile }' | LC_ALL=C sort
}

# What is only called by `trap` counts as unreachable to shellcheck (SC2317, SC2329).
complaints() # SHELL FILE
{
	"$1" -n "$2" 2>&1 || true
	[ ! "$shellcheck" ] || shellcheck -x -P "$root" -e SC2317,SC2329 -f gcc "$2" || true
}

shellcheck=$(command -v shellcheck || true)
[ "$shellcheck" ] || echo 'SKIPPED shellcheck: it is not here; the shells alone have read the scripts'
count=0 failures=0
while IFS=$'\t' read -r shell file; do
	count=$((count + 1))
	said=$(complaints "$shell" "$file")
	[ -z "$said" ] || {
		printf '%s\n' "$said"
		failures=$((failures + 1))
	}
done < <(scripts "$root")
printf '%d scripts, %d with complaints\n' "$count" "$failures"

# None of every folder that has some is passed over, and what is wrong is told.
for file in .ci/run contrib/slurm/encode.sbatch contrib/k8s/base/pod.sh packages/postinst scripts/lib.sh tests/check_scripts.sh; do
	scripts "$root" | grep -qF "$root/$file" || {
		printf '%s was not read\n' "$file"
		failures=$((failures + 1))
	}
done
printf '#!/bin/sh\nif true; then\n' >"$folder/cut"
# shellcheck disable=SC2016 # as it should be
printf '#!/usr/bin/env bash\nrm $1\n' >"$folder/unquoted"
[ -n "$(complaints sh "$folder/cut")" ] || failures=$((failures + 1))
[ ! "$shellcheck" ] || [ -n "$(complaints bash "$folder/unquoted")" ] || failures=$((failures + 1))
[ "$failures" -eq 0 ]
