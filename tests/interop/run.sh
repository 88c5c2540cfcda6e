#!/usr/bin/env bash
# run.sh BUILD PYTHON: encodes drawn pictures in every way a record can differ, then lets the readers of
# training jobs read them; and compares latents with pixels that Pillow prepared. PYTHON has what
# requirements.txt names. Ends with the sum 'N passed, N failed, N skipped'.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$1 python=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
passed=0 failed=0 skipped=0

# counted SCRIPT ARGUMENT...: adds up the closing line of a script of this folder, and shows the others.
counted()
{
	local output count status=0
	output=$("$python" "$@" 2>&1) || status=$?
	count=$(tail -n 1 <<<"$output" | grep -oE '[0-9]+ (passed|failed|skipped)' | cut -d ' ' -f 1 || true)
	if [ "$(wc -w <<<"$count")" -ne 3 ]; then
		printf 'FAILED, status %d:\n%s\n' "$status" "$output"
		failed=$((failed + 1))
		return
	fi
	sed '$d' <<<"$output"
	# shellcheck disable=SC2086 # three numbers
	set -- $count
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# encode_and_read NAME OPTION...
encode_and_read()
{
	local name=$1 output
	shift
	printf '%s: %s\n' "$name" "$*"
	if ! output=$("$build/daemon/latentctl" encode "$folder/pictures" --vae "$model" \
		--out "$folder/out" --name "$name" --state "$folder/state" "$@" 2>&1 </dev/null); then
		printf 'FAILED latentctl encode:\n%s\n' "$output"
		failed=$((failed + 1))
		return
	fi
	for script in "${readers[@]}"; do
		counted "$here/$script" "$folder/out/$name"
	done
}

"$build/tests/make_pictures" "$folder/pictures" 9 >/dev/null
# Names that need cleaning, one without a caption.
mv "$folder"/pictures/scenes/sunset-00.jpg "$folder/pictures/scenes/a b.c%20.jpg"
cp "$folder"/pictures/scenes/night-02.png "$folder"/pictures/$'new\nline \xff.png'

model=$here/../../models/demo
readers=(read_shards.py read_indexes.py read_contrib.py)
encode_and_read mean --resolution 128
encode_and_read moments --resolution 128 --posterior moments --dtype float32
encode_and_read draw --resolution 192 --bucketing square --posterior draw --seed 7
encode_and_read bare --resolution 128 --no-captions
encode_and_read plain --resolution 128 --codec none --scaled
encode_and_read plain_moments --resolution 128 --codec none --posterior moments --dtype float32
# What loaders give of planes are bytes.
readers=(read_shards.py read_contrib.py)
encode_and_read planes --resolution 128 --codec planes --round step
encode_and_read wide_planes --resolution 128 --codec planes --dtype float32 --round bf16
encode_and_read mirrored --resolution 128 --flip --crops 2
encode_and_read resolutions --resolutions 64,96,128 --flip --crops 1 --masks beside
# Under the factors of models that trainers know; photographs too, where they are there.
photos=$here/../../../shared/photos
if [ -d "$photos" ]; then
	mkdir "$folder/pictures/photos"
	find "$photos" -maxdepth 1 -type f ! -name 'broken*' -exec cp -t "$folder/pictures/photos" {} +
fi
cp -r "$model" "$folder/model"
model=$folder/model
readers=()
for family in sd15:0.18215 sdxl:0.13025; do
	sed "s/\"scaling_factor\": [0-9.]*/\"scaling_factor\": ${family#*:}/" \
		"$here/../../models/demo/config.json" >"$model/config.json"
	encode_and_read "${family%:*}" --resolution 128 --codec none
done
rm -rf "$folder/pictures/photos"
encode_and_read sdxl_mirrored --resolution 128 --flip --crops 2
counted "$here/read_exports.py" "$build/daemon/latentctl" "$folder/out"
printf 'parity\n'
counted "$here/parity.py" "$build/daemon/latentctl" "$photos"
printf 'MosaicML Streaming\n'
counted "$here/read_streaming.py" "$build/daemon/latentctl" "$folder/pictures" "$here/../../models/demo"
printf 'Parquet\n'
counted "$here/read_parquet.py" "$build/daemon/latentctl"
printf 'pixels\n'
counted "$here/check_pixels.py" "$build"
printf 'decode\n'
counted "$here/check_decode.py" "$build"
printf 'API\n'
counted "$here/check_openapi.py" "$here/../../docs/openapi.json"

printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
