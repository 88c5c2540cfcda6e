#!/usr/bin/env bash
# scripts/demo.sh [FOLDER]: sets up a fresh Debian or Ubuntu machine, encodes the images below FOLDER (by
# default pictures that it draws itself) with the small demo VAE, and shows what came out. No network is
# needed once the packages are there. Everything is written to demo-out/ in the source tree, or to a
# temporary folder where that cannot be written. Status 3: all done, but some images could not be encoded.
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
-h | --help)
	sed -n '2,5s/^# //p' "$0"
	exit 0
	;;
esac
[ $# -le 1 ] || die 'usage: scripts/demo.sh [FOLDER]'
[ $# -eq 0 ] || [ -d "$1" ] || die "$1 is not a folder"

# What an earlier demo made is emptied, unless the images are there; anything else of that name is left
# alone.
choose_folder() # IMAGES
{
	local folder=$ROOT/demo-out
	if [[ $1/ == "$folder"/* ]]; then
		folder=$(mktemp -d)
	elif [ -e "$folder/.made-by-demo" ]; then
		rm -rf "$folder"
	elif [ -e "$folder" ]; then
		folder=$(mktemp -d)
	fi
	mkdir -p "$folder" 2>/dev/null || folder=$(mktemp -d)
	touch "$folder/.made-by-demo"
	printf '%s\n' "$folder"
}

show()
{
	printf '$ %s\n' "$*"
	"$@"
}

step 'packages'
"$ROOT/scripts/install-deps.sh"

step 'build'
build=$ROOT/build/demo
mkdir -p "$ROOT/build"
build_tree "$build" 'latentctl latentd-decode latentd-unpack make_pictures' -DCMAKE_BUILD_TYPE=RelWithDebInfo ||
	die 'the build failed'
PATH=$build/daemon:$PATH

out=$(choose_folder "$(realpath "${1:-/}")")
images=${1:-$out/pictures}
if [ $# -eq 0 ]; then
	step 'pictures'
	"$build/tests/make_pictures" "$images"
fi

step "encode: every image below $images becomes a latent in $out/latents"
status=0
show latentctl encode "$images" --vae "$ROOT/models/demo" --out "$out/latents" --name demo \
	--state "$out/state" --resolution 256 || status=$?
# 3: all done, some images in quarantine. They are listed, and the demo goes on.
[ "$status" -eq 0 ] || [ "$status" -eq 3 ] || die "latentctl encode ended with status $status"

step 'status'
show latentctl status --out "$out/latents"
[ "$status" -eq 0 ] || show latentctl failed --out "$out/latents"

step 'shards'
mapfile -t shards < <(find "$out/latents/demo/train" -name '*.tar' | sort)
[ ${#shards[@]} -gt 0 ] || die 'there are no shards'
(cd "$out" && find latents/demo/train -name '*.tar' -printf '%p  %s bytes\n' | sort)
show latentctl inspect "${shards[0]}"

step 'verify: everything is read again and compared with its hashes'
show latentctl verify --out "$out/latents"

step 'one record, read with three lines of Python'
cat >"$out/read_record.py" <<-'END'
	import json, sys, tarfile
	tar = tarfile.open(sys.argv[1])
	record = json.load(tar.extractfile(next(name for name in tar.getnames() if name.endswith(".json"))))
	print(*(f"{field}: {record[field]}" for field in ("key", "caption", "time_ids", "latent")), sep="\n")
END
cat "$out/read_record.py"
show python3 "$out/read_record.py" "${shards[0]}"

step 'and its latent'
cat >"$out/read_latent.py" <<-'END'
	import io, numpy, sys, tarfile, zstandard
	frame = tarfile.open(sys.argv[1]).extractfile(sys.argv[2] + ".latent.npy.zst").read()
	latent = numpy.load(io.BytesIO(zstandard.ZstdDecompressor().decompress(frame)))
	print(latent.shape, latent.dtype, f"mean {latent.mean(dtype=float):.4f}, std {latent.std(dtype=float):.4f}")
END
cat "$out/read_latent.py"
key=$(python3 "$out/read_record.py" "${shards[0]}" | sed -n 's/^key: //p')
if python3 -c 'import numpy, zstandard' 2>/dev/null; then
	show python3 "$out/read_latent.py" "${shards[0]}" "$key"
else
	printf '(pip install numpy zstandard; they are not here, so latentctl opens it)\n'
	show latentctl extract "${shards[0]}" "$key" --to "$out/extracted"
fi

step "done: $out/latents/demo holds the dataset; docs/FORMAT.md describes it"
exit "$status"
