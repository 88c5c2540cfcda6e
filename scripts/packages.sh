#!/usr/bin/env bash
# Builds the .deb packages: the same bytes from the same sources.
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage()
{
	cat <<-END
	usage: scripts/packages.sh [FOLDER]
	  FOLDER     where the packages go (build/packages); what is built lies beside them in FOLDER/build
	Installs by itself what the build needs; LATENTD_NO_INSTALL=1 keeps it from that.
	END
}

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
# The time that files in the packages carry.
export SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(git -C "$ROOT" log -1 --format=%ct 2>/dev/null || stat -c %Y "$ROOT/CHANGELOG.md")
step 'build'
build_tree "$folder/build" '' -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_INSTALL_PREFIX=/usr -DLATENTD_TESTS=OFF
step 'packages'
(cd "$folder/build" && quietly cpack -B "$folder" && rm -rf "$folder/_CPack_Packages")
ls -l "$folder"/*.deb
