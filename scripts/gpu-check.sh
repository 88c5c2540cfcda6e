#!/usr/bin/env bash
# Everything that needs a GPU, in phases of under ten minutes each, the most valuable first:
#
#	scripts/gpu-check.sh                  all of them
#	scripts/gpu-check.sh kernels bench    these (build is done first wherever it is needed)
#
#	build      the engine by itself, for the GPU of this machine
#	kernels    every operation against the host's, in every dtype
#	goldens    small models against diffusers' outputs
#	encoder    Stable Diffusion's size against float32, whole and in bands
#	decoder    pictures of the demo against diffusers', with PSNR; Stable Diffusion's size against float32; its speed
#	bench      images/s, TFLOP/s and memory at 256, 512, 1024 and 2048
#	eager      the same work in PyTorch (diffusers' class where it is installed): eager, channels_last
#	engine     jobs of several sizes, CUDA graphs, little memory, overflow
#	errors     PyTorch's float16 and bfloat16 against its float32
#	compile    torch.compile max-autotune with channels_last, at four shapes
#	bands      the bench with whole maps, and with bands of 8, 16 and 32 MB
#	precision  the bench in bfloat16, float32 and TF32
#	start      a program's start to its first batch, algorithms known
#	files      JPEG files to shards with latentctl, against the engine's rate
#	memcheck racecheck     compute-sanitizer over the kernels' tests
#
# Needed: a GPU, nvcc, CMake, a C compiler. cuDNN 9 and cuBLASLt are taken from the CUDA toolkit, or from the wheels of a
# Python that has PyTorch; no network, nothing is installed. gpu-report.json and gpu-report.txt are written anew after
# every phase and while one tells something, every ten seconds, in $GPU_CHECK_OUT (default: gpu-report/ in the working directory), so that what
# was measured is there whenever the run ends. A phase that was cut off has the status timeout, or partial where it ended by
# itself; once more, it goes on with the algorithms that it has found.
#
# PYTHON names the Python. GPU_CHECK_BUILD: where the engine is or will be built; GPU_CHECK_PROGRAMS: a folder with
# latentctl, which else is built for `files`. GPU_CHECK_LIMIT: seconds for a phase. GPU_CHECK_FILES='N SIDE MODEL' are other
# images than 2000 of 1024, and another model than Stable Diffusion's size.
set -uo pipefail
export LC_ALL=C

# A toolkit is often there and not on the path.
command -v nvcc >/dev/null || PATH=$PATH:/usr/local/cuda/bin

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${GPU_CHECK_OUT:-$PWD/gpu-report}
build=${GPU_CHECK_BUILD:-$here/build-gpu}
python=${PYTHON:-python3}
limit=${GPU_CHECK_LIMIT:-570}
all="build kernels goldens encoder bench eager decoder engine errors compile start files bands precision memcheck racecheck"

# Folders of a Python's CUDA wheels that have FILE (a pattern), one a line.
wheel_folders()
{
	"$python" - "$1" 2>/dev/null <<'PY'
import glob, os, site, sys
roots = site.getsitepackages() + [site.getusersitepackages()] + sys.path
for root in dict.fromkeys(r for r in roots if r):
    for path in sorted(glob.glob(os.path.join(root, "nvidia", "**", sys.argv[1]), recursive=True)):
        print(os.path.dirname(path))
PY
}

# Where CUDA is installed.
toolkit()
{
	dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")"
}

# cuDNN and its helpers load each other, and nvrtc, by name.
library_path()
{
	{ printf '%s\n' "$(toolkit)/lib64"; wheel_folders 'lib*.so*' | uniq; } | paste -s -d :
}

# One of our programs. PyTorch finds its own libraries, and must not meet the toolkit's.
ours()
{
	LD_LIBRARY_PATH=${GPU_CHECK_LIBRARIES:-} "$build/$1" "${@:2}"
}

# json_text: standard input as a JSON string
json_text()
{
	awk 'BEGIN { printf "\"" }
	{ gsub(/\\/, "&&"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); gsub(/[\001-\037]/, ""); printf "%s\\n", $0 }
	END { printf "\"" }'
}

