#!/usr/bin/env bash
# Sets up a fresh Debian or Ubuntu machine and runs every test there is. The last line is
# 'N passed, N failed, N skipped', summed over all runs; the status is 0 only if nothing failed.
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage()
{
	cat <<-END
	usage: scripts/test.sh [--quick | --long]
	  (nothing)  release build, ASan+UBSan, TSan for the threaded tests, formatting, every fuzz
	             target for a few seconds, the shards read by Python libraries
	  --quick    release build and its tests only
	  --long     as without, with two minutes for each fuzz target, and everything that
	             docs/reliability.md tells of in full: hours
	Everything is built below build/. LATENTD_NO_INSTALL=1: install no packages.
	END
}

BUILDS=$ROOT/build
passed=0 failed=0 skipped=0
leaks=1 # whether LeakSanitizer works here
failures=() skips=() unstable=()

pass()
{
	passed=$((passed + 1))
}

fail() # WHAT
{
	failed=$((failed + 1))
	failures+=("$1")
	printf 'FAILED: %s\n' "$1"
}

skip() # WHAT WHY
{
	skipped=$((skipped + 1))
	skips+=("$1: $2")
	printf '\n######## SKIPPED: %s: %s ########\n' "$1" "$2"
}

# -- runs -------------------------------------------------------------------------------------------

# Its last line is 'N% tests passed, BAD tests failed out of TOTAL': prints BAD and TOTAL.
ctest_sum() # LOG
{
	sed -n 's/^.*% tests passed, \([0-9]*\) tests\? failed out of \([0-9]*\)$/\1 \2/p' "$1"
}

# 'NUMBER - NAME (WHY)' for each.
ctest_failures() # LOG
{
	awk '/^The following tests FAILED/ { on = 1; next } !/^[ \t]+[0-9]/ { on = 0 } on { $1 = $1; print }' "$1"
}

# What the test of that number printed when it failed.
ctest_said() # LOG NUMBER
{
	awk -v number="#$2:" '/^ *(Start +[0-9]+:|[0-9]+\/[0-9]+ Test )/ { on = index($0, number) && !/Start/ } on' "$1"
}

rerun() # NAME FOLDER LOG
{
	step "$1: what has failed, once more and alone"
	"${under[@]}" ctest --test-dir "$2" --rerun-failed --output-on-failure </dev/null 2>&1 | tee "$3" || true
}

# The tests that failed run once more, one after the other: one that passes then is no failure of this
# run, but is named in its summary, with what it said the first time, as one that has to be mended. Where
# more than a few have failed it is not the machine.
run_again() # NAME FOLDER LOG
{
	local name=$1 folder=$2 log=$3 again=$2/ctest-again.log line
	: >"$again"
	[ "$(ctest_failures "$log" | wc -l)" -gt 5 ] || rerun "$name" "$folder" "$again"
	while read -r line; do
		if [ -n "$(ctest_sum "$again")" ] && ! ctest_failures "$again" | grep -qF -- "${line% (*}"; then
			unstable+=("$name: $line")
			passed=$((passed + 1)) failed=$((failed - 1))
		else
			failures+=("$name: $line")
		fi
		ctest_said "$log" "${line%% *}" >>"$BUILDS/ci-failed.log"
	done < <(ctest_failures "$log")
}

# Adds up the closing lines of ctest, and the single test functions that its programs skipped.
count_ctest() # NAME FOLDER LOG
{
	local name=$1 folder=$2 log=$3 bad total left_out line
	read -r bad total < <(ctest_sum "$log") || true
	if [ -z "${total:-}" ]; then
		fail "$name: ctest did not come to its end"
		return
	fi
	left_out=$(grep -cE '^[[:space:]]+[0-9]+ - .*\((Skipped|Disabled)\)$' "$log" || true)
	passed=$((passed + total - bad - left_out))
	failed=$((failed + bad))
	skipped=$((skipped + left_out))
	while read -r line; do
		[[ $line == 'SKIPPED:'* || $line == *'***Skipped'* ]] || skipped=$((skipped + 1))
		skips+=("$name: $line")
	done < <(grep -hE '^SKIPPED|^\[  SKIPPED \] [^0-9]|\*\*\*Skipped' "$log" \
		"$folder/Testing/Temporary/LastTest.log" | sort -u)
	[ "$bad" -eq 0 ] || run_again "$name" "$folder" "$log"
}

