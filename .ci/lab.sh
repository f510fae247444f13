#!/usr/bin/env bash
# Called by make lab: a three-node lab with an image on it. The argument is its directory.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/deps.sh lab
make --no-print-directory build

lab=${1:-covol-lab}
covol=$PWD/bin/covol
if [ "$(id -u)" != 0 ]; then
	echo "make lab: mounting for all users needs root; run: sudo make lab" >&2
	exit 1
fi
"$covol" lab up --nodes 3 --dir "$lab" >/dev/null
dir=$(cd "$lab" && pwd)
one=$dir/node1/csv/volume1 two=$dir/node2/csv/volume1

echo
echo "== On node 1: a disk image of 512 MiB placed on the volume, raw and as qcow2"
tmp=$dir/demo.img
trap 'rm -f "$tmp"' EXIT
rm -f "$tmp" "$one/demo.img" "$one/demo.qcow2"
truncate -s 512M "$tmp"
if command -v mke2fs >/dev/null; then
	mke2fs -q -t ext4 -d /usr/share/common-licenses "$tmp" 2>/dev/null || mke2fs -q -t ext4 "$tmp"
fi
cp --sparse=always "$tmp" "$one/demo.img"
qemu-img convert -O qcow2 "$one/demo.img" "$one/demo.qcow2"
ls -ls "$one"

echo
echo "== On node 2: the same image, seen through its own mount"
ls -ls "$two"
qemu-img compare "$two/demo.img" "$two/demo.qcow2"
qemu-img check "$two/demo.qcow2"
a=$(sha256sum <"$one/demo.img") b=$(sha256sum <"$two/demo.img")
echo "sha256 on node 1: ${a%% *}"
echo "sha256 on node 2: ${b%% *}"
[ "$a" = "$b" ]

echo
"$covol" lab up --dir "$lab"
cat <<TEXT

The program is $covol; put it on your PATH:  export PATH=$PWD/bin:\$PATH
Stop the lab and remove it with:  make lab-down
What all this is: README.md, docs/ARCHITECTURE.md, docs/operations.md
TEXT