# Written beside and put in place: whoever looks finds a whole one.
report()
{
	local phase status seconds first=1
	{
		printf '{"version": 1, "date": "%s", "commit": "%s",\n "machine": ' "$(date -u +%FT%TZ)" \
			"$(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo unknown)"
		json_text <"$out/machine.txt"
		printf ',\n "phases": ['
		for phase in $all; do
			[ -f "$out/$phase.status" ] || continue
			[ $first = 1 ] || printf ','
			first=0
			read -r status seconds <"$out/$phase.status"
			printf '\n  {"name": "%s", "status": "%s", "seconds": %s, "checks_ok": %s, "checks_failed": %s, "results": [' \
				"$phase" "$status" "$seconds" \
				"$(grep -c '^ok ' "$out/$phase.log")" "$(grep -c '^FAILED ' "$out/$phase.log")"
			grep -h '^{.*}$' "$out/$phase.log" | paste -s -d ,
			printf '], "log": '
			tail -n 400 "$out/$phase.log" | json_text
			printf '}'
		done
		printf '\n ]}\n'
	} >"$out/gpu-report.json.new" && mv "$out/gpu-report.json.new" "$out/gpu-report.json"
	{
		cat "$out/machine.txt"
		for phase in $all; do
			[ -f "$out/$phase.status" ] || continue
			read -r status seconds <"$out/$phase.status"
			printf '\n%-10s %-8s %4s s, %s checks ok, %s failed\n' "$phase" "$status" "$seconds" \
				"$(grep -c '^ok ' "$out/$phase.log")" "$(grep -c '^FAILED ' "$out/$phase.log")"
			[ "$status" = ok ] || tail -n 15 "$out/$phase.log" | sed 's/^/    /'
			grep -h '^FAILED ' "$out/$phase.log" | sed 's/^/    /'
		done
		if [ -f "$out/bench.log" ] && command -v "$python" >/dev/null; then
			printf '\nfloat16, two jobs in flight, host to host; x: how many times as fast as PyTorch\n'
			"$python" "$here/scripts/gpu_compare.py" table "$out/bench.log" "$out/eager.log" "$out/compile.log"
		fi
		if grep -qs '"part": "decoder"' "$out/decoder.log" && command -v "$python" >/dev/null; then
			printf '\ndecoding, float16\n'
			"$python" "$here/scripts/gpu_compare.py" table "$out/decoder.log"
			grep -h ': PSNR ' "$out/decoder.log"
		fi
		grep -hs '"what": "files"' "$out/files.log"
		grep -hs -o '"start_s": .*' "$out/start.log"
	} >"$out/gpu-report.txt.new"
	mv "$out/gpu-report.txt.new" "$out/gpu-report.txt"
}

# Whatever of it is there.
machine()
{
	nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total,clocks.max.sm --format=csv,noheader 2>&1
	nvcc --version 2>&1 | tail -n 2 | head -n 1
	"$python" -c 'import torch; print("torch", torch.__version__, "cuda", torch.version.cuda, "cudnn", torch.backends.cudnn.version())' 2>&1 | tail -n 1
}

has_torch()
{
	"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null && return
	echo "SKIPPED: $python has no PyTorch that sees the GPU"
	return 77
}

phase_build()
{
	local architecture cudnn cublas
	local -a options=()

	architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d .)
	[ -n "$architecture" ] && options+=("-DLATENTD_CUDA_ARCHITECTURES=$architecture")
	command -v ninja >/dev/null && options+=(-G Ninja)
	if [ ! -e "$(toolkit)/include/cudnn.h" ]; then
		cudnn=$(wheel_folders cudnn.h | head -n 1)
		[ -n "$cudnn" ] && options+=("-DCUDNN_ROOT=$(dirname "$cudnn")")
	fi
	if [ ! -e "$(toolkit)/include/cublasLt.h" ]; then
		cublas=$(wheel_folders cublasLt.h | head -n 1)
		[ -n "$cublas" ] && options+=("-DCUBLAS_ROOT=$(dirname "$cublas")")
	fi
	cmake -S "$here/src/encoder/cuda" -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo "${options[@]}" &&
		cmake --build "$build" -j "$(nproc)"
}

# What the table compares: the best batch, and one image.
phase_bench()
{
	ours bench_cuda --cache "$out/algorithms" \
		--sizes 512x512x8,1024x1024x4,256x256x32,2048x2048x1,512x512x1,256x256x1,1024x1024x1 &&
		echo '-- once more, algorithms from the cache' &&
		ours bench_cuda --cache "$out/algorithms" --sizes 512x512x8 --seconds 1 | sed 's/^{/cached {/'
}