# Two more than there are cores: tests of what a daemon does after a while wait for most of their time.
run_ctest() # NAME FOLDER CTEST-OPTION...
{
	local name=$1 folder=$2 log=$2/ctest.log
	shift 2
	step "$name: tests"
	"${under[@]}" ctest --test-dir "$folder" -j "$((JOBS + 2))" --output-on-failure --no-tests=error "$@" </dev/null 2>&1 |
		tee "$log" || true
	count_ctest "$name" "$folder" "$log"
}

test_release()
{
	step 'release: build'
	if ! build_tree "$BUILDS/ci-release" '' -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLATENTD_WERROR=ON \
		-DCMAKE_INSTALL_PREFIX=/usr; then
		fail 'release: build'
		return 1
	fi
	[ -e "$BUILDS/ci-release/src/encoder/cuda/latentd-cuda.so" ] ||
		skip 'the CUDA plugin' 'there is no CUDA toolkit with cuDNN 9 here'
	# A dose of what scripts/test.sh --long does in full.
	export LATENTD_CRASH_SECONDS=6 LATENTD_MODEL_SECONDS=20
	run_ctest release "$BUILDS/ci-release"
	unset LATENTD_CRASH_SECONDS LATENTD_MODEL_SECONDS
}

# The engine as it is taken to a machine with a GPU, for one kind of them; what its test program can do without one.
test_cuda_alone()
{
	local folder=$BUILDS/ci-cuda

	[ -e "$BUILDS/ci-release/src/encoder/cuda/latentd-cuda.so" ] || return 0
	step 'the CUDA engine by itself: build'
	if ! quietly cmake -S "$ROOT/src/encoder/cuda" -B "$folder" -G Ninja -DLATENTD_CUDA_ARCHITECTURES=90 ||
		! quietly ninja -C "$folder" -j "$JOBS"; then
		fail 'the CUDA engine by itself: build'
		return
	fi
	if quietly "$folder/test_cuda_engine" proposals; then
		pass
	else
		fail 'the CUDA engine by itself: its tests'
	fi
}

# Warnings are errors in the release build only: sanitizers make gcc warn where nothing is wrong.
test_asan()
{
	if ! program_starts cc -fsanitize=address,undefined; then
		if ! ASAN_OPTIONS=detect_leaks=0 program_starts cc -fsanitize=address,undefined; then
			skip 'ASan+UBSan' 'programs built with it do not start here'
			return
		fi
		skip 'leak check' 'LeakSanitizer may not trace here'
		leaks=0
	fi
	step 'ASan+UBSan: build'
	if ! build_tree "$BUILDS/ci-asan" '' -DLATENTD_WERROR=OFF \
		-DLATENTD_SANITIZER=address; then
		fail 'ASan+UBSan: build'
		return
	fi
	export ASAN_OPTIONS=detect_leaks=$leaks:detect_stack_use_after_return=1:strict_string_checks=1
	export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
	# Less of what the release build has just done for minutes.
	export LATENTD_CRASH_SECONDS=4 LATENTD_TEST_KILLS=40
	run_ctest ASan+UBSan "$BUILDS/ci-asan"
	unset ASAN_OPTIONS UBSAN_OPTIONS LATENTD_CRASH_SECONDS LATENTD_TEST_KILLS
}

# Only tests with the label tsan are built: their programs carry their tests' names.
test_tsan()
{
	local folder=$BUILDS/ci-tsan targets
	# Where addresses are too random for gcc's TSan, they can often be fixed.
	if ! program_starts cc -fsanitize=thread; then
		under=(setarch "$(uname -m)" -R)
		if ! program_starts cc -fsanitize=thread; then
			skip 'TSan' 'programs built with it do not start here'
			return
		fi
	fi
	step 'TSan: build'
	if ! quietly cmake -S "$ROOT" -B "$folder" -G Ninja -DLATENTD_WERROR=OFF \
		-DLATENTD_SANITIZER=thread; then
		fail 'TSan: configure'
		return
	fi
	targets=$(ctest --test-dir "$folder" -N -L '^tsan$' | sed -n 's/^ *Test *#[0-9]*: //p')
	# shellcheck disable=SC2086 # a list
	if [ -z "$targets" ] || ! quietly ninja -C "$folder" -j "$JOBS" $targets; then
		fail 'TSan: build (no test with the label tsan?)'
		return
	fi
	TSAN_OPTIONS=halt_on_error=1 run_ctest TSan "$folder" -L '^tsan$'
}

