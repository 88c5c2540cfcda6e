#!/usr/bin/env bash
# check_layers.sh must let a clean tree pass and must notice one violation of every kind.
set -euo pipefail

check=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/check_layers.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0

fresh_tree()
{
	rm -rf "${folder:?}"/*
	mkdir -p "$folder"/{src/{base,net,image,vae,source,encoder},queue,storage,config,daemon,tests,docs}
	cat >"$folder/src/base/atomic_file.c" <<-'END'
	#include "base/atomic_file.h"

	#include <stdio.h>
	/* a comment about // and rename( in it */
	int publish(void) { return rename("a", "b // not a comment"); }
	END
	cat >"$folder/daemon/loop.c" <<-'END'
	#include "base/error.h"
	#include "encoder/encoder.h"
	#include "queue/queue.h"
	#include "loop.h"
	#include <net/if.h>
	#include <jansson.h>
	/* a comment of
	 * two lines: // rename(x) */
	char quote = '"'; int my_rename(int rename_count);
	END
	printf '#include <sqlite3.h>\n' >"$folder/tests/test_queue.c"
	printf '#include <sqlite3.h>\n' >"$folder/queue/queue_sqlite_rows.h"
}

# expect NAME FILE LINE REASON: FILE with LINE added must be reported, and nothing else.
expect()
{
	local output want="$2:[0-9]*: $3"
	if output=$("$check" "$folder") || ! grep -qx "$want.*" <<<"$output" ||
		[ "$(wc -l <<<"$output")" -ne 1 ]; then
		printf 'FAILED: %s\n  wanted: %s\n  got: %s\n' "$1" "$want" "$output"
		failures=$((failures + 1))
	fi
	fresh_tree
}

violation()
{
	mkdir -p "$(dirname "$folder/$2")"
	printf '%s\n' "$3" >>"$folder/$2"
	expect "$1" "$2" "$4"
}

fresh_tree
if ! output=$("$check" "$folder"); then
	printf 'FAILED: a clean tree passes\n%s\n' "$output"
	failures=1
fi

arrow='forbidden arrow'
violation 'base includes nothing' src/base/text.c '#include "net/http.h"' "$arrow"
violation 'vae knows no images' src/vae/kl.c '#include "image/image.h"' "$arrow"
violation 'image knows no sources' src/image/png.h '#include "src/source/source.h"' "$arrow"
violation 'queue and storage are siblings' queue/queue_sqlite.c '#include "storage/spool.h"' "$arrow"
violation 'storage knows no encoder' storage/wds.c '#include "encoder/encoder.h"' "$arrow"
violation 'encoder knows no queue' src/encoder/cpu.c '#include "queue/queue.h"' "$arrow"
violation 'nobody includes the daemon' config/config.c '#include "daemon/loop.h"' "$arrow"
violation 'the daemon knows no tests' daemon/main.c '#include "tests/testing.h"' "$arrow"
violation 'no way around by ..' src/vae/kl.c '#include "../image/image.h"' 'include with ..'
violation 'no way around by <>' src/vae/kl.c '#include <image/image.h>' 'header of this tree'

library='library header outside its home'
violation 'sqlite3.h' queue/queue.c '#include <sqlite3.h>' "$library"
violation 'dnnl.h' src/vae/layers.c '#include <dnnl.h>' "$library"
violation 'archive.h' daemon/main.c '#include <archive.h>' "$library"
violation 'archive_entry.h' src/vae/kl.c '#include <archive_entry.h>' "$library"
violation 'curl.h' src/encoder/remote.c '#include <curl/curl.h>' "$library"
violation 'jpeglib.h' src/source/folder.c '#include <jpeglib.h>' "$library"
violation 'png.h' daemon/main.c '#include <png.h>' "$library"
violation 'lcms2.h' daemon/main.c '#include <lcms2.h>' "$library"
violation 'zstd.h' storage/wds.c '#include <zstd.h>' "$library"
violation 'xxhash.h' src/source/key.c '#include <xxhash.h>' "$library"
violation 'openssl' src/vae/kl.c '#include <openssl/sha.h>' "$library"
violation 'systemd' src/base/clock.c '#include <systemd/sd-event.h>' "$library"
violation 'jansson.h in a header' src/vae/config.h '#include <jansson.h>' "$library"

violation 'rename' storage/store.c 'int r = rename("a", "b");' 'rename outside'
violation 'renameat2' storage/store.c 'int r = renameat2 (1, "a", 2, "b", 0);' 'rename outside'
violation 'renameat2 by its number' storage/store.c 'syscall(SYS_renameat2, 1, "a", 2, "b", 0);' \
	'rename outside'
violation 'line comment' src/base/text.c 'int x; // why' 'line comment'
violation 'unfinished work' src/base/text.c '/* TO''DO */' 'unfinished work'
violation 'path of one machine' docs/guide.md 'see /home''/someone/notes' 'path of one machine'

touch "$folder/storage/loop.c"
expect 'one file name, one file' storage/loop.c 'file name used twice'

if [ "$failures" -gt 0 ]; then
	printf '%d failed\n' "$failures"
	exit 1
fi
printf 'all violations noticed\n'
