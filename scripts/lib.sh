# shellcheck shell=bash
# What the scripts share; sourced, never run.
set -euo pipefail

# Folder of the source tree; every build folder lies below ROOT/build, which git ignores.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Cores this process may use (a container's share, not the machine's).
JOBS=$(nproc)

step()
{
	printf '\n==> %s\n' "$*"
}

die()
{
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# What a command prints is shown only when it failed; its status is returned.
quietly()
{
	local log status=0
	log=$(mktemp)
	"$@" >"$log" 2>&1 </dev/null || {
		status=$?
		tail -n 100 "$log" >&2
	}
	rm -f "$log"
	return "$status"
}

# build_tree FOLDER "TARGETS" CMAKE-OPTION...: configures and builds; no targets: everything.
build_tree()
{
	local folder=$1 targets=$2
	shift 2
	# shellcheck disable=SC2086 # targets is a list
	quietly cmake -S "$ROOT" -B "$folder" -G Ninja "$@" &&
		quietly ninja -C "$folder" -j "$JOBS" $targets
}

# What test programs are run under: nothing, or setarch (see test.sh).
under=()

# program_starts COMPILER FLAG...: whether a program built so links, and starts here.
program_starts()
{
	local folder status=0
	folder=$(mktemp -d)
	printf 'int main(void) { return 0; }\n' >"$folder/probe.c"
	"$@" "$folder/probe.c" -o "$folder/probe" >"$folder/log" 2>&1 &&
		"${under[@]}" "$folder/probe" >"$folder/log" 2>&1 </dev/null || status=1
	rm -rf "$folder"
	return "$status"
}