check_format()
{
	local formatter wrong
	step 'formatting'
	for formatter in clang-format-14 clang-format ''; do
		[[ $formatter && $("$formatter" --version 2>/dev/null) != *' version 14.'* ]] || break
	done
	if [ -z "$formatter" ]; then
		skip 'formatting' 'there is no clang-format 14 here'
		return
	fi
	wrong=$(cd "$ROOT" && find src queue storage config daemon tests -name '*.[ch]' -print0 |
		xargs -0 "$formatter" --dry-run 2>&1 | grep -E '^[^ ]+:[0-9]+:[0-9]+:' | cut -d : -f 1 | sort -u) || true
	if [ -z "$wrong" ]; then
		pass
	else
		printf '%s\n' "$wrong"
		fail "formatting: run $formatter -i on the files named above"
	fi
}

# -- fuzzing ----------------------------------------------------------------------------------------

fuzz_one() # TARGET SECONDS
{
	local target=$1 seconds=$2 found=$BUILDS/ci-fuzz/found/$1
	local seeds=$ROOT/tests/fuzz/corpus/$1
	mkdir -p "$found"
	[ -d "$seeds" ] || seeds=
	# shellcheck disable=SC2086 # seeds may be none
	ASAN_OPTIONS=detect_leaks=$leaks quietly "$BUILDS/ci-fuzz/tests/$target" -max_total_time="$seconds" -timeout=20 \
		-rss_limit_mb=3072 -artifact_prefix="$BUILDS/ci-fuzz/$target-" "$found" $seeds
}

