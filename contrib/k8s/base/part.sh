#!/bin/sh
# part.sh OUT ARGUMENT...: part JOB_COMPLETION_INDEX + 1 of PARTS, into OUT.parts/PART. The rest goes to `latentctl encode`.
set -eu

part=$((JOB_COMPLETION_INDEX + 1)) out=$1
shift
mkdir -p "$out.parts/$part"
exec sh "$(dirname "$0")/pod.sh" latentctl encode "$@" --part "$part/$PARTS" --out "$out.parts/$part" \
	--state "${LATENTD_STATE:-/var/lib/latentd}" --quiet
