#!/bin/sh
# Made tests/golden/state_vN.tar.gz: output and state folder of schema version N, as a run left them that died between a
# shard's rename and its row. N=1 is of commit d4ab673, 2 of b40cb6e, 3 of 4f3b507, 4 of 62cf81b, 5 of fc58c42, 6 of 3b79e02, the last or
# newest ones with these versions. Kept to show what is in the files.
#
#	state_make.sh BUILD SHIM IMAGES state_v1.tar.gz
#
# Pictures a/00.jpg to a/11 are those of small_pictures() in tests/e2e/harness.py; a/bad.jpg is half of one. The first run
# had six of them and the bad one, the second all.
set -eu
build=$1 shim=$2 images=$3 archive=$4 root=/srv/latents
i=0

add() {
	while [ $i -lt "$1" ]; do
		set -- "$1" rocket.jpg odd_420.jpg orientation_6.jpg grey_alpha.png grey.jpg
		shift $((i % 5))
		name=$root/pictures/a/$(printf %02d $i).${2##*.}
		cp "$images/$2" "$name"
		printf %s "$i" >>"$name"
		i=$((i + 1))
		set -- "$limit"
	done
}

encode() {
	"$build"/daemon/latentctl encode $root/pictures --vae fake --out $root/out --resolution 128 --name set \
		--max-upscale 0 --shard-samples 3 --jobs 1 --quiet
}

mkdir -p $root/pictures/a
export XDG_STATE_HOME=$root/state HOME=$root
limit=6
add 6
head -c 900 "$images"/rocket.jpg >$root/pictures/a/bad.jpg
encode || [ $? = 3 ]
limit=12
add 12
export LD_PRELOAD="$shim" SHIM_PROGRAM=latentctl SHIM_ROOTS=$root/out:$root/state SHIM_FAULT=rename:5:die-after
SHIM_REPORT=/tmp/report encode || [ $? = 77 ]
unset LD_PRELOAD
rm -f $root/state/latentd/*/queue.db-shm
tar -C $root --sort=name --owner=0 --group=0 -czf "$archive" out state
