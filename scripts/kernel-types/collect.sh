#!/bin/bash
# What make.mts needs of the running kernel: collect.sh DIRECTORY (as root).
#
# In a Debian kernel booted for it, or on the machine itself:
#   scripts/kernel-types/collect.sh /tmp/6.1
#   node --import tsx scripts/kernel-types/make.mts 6.1 /tmp/6.1
set -euo pipefail
out=$1
mkdir -p "$out"
uname -r >"$out/release"
cp /sys/kernel/btf/vmlinux "$out/vmlinux.btf"
events=/sys/kernel/tracing/events
[[ -d $events ]] || { unshare -m bash -c "mount -t tracefs t /sys/kernel/tracing && exec \"\$0\" \"\$1\"" "$0" "$out"; exit; }
cd "$events"
for file in */*/format; do printf '== %s\n' "${file%/format}" && cat "$file"; done >"$out/formats"
