#!/usr/bin/env bash
# Builds the .deb packages: the same bytes from the same sources.
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage()
{
	cat <<-END
	usage: scripts/packages.sh [--check-reproducible] [FOLDER]
	  FOLDER     where the packages go (build/packages); what is built lies beside them in FOLDER/build
	  --check-reproducible
	             builds everything a second time, elsewhere and under other circumstances, and compares the bytes
	SOURCE_DATE_EPOCH is the time that files in the packages carry (of the last commit). Installs by itself what the
	build needs; LATENTD_NO_INSTALL=1 keeps it from that.
	END
}

check=''
if [ "${1:-}" = --check-reproducible ]; then
	check=1
	shift
fi
case ${1:-} in
-h | --help)
	usage
	exit 0
	;;
-*)
	usage >&2
	exit 2
	;;
esac
folder=${1:-$ROOT/build/packages}
"$ROOT/scripts/install-deps.sh"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd -P)
export SOURCE_DATE_EPOCH
: "${SOURCE_DATE_EPOCH:=$(git -C "$ROOT" log -1 --format=%ct 2>/dev/null || stat -c %Y "$ROOT/CHANGELOG.md")}"
umask 022 # packages have the modes of what is packed
step 'build'
# Programs are stripped: what debuggers would be told names folders, and would only be counted in build ids. nvcc names a
# symbol after an intermediate file, which has a process's number unless it lies beside the object.
build_tree "$folder/build" '' -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_INSTALL_PREFIX=/usr -DLATENTD_TESTS=OFF \
	-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O2 '-DCMAKE_CUDA_FLAGS_RELWITHDEBINFO=-O2 --objdir-as-tempdir'
step 'packages'
(cd "$folder/build" && quietly cpack -B "$folder" && rm -rf "$folder/_CPack_Packages")
ls -l "$folder"/*.deb
[ "$check" ] || exit 0

# What must not matter: where the sources and the build lie, time, zone, language, the umask.
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
mkdir -p "$elsewhere/sources of another name"
tar -C "$ROOT" --exclude=./build --exclude='./build-*' --exclude=./.git -c . | tar -C "$elsewhere/sources of another name" -x
step 'once more, elsewhere'
(
	umask 077
	export TZ=Pacific/Kiritimati LC_ALL=C LATENTD_NO_INSTALL=1
	"$elsewhere/sources of another name/scripts/packages.sh" "$elsewhere/made"
)
step 'compare'
for package in "$elsewhere"/made/*.deb; do # FOLDER may hold those of other versions too
	cmp "$package" "$folder/$(basename "$package")" || die "two builds of $(basename "$package") differ"
done
(cd "$elsewhere/made" && sha256sum ./*.deb)
