#!/bin/sh
# pod.sh PROGRAM ARGUMENT...: the program of a Job's pod. Images that cannot be encoded (status 3) are no reason to start
# the pod again; a signal to the pod reaches the program, and its end is waited for.
set -u

"$@" &
program=$!
signals=0
trap 'signals=$((signals + 1)); kill -TERM "$program" 2>/dev/null' TERM INT
# A signal ends the wait, not the program.
while :; do
	before=$signals status=0
	wait "$program" || status=$?
	[ "$signals" -ne "$before" ] || break
done
[ "$status" -ne 3 ] || status=0
exit "$status"
