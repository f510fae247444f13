#!/usr/bin/env bash
# Installs what is missing. Arguments name what for: lab or test. Source it, so that a Go it installs is on PATH.
# What cannot be installed is said; tests that need it then skip, and the summary counts them.

covol_go_version() { awk '$1 == "go" { print $2 }' go.mod; }

covol_deps_say() { echo "deps: $*" >&2; }

covol_apt() { # packages
	[ $# -gt 0 ] || return 0
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		covol_deps_say "missing and not installed, for want of root or apt-get: $*"
		return 0
	fi
	covol_deps_say "installing $*"
	export DEBIAN_FRONTEND=noninteractive
	if [ -z "${covol_apt_updated:-}" ]; then
		apt-get -qq update || covol_deps_say "apt-get update failed, trying with the lists that are here"
		covol_apt_updated=1
	fi
	# One by one: a package that this release does not have must not keep the others away.
	for p in "$@"; do
		apt-get -qq -y --no-install-recommends install "$p" >/dev/null || covol_deps_say "could not install $p"
	done
}

# need COMMAND PACKAGE: notes the package if the command is not there.
covol_need() {
	command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || covol_missing+=("$2")
}

covol_deps() {
	covol_missing=()
	covol_need fusermount3 fuse3
	covol_need make make
	if [ "$1" = lab ]; then
		covol_need qemu-img qemu-utils
	else
		covol_need fio fio
		covol_need ip iproute2
		covol_need nft nftables
		covol_need qemu-img qemu-utils
		covol_need mke2fs e2fsprogs
		covol_need fuse2fs fuse2fs
		covol_need ntfs-3g ntfs-3g
		covol_need qemu-system-x86_64 qemu-system-x86
		covol_need getfattr attr
		covol_need getfacl acl
		covol_need dpkg-deb dpkg
		covol_need cpio cpio
		covol_need mkfs.xfs xfsprogs
		covol_need mkfs.btrfs btrfs-progs
		covol_need mkfs.vfat dosfstools
		covol_need gcc gcc
		covol_need tgtd tgt
		covol_need iscsi-test-cu libiscsi-bin
		compgen -G "/usr/lib/*/qemu/block-iscsi.so" >/dev/null || covol_missing+=(qemu-block-extra)
		[ -e /usr/include/stdlib.h ] || covol_missing+=(libc6-dev)
	fi
	covol_apt "${covol_missing[@]}"
	[ -e /dev/fuse ] || modprobe fuse 2>/dev/null || covol_deps_say "there is no /dev/fuse: nothing can be mounted here"
	covol_go
	[ "$1" = lab ] || covol_kernel
}

# Any Go from 1.21 on fetches the version that go.mod names by itself.
covol_go() {
	local have
	if ! command -v go >/dev/null && [ -x /usr/local/go/bin/go ]; then
		PATH=$PATH:/usr/local/go/bin
	fi
	if ! command -v go >/dev/null; then
		covol_apt golang-go
	fi
	have=$(go env GOVERSION 2>/dev/null || true)
	case "$have" in
	go1.2[1-9]* | go1.[3-9][0-9]* | go[2-9]*) return 0 ;;
	esac
	# The release has none, or one that is too old to fetch another: backports may have a newer one.
	covol_deps_say "Go ${have:-(none)} is too old, trying backports"
	if [ "$(id -u)" = 0 ] && [ -r /etc/os-release ] && command -v apt-get >/dev/null; then
		. /etc/os-release
		apt-get -qq -y -t "${VERSION_CODENAME:-}-backports" install golang-go >/dev/null 2>&1 || true
		for g in /usr/lib/go-1.*/bin; do [ -x "$g/go" ] && PATH=$g:$PATH; done
	fi
	if ! go version >/dev/null 2>&1; then
		covol_deps_say "no usable Go: install Go $(covol_go_version) or newer and run this again"
		return 1
	fi
}

# Debian's cloud kernel for the guest of the VM tests. It is only unpacked: no kernel is installed on this machine.
covol_kernel() {
	local dir=${COVOL_KERNEL_DIR:-/var/cache/covol/kernel} deb pkg tmp
	mkdir -p "$dir" 2>/dev/null && [ -w "$dir" ] || dir=${XDG_CACHE_HOME:-$HOME/.cache}/covol/kernel
	export COVOL_KERNEL_DIR=$dir
	compgen -G "$dir/boot/vmlinuz-*" >/dev/null && return 0
	command -v apt-get >/dev/null && [ "$(uname -m)" = x86_64 ] || return 0
	[ "$(id -u)" != 0 ] || [ -n "${covol_apt_updated:-}" ] || { apt-get -qq update || true; covol_apt_updated=1; }
	pkg=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
	if [ -z "$pkg" ]; then
		covol_deps_say "no cloud kernel in the package lists: the VM test will skip"
		return 0
	fi
	covol_deps_say "unpacking $pkg into $dir"
	tmp=$(mktemp -d)
	chmod 755 "$tmp"
	if (cd "$tmp" && apt-get -qq download "$pkg" >/dev/null 2>&1) && deb=$(ls "$tmp"/*.deb 2>/dev/null) && mkdir -p "$dir" &&
		dpkg-deb -x "$deb" "$dir"; then
		:
	else
		covol_deps_say "could not fetch $pkg: the VM test will skip"
	fi
	rm -rf "$tmp"
}

PATH=$PATH:/usr/sbin:/sbin
covol_deps "${1:-test}"
