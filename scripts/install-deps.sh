#!/usr/bin/env bash
# Installs what building and testing needs, on Debian 12 and newer and Ubuntu 22.04 and newer.
# Packages that are there already are left alone, so a second run takes no time.
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage()
{
	cat <<-END
	usage: scripts/install-deps.sh [--all] [--list]
	  (nothing)  compiler, libraries and tools that a build with its tests needs
	  --all      also what only the full test run uses: clang and libFuzzer, clang-format 14,
	             Chromium, PostgreSQL, Swift, Slurm. What the system does not offer is passed over with a note.
	  --list     prints the packages and installs nothing
	LATENTD_NO_INSTALL=1 in the environment: check nothing, install nothing.
	END
}

REQUIRED=(build-essential cmake ninja-build pkg-config
	libdnnl-dev libarchive-dev libzstd-dev libxxhash-dev libjansson-dev libpng-dev libjpeg-dev
	libwebp-dev libdeflate-dev libgif-dev libseccomp-dev liblcms2-dev libsqlite3-dev libssl-dev libsystemd-dev
	libmicrohttpd-dev libcurl4-openssl-dev libexpat1-dev libyaml-dev libcmocka-dev python3)
# libomp-dev: CMake's FindOpenMP needs it with clang. Ubuntu 22.04 has no libclang-rt-dev; its clang
# brings the same files by itself.
OPTIONAL=(clang libclang-rt-dev libomp-dev clang-format-14 python3-venv python3-h2 libavif-dev libjxl-dev
	libpq-dev postgresql pgbouncer nginx-light python3-swift iproute2
	shellcheck python3-yaml slurm-wlm munge chromium lintian debootstrap)

# missing PACKAGE...: those that are not installed, one a line.
missing()
{
	local package installed
	installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "$@" 2>/dev/null || true)"
	for package in "$@"; do
		case $installed in
		*" installed:$package "*) ;;
		*) printf '%s\n' "$package" ;;
		esac
	done
}

# offered PACKAGE...: those that apt could install, one a line.
offered()
{
	local package
	for package in "$@"; do
		if [[ $(apt-cache policy "$package") =~ Candidate:\ [^\(] ]]; then
			printf '%s\n' "$package"
		else
			printf 'not offered by this system, passed over: %s\n' "$package" >&2
		fi
	done
}

apt_get()
{
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 \
		-o DPkg::Lock::Timeout=300 "$@"
}

all=no
for argument in "$@"; do
	case $argument in
	--all) all=yes ;;
	--list) printf '%s\n' "${REQUIRED[@]}" "${OPTIONAL[@]/%/ (optional)}"; exit 0 ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
[ -z "${LATENTD_NO_INSTALL:-}" ] || exit 0

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
	cat >&2 <<-END
	This system has no apt. Please install what these Debian packages contain, then run again with
	LATENTD_NO_INSTALL=1:
	  ${REQUIRED[*]}
	and for the full test run, if you can:
	  ${OPTIONAL[*]}
	END
	exit 1
fi

mapfile -t required < <(missing "${REQUIRED[@]}")
optional=()
[ "$all" = no ] || mapfile -t optional < <(missing "${OPTIONAL[@]}")
[ $((${#required[@]} + ${#optional[@]})) -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		[ ${#required[@]} -gt 0 ] || exit 0
		die "packages are missing, and there is no sudo; as root: apt-get install ${required[*]}"
	fi
	as_root=(sudo)
fi

# Lists are fetched when they are needed for certain, or when there are none at all (fresh images).
if [ ${#required[@]} -gt 0 ] || ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
	quietly apt_get update || printf 'apt-get update failed; trying with the lists that are here\n' >&2
fi
if [ ${#required[@]} -gt 0 ]; then
	printf 'installing: %s\n' "${required[*]}"
	quietly apt_get install -y --no-install-recommends "${required[@]}" || die 'apt-get install failed'
fi
if [ ${#optional[@]} -gt 0 ]; then
	mapfile -t optional < <(offered "${optional[@]}")
fi
if [ ${#optional[@]} -gt 0 ]; then
	printf 'installing: %s\n' "${optional[*]}"
	quietly apt_get install -y --no-install-recommends "${optional[@]}" ||
		printf 'could not be installed, the tests that use them are skipped: %s\n' "${optional[*]}" >&2
fi