# As many at once as there are cores.
fuzz_all() # SECONDS TARGET...
{
	local seconds=$1 target running i
	shift
	while [ $# -gt 0 ]; do
		running=()
		for target in "${@:1:JOBS}"; do
			fuzz_one "$target" "$seconds" &
			running+=($!)
		done
		for i in "${!running[@]}"; do
			if wait "${running[i]}"; then
				printf '%s: nothing found in %s s\n' "$1" "$seconds"
				pass
			else
				fail "$1: the input is $BUILDS/ci-fuzz/$1-*"
			fi
			shift
		done
	done
}

test_fuzz() # SECONDS
{
	local targets=() source
	for source in "$ROOT"/tests/fuzz/fuzz_*.c; do
		[ ! -e "$source" ] || targets+=("$(basename "$source" .c)")
	done
	[ ${#targets[@]} -gt 0 ] || return 0
	if ! ASAN_OPTIONS=detect_leaks=$leaks program_starts clang -fsanitize=address,fuzzer-no-link; then
		skip 'fuzzing' 'no clang with libFuzzer here; the corpora ran as tests'
		return
	fi
	step "fuzzing: build of ${#targets[@]} targets"
	if ! build_tree "$BUILDS/ci-fuzz" "${targets[*]}" -DCMAKE_C_COMPILER=clang -DLATENTD_FUZZ=ON \
		-DLATENTD_SANITIZER=address; then
		fail 'fuzzing: build'
		return
	fi
	step "fuzzing: $1 s each"
	fuzz_all "$1" "${targets[@]}"
}

# add_closing_line NAME LOG: sums up a run whose last line is 'N passed, N failed, N skipped'.
add_closing_line()
{
	local name=$1 log=$2 sum
	sum=$(tail -n 1 "$log" |
		sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p')
	if [ -z "$sum" ]; then
		fail "$name: did not come to its end"
		return
	fi
	# shellcheck disable=SC2086 # three numbers
	set -- $sum
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
	[ "$2" -eq 0 ] || failures+=("$name: $2 of $(($1 + $2)), see $log")
}

# -- other people's readers -------------------------------------------------------------------------

# A Python with the packages of tests/interop/requirements.txt; prints its path.
interop_python()
{
	local venv=$BUILDS/ci-venv wanted=$ROOT/tests/interop/requirements.txt
	if ! cmp -s "$wanted" "$venv/installed.txt"; then
		python3 -m venv "$venv" >&2 &&
			"$venv/bin/pip" install --quiet --disable-pip-version-check --retries 2 \
				--timeout 20 -r "$wanted" >&2 &&
			cp "$wanted" "$venv/installed.txt" || return 1
	fi
	printf '%s\n' "$venv/bin/python"
}

test_interop()
{
	local python log=$BUILDS/ci-interop.log
	step 'interop: Python packages'
	if [ ! -f "$ROOT/models/demo/config.json" ]; then
		skip 'interop' 'models/demo is not there'
		return
	fi
	if ! python=$(interop_python); then
		skip 'interop' 'Python packages could not be installed (index out of reach?)'
		return
	fi
	step 'interop: shards read by other libraries'
	"$ROOT/tests/interop/run.sh" "$BUILDS/ci-release" "$python" 2>&1 </dev/null | tee "$log" || true
	add_closing_line interop "$log"
}

# -- faults, power cuts and kills in full -------------------------------------------------------------

# On a file system in memory where there is one: nothing here asks more of a disk than its order.
test_reliability()
{
	local name log settings=(LATENTD_TEST_LONG=1 "LATENTD_BUILD_DIR=$BUILDS/ci-release")
	[ ! -w /dev/shm ] || settings+=(TMPDIR=/dev/shm)
	step 'reliability: a million operations of both queues'
	if env "${settings[@]}" LATENTD_MODEL_STEPS=1000000 "$BUILDS/ci-release/tests/test_queue_model" \
		>"$BUILDS/ci-queue_model.log" 2>&1 </dev/null; then
		pass
	else
		fail "test_queue_model: see $BUILDS/ci-queue_model.log"
	fi
	step 'reliability: the queue above a VFS that fails'
	if env "${settings[@]}" "$BUILDS/ci-release/tests/test_vfs_faults" \
		>"$BUILDS/ci-vfs_faults.log" 2>&1 </dev/null; then
		pass
	else
		fail "test_vfs_faults: see $BUILDS/ci-vfs_faults.log"
	fi
	for name in crash/test_faults crash/test_power_loss crash/test_outages crash/test_corruption \
		crash/test_lost_state \
		crash/test_model crash/test_soak \
		e2e/test_kill e2e/test_repack e2e/test_remote_daemon e2e/test_network; do
		step "reliability: $name"
		log=$BUILDS/ci-$(basename "$name").log
		# The last one: who runs its PostgreSQL may not reach memory that root may write to.
		[ "$name" != e2e/test_network ] || settings+=("TMPDIR=${TMPDIR:-/tmp}")
		env "${settings[@]}" python3 -B "$ROOT/tests/$name.py" 2>&1 </dev/null | tee "$log" || true
		add_closing_line "$name" "$log"
	done
}

# A million damaged images through confined decoders.
test_mutations()
{
	local log=$BUILDS/ci-mutations.log images=("$ROOT/tests/golden/images") photos=$ROOT/../shared/photos
	[ ! -d "$photos" ] || images+=("$photos")
	step 'reliability: a million damaged images'
	if "$BUILDS/ci-release/tests/mutate_worker" --files 1000000 --seed "$RANDOM" \
		--workers "$((JOBS < 64 ? JOBS : 64))" "$BUILDS/ci-release/daemon/latentd-decode" "${images[@]}" \
		>"$log" 2>&1 </dev/null; then
		pass
	else
		fail "mutate_worker: see $log"
	fi
	tail -n 1 "$log"
}

# -- the whole --------------------------------------------------------------------------------------

finish()
{
	local line
	if [ -s "$BUILDS/ci-failed.log" ]; then
		step 'what the tests that failed said'
		tail -n 150 "$BUILDS/ci-failed.log"
	fi
	step "summary ($((SECONDS / 60)) min $((SECONDS % 60)) s)"
	for line in ${skips[@]+"${skips[@]}"}; do
		printf 'SKIPPED  %s\n' "$line"
	done
	for line in ${unstable[@]+"${unstable[@]}"}; do
		printf 'UNSTABLE %s: passed only alone\n' "$line"
	done
	for line in ${failures[@]+"${failures[@]}"}; do
		printf 'FAILED   %s\n' "$line"
	done
	[ $((failed + ${#unstable[@]})) -gt 0 ] || printf 'Everything that ran has passed.\n'
	printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
	[ "$failed" -eq 0 ] || exit 1
	exit 0
}

mode=all fuzz_seconds=5 packages=--all reliability=
for argument in "$@"; do
	case $argument in
	--quick) mode=quick packages= ;;
	--long) fuzz_seconds=120 reliability=1 ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done

mkdir -p "$BUILDS"
rm -f "$BUILDS/ci-failed.log"
step 'packages'
"$ROOT/scripts/install-deps.sh" $packages
test_release || finish
[ "$mode" = all ] || finish
check_format
test_cuda_alone
[ -z "$reliability" ] || test_reliability
[ -z "$reliability" ] || test_mutations
test_interop
test_asan
test_tsan
under=()
test_fuzz "$fuzz_seconds"
finish
