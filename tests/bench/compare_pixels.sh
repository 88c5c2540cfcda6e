#!/bin/sh
# compare_pixels.sh BUILD PYTHON FILE...: our CPU time for each file beside Pillow's, in one run.
# PYTHON has Pillow.
set -eu
build=$1 python=$2
shift 2
"$build/tests/bench_pixels" "$@" | "$python" "$(dirname "$0")/pillow_pixels.py"