# Pictures, then how fast: 512 and 1024, the best batch and one image.
phase_decoder()
{
	ours test_cuda_engine decoder "$here"
	case $? in
	0) ;;
	75) echo 'SKIPPED the bench' && return 75 ;;
	*) return 1 ;;
	esac
	ours bench_cuda --decode --cache "$out/algorithms" --sizes 512x512x8,1024x1024x4,512x512x1,2048x2048x1
}

# The second process has the first one's algorithms.
phase_start()
{
	ours bench_cuda --cache "$out/algorithms" --sizes 512x512x8 --seconds 0 >/dev/null &&
		ours bench_cuda --cache "$out/algorithms" --sizes 512x512x8 --seconds 0
}

# make_photos N SIDE FOLDER: JPEG files of different contents, by Python's Pillow where it is there, else the golden one with other bytes at its end.
make_photos()
{
	"$python" - "$@" "$here/tests/golden/images/rocket.jpg" <<'PY'
import os, sys
n, side, folder, golden = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
data = open(golden, "rb").read()
try:
    import io
    from PIL import Image
    image = Image.open(golden).convert("RGB").resize((side * 5 // 4, side * 9 // 8), Image.BICUBIC)
    made = io.BytesIO()
    image.save(made, "JPEG", quality=90)
    data = made.getvalue()
except ImportError:
    print("without Pillow the files are of 640x427, enlarged")
for i in range(n):
    with open(os.path.join(folder, f"{i:06}.jpg"), "wb") as f:
        f.write(data + i.to_bytes(4, "big"))
PY
}

# encode_photos FOLDER OUT: seconds
encode_photos()
{
	local began=$EPOCHREALTIME

	LD_LIBRARY_PATH=${GPU_CHECK_LIBRARIES:-} LATENTD_CUDA_PLUGIN=${LATENTD_CUDA_PLUGIN:-$build/latentd-cuda.so} \
		"$programs/latentctl" encode "$1" --out "$2" --vae "$model" --device cuda --precision f16 --quiet \
		--bucketing square --resolution "$side" --state "$2.state" >&2 || return
	awk -v from="$began" -v to="$EPOCHREALTIME" 'BEGIN { print to - from }'
}

# Two runs, of which the difference is without a program's start and end.
phase_files()
{
	local n side model programs work few many rate
	local -a words

	read -ra words <<<"${GPU_CHECK_FILES:-2000 1024}"
	n=${words[0]} side=${words[1]} model=${words[2]:-}
	programs=${GPU_CHECK_PROGRAMS:-$build/latentd/daemon}
	if [ ! -x "$programs/latentctl" ]; then
		if ! cmake -S "$here" -B "$build/latentd" -DLATENTD_CUDA=OFF -DLATENTD_TESTS=OFF >"$out/latentd.log" 2>&1 ||
			! cmake --build "$build/latentd" -j "$(nproc)" --target latentctl >>"$out/latentd.log" 2>&1; then
			tail -n 5 "$out/latentd.log"
			echo "SKIPPED: latentctl cannot be built here (scripts/install-deps.sh); GPU_CHECK_PROGRAMS names a folder with it"
			return 77
		fi
	fi
	work=$(mktemp -d "$out/files.XXXXXX") || return
	if [ -z "$model" ]; then
		model=$work/model
		mkdir "$model" && ours bench_cuda --model-to "$model" || return
	fi
	mkdir "$work/few" "$work/many"
	if ! { make_photos $((n / 10)) "$side" "$work/few" && make_photos "$n" "$side" "$work/many" &&
		few=$(encode_photos "$work/few" "$work/out-few") && many=$(encode_photos "$work/many" "$work/out-many"); }; then
		rm -rf "$work"
		return 1
	fi
	rm -rf "$work"
	rate=$(grep -hs "float16.*\"width\": $side, \"height\": $side, " "$out/bench.log" | sed -n 's/.*"images_per_second": \([0-9.]*\).*/\1/p' | sort -g | tail -n 1)
	awk -v n="$((n - n / 10))" -v few="$few" -v many="$many" -v rate="${rate:-0}" -v side="$side" -v cores="$(nproc)" 'BEGIN {
		files = many > few ? n / (many - few) : 0
		printf "{\"what\": \"files\", \"side\": %d, \"cores\": %d, \"images_per_second\": %.2f", side, cores, files
		if (rate > 0) printf ", \"of_engine\": %.3f", files / rate
		print "}" }'
}

phase_bands()
{
	local bands

	for bands in whole 8388608 16777216 33554432; do
		echo "-- bands: $bands"
		ours bench_cuda --cache "$out/algorithms" --bands "$bands" --seconds 2 \
			--sizes 512x512x8,1024x1024x4,2048x2048x1 || return
	done
	echo '-- as little memory as possible'
	ours bench_cuda --memory 2500000000 --seconds 2 --sizes 2048x2048x1 &&
		ours bench_cuda --memory 1300000000 --seconds 2 --sizes 2048x2048x1
}

phase_precision()
{
	ours bench_cuda --cache "$out/algorithms-bf16" --dtype bfloat16 --sizes 512x512x8,1024x1024x4 &&
		ours bench_cuda --cache "$out/algorithms-f32" --dtype float32 --sizes 512x512x4 &&
		ours bench_cuda --cache "$out/algorithms-tf32" --dtype float32 --tf32 --sizes 512x512x4
}

sanitize()
{
	command -v compute-sanitizer >/dev/null || { echo "SKIPPED: no compute-sanitizer"; return 77; }
	LD_LIBRARY_PATH=${GPU_CHECK_LIBRARIES:-} compute-sanitizer --tool "$1" --error-exitcode 9 "$build/test_cuda_engine" kernels
	case $? in
	0) ;;
	75) return 75 ;;
	1 | 9) echo "FAILED compute-sanitizer $1"; return 1 ;;
	*) echo "SKIPPED: compute-sanitizer does not run on this machine"; return 77 ;;
	esac
}

