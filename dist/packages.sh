# SPDX-License-Identifier: AGPL-3.0-or-later
# Which Debian packages what needs, and how missing ones are installed. Sourced by ./run and
# ./check; the lists stand here and nowhere else.

build_packages='meson ninja-build pkg-config gcc make libc6-dev libsodium-dev libssl-dev
 libunbound-dev libsqlite3-dev libzstd-dev libseccomp-dev libcmocka-dev libidn2-dev libpsl-dev zlib1g-dev
 libcurl4-openssl-dev  publicsuffix python3'
# libubsan and libasan come with gcc; libclang-rt is for libFuzzer (make fuzz).
check_packages='clang libclang-rt-14-dev clang-format python3 openssl swaks isync curl git
 ca-certificates gsasl libsasl2-modules iproute2 util-linux procps neomutt mutt offlineimap3 fetchmail tcpdump gnupg strace pebble python3-dkim python3-spf'
# Servers that serve as peers (Postfix, Exim, OpenSMTPD, Dovecot, Knot, rspamd) are not installed, since they would conflict
# with each other and start with the machine: test/peers unpacks them into build-peers/.
peer_packages='knot-dnsutils bind9-dnsutils'

# need_packages LIST...: installs what is missing, quietly; ends the script with one line where it can't.
need_packages()
{
	missing=
	for package in $*; do
		case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
		*' installed') ;;
		*) missing="$missing $package" ;;
		esac
	done
	[ -z "$missing" ] && return 0
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "$0: missing packages (this is not Debian; install their equivalents):$missing" >&2
		exit 1
	fi
	root=
	if [ "$(id -u)" -ne 0 ]; then
		if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
			root='sudo -n'
		else
			echo "$0: missing packages; as root: apt-get install$missing" >&2
			exit 1
		fi
	fi
	echo "installing:$missing"
	# No service may start because a test wants its program: policy-rc.d answers 101 (forbidden)
	# for the time of the installation, unless the administrator has one of his own.
	policy=/usr/sbin/policy-rc.d
	made=
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' | $root tee $policy >/dev/null && $root chmod 755 $policy && made=1
	fi
	installed=1
	for attempt in 1 2; do
		if $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
			$missing >"${TMPDIR:-/tmp}/cohue-apt.$$" 2>&1; then
			installed=0
			break
		fi
		[ $attempt -eq 1 ] && $root apt-get update -q >/dev/null 2>&1
	done
	[ -n "$made" ] && $root rm -f $policy
	if [ $installed -ne 0 ]; then
		tail -n 5 "${TMPDIR:-/tmp}/cohue-apt.$$" >&2
		rm -f "${TMPDIR:-/tmp}/cohue-apt.$$"
		echo "$0: could not install:$missing" >&2
		exit 1
	fi
	rm -f "${TMPDIR:-/tmp}/cohue-apt.$$"
}

# build_tree DIR CC SETUP-OPTION...: configures once, then builds what changed ($niced: a word before the command).
build_tree()
{
	tree=$1
	compiler=$2
	shift 2
	if [ ! -f "$tree/build.ninja" ]; then
		rm -rf "$tree"
		CC=$compiler meson setup "$tree" "$@" || return 1
	fi
	${niced-} ninja -C "$tree"
}

# binary_in DIR: prints the path of the built program, if any.
binary_in()
{
	find -L "$1" -type f -name cohue -perm -u+x 2>/dev/null | head -n 1
}
