#!/usr/bin/env bash
# check_layers.sh [ROOT]: what a compiler does not check about the tree. Prints one line for each
# violation, FILE:LINE: REASON, and fails if there is any.
#	arrows        a folder includes only what lies below it (the table `below`)
#	libraries     a third-party header stays where its wrapper is (the table `home`); tests are free
#	rename        only src/base/atomic_file.c gives files their names
#	names         a file name stands for one file
#	style         no line comments, no notes about unfinished work, no paths of one machine
set -euo pipefail

cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"

# Every file that belongs to the tree, NUL-terminated. FIND-TEST... narrows it down.
files()
{
	find . \( -name .git -o -name 'build*' -type d -o -name demo-out -o -name .venv \
		-o -name __pycache__ -o -path ./tests/golden -o -path ./tests/fuzz/corpus \) -prune \
		-o -type f "$@" -print0 | sort -z
}

check_c()
{
	# shellcheck disable=SC2016 # $0 is awk's
	files -name '*.[ch]' | xargs -0r awk '
	BEGIN {
		below["base"] = " "
		below["net"] = below["image"] = below["vae"] = " base "
		below["queue"] = below["config"] = " base "
		below["storage"] = below["source"] = " base net "
		below["encoder"] = " base vae image net "
		below["daemon"] = " base net image vae source encoder queue storage config "

		home["^sqlite3"] = "^queue/queue_sqlite[^/]*$"
		home["^libpq-fe|^postgresql/"] = "^queue/queue_postgres[^/]*$"
		home["^dnnl|^oneapi/"] = "^src/vae/(vae_engine_onednn|onednn_kernels)\\.[ch]$"
		home["^archive"] = "^(storage|src/source)/"
		home["^expat"] = "^src/net/s3_xml\\.c$"
		home["^curl/"] = "^src/net/"
		home["^(jpeglib|turbojpeg|png|spng|lcms2|webp/|gif_lib|avif/|jxl/)"] = "^src/image/"
		home["^zstd"] = "^src/base/(compress|frame_pieces)\\.c$"
		home["^xxh|^openssl/"] = "^src/base/hash\\.c$"
		home["^libdeflate"] = "^(src/image|storage)/"
		home["^systemd/"] = "^daemon/"
		home["^microhttpd|^seccomp"] = "^daemon/"
		home["^yaml"] = "^config/"
		home["^cud|^cublas"] = "^src/encoder/cuda/"
		home["^jansson"] = "\\.c$"
	}

	function report(reason) {
		printf "%s:%d: %s\n", path, FNR, reason
		bad = 1
	}

	function module_of(p) {
		sub(/^src\//, "", p)
		sub(/\/.*/, "", p)
		return p
	}

	function check_include(name, quoted,   header, module) {
		if (name ~ /\.\.\//) {
			report("include with ..: " name)
			return
		}
		if (path !~ /^tests\//)
			for (header in home)
				if (name ~ header && path !~ home[header])
					report("library header outside its home: " name)
		module = module_of(name)
		if (!quoted && module in below && module != "net") # <net/if.h> is not ours
			report("header of this tree in angle brackets: " name)
		if (!quoted || name !~ /\// || mine == "tests")
			return
		if (module != mine && index(below[mine], " " module " ") == 0)
			report("forbidden arrow: " mine " includes " name)
	}

	# The line without comments and the insides of strings; keeps in_comment across lines.
	function code_of(line,   out, two, quote) {
		out = ""
		while (line != "") {
			if (in_comment) {
				if (!match(line, /\*\//))
					return out
				line = substr(line, RSTART + 2)
				in_comment = 0
				continue
			}
			if (!match(line, /\/\*|\/\/|"|\x27/))
				return out line
			out = out substr(line, 1, RSTART - 1)
			two = substr(line, RSTART, 2)
			quote = substr(line, RSTART, 1)
			if (two == "//") {
				report("line comment; use /* */")
				return out
			}
			line = substr(line, RSTART + (two == "/*" ? 2 : 1))
			if (two == "/*") {
				in_comment = 1
				continue
			}
			out = out quote quote
			while (line != "" && substr(line, 1, 1) != quote)
				line = substr(line, substr(line, 1, 1) == "\\" ? 3 : 2)
			line = substr(line, 2)
		}
		return out
	}

	FNR == 1 {
		path = FILENAME
		sub(/^\.\//, "", path)
		mine = module_of(path)
		in_comment = 0
	}

	/^[ \t]*#[ \t]*include[ \t]*[<"]/ && !in_comment {
		name = $0
		sub(/^[^<"]*[<"]/, "", name)
		sub(/[>"].*/, "", name)
		check_include(name, $0 ~ /include[ \t]*"/)
		next
	}

	{
		code = code_of($0)
		if (code ~ /(^|[^A-Za-z0-9_]|(SYS|__NR)_)rename(at2?)?[ \t]*[(,]/ && path !~ /^(src\/base\/atomic_file\.c|tests\/.*)$/)
			report("rename outside src/base/atomic_file.c")
	}

	END { exit bad }'
}

check_names()
{
	files \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' \) | tr '\0' '\n' | awk -F / '
	seen[$NF]++ { printf "%s:1: file name used twice\n", substr($0, 3); bad = 1 }
	END { exit bad }'
}

# grep_none REASON PATTERN FIND-TEST...: no line of the files may match.
grep_none()
{
	local reason=$1 pattern=$2 found
	shift 2
	found=$(files "$@" | xargs -0r grep -nIE "$pattern" | cut -d : -f 1,2) || true
	[ -z "$found" ] && return
	while read -r place; do
		printf '%s: %s\n' "${place#./}" "$reason"
	done <<<"$found"
	return 1
}

status=0
check_c || status=1
check_names || status=1
grep_none 'unfinished work' '\<(TO''DO|FIX''ME)\>' \
	\( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.cmake' -o -name CMakeLists.txt \) ||
	status=1
grep_none 'path of one machine' '(^|[^A-Za-z0-9_.])/(work|root|home)/' || status=1
exit "$status"