run_phase()
{
	case $1 in
	build) phase_build ;;
	kernels | encoder | engine) ours test_cuda_engine "$1" ;;
	goldens) ours test_cuda_engine goldens "$here" ;;
	bench | decoder | bands | precision | start | files) "phase_$1" ;;
	eager | compile | errors) has_torch && "$python" "$here/scripts/gpu_compare.py" "$1" /dev/null ;;
	memcheck | racecheck) sanitize "$1" ;;
	*) echo "no phase $1; there are: $all"; return 2 ;;
	esac
}

# Phases run in a shell of their own, so that timeout ends all of one.
if [ "${1:-}" = --run ]; then
	run_phase "$2"
	exit
fi

mkdir -p "$out" || exit
GPU_CHECK_LIBRARIES=$(library_path)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export GPU_CHECK_LIBRARIES GPU_CHECK_OUT=$out GPU_CHECK_BUILD=$build
# Of tests, which end by themselves a little earlier; and of PyTorch, for another time.
export TEST_CUDA_CACHE=$out/algorithms-tests TEST_CUDA_SECONDS=$((limit * 9 / 10)) TORCHINDUCTOR_CACHE_DIR=$out/inductor
machine >"$out/machine.txt"
phases=${*:-$all}
for phase in $phases; do
	[[ " $all " = *" $phase "* ]] || { echo "no phase $phase; there are: $all" >&2; exit 2; }
done
[ -x "$build/test_cuda_engine" ] || [[ " $phases " = *" build "* ]] || phases="build $phases"
failed=0
# A terminal's ^C does not reach what timeout runs.
trap 'kill "$(cat "$out/pid")" 2>/dev/null; exit 130' INT TERM
for phase in $phases; do
	began=$SECONDS reported=$SECONDS
	echo "== $phase"
	: >"$out/$phase.log"
	echo "running 0" >"$out/$phase.status"
	while IFS= read -r line; do
		printf '%s\n' "$line" | tee -a "$out/$phase.log"
		if [ $((SECONDS - reported)) -ge 10 ]; then
			echo "running $((SECONDS - began))" >"$out/$phase.status"
			report
			reported=$SECONDS
		fi
	done < <(
		timeout -k 10 "$limit" bash "${BASH_SOURCE[0]}" --run "$phase" 2>&1 &
		echo $! >"$out/pid"
		wait $!
		echo $? >"$out/$phase.code"
	)
	read -r code <"$out/$phase.code" || code=1
	rm -f "$out/$phase.code" "$out/pid"
	case $code in
	0) status=ok ;;
	75) status=partial ;;
	77) status=skipped ;;
	124 | 137) status=timeout failed=1 ;;
	*) status=failed failed=1 ;;
	esac
	echo "$status $((SECONDS - began))" >"$out/$phase.status"
	report
	[ "$phase" = build ] && [ "$status" != ok ] && break
done
echo
cat "$out/gpu-report.txt"
exit $failed
