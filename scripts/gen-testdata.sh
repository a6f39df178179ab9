#!/bin/sh
# Makes test/testdata/*-el.o and *-eb.o from the .c files beside them. Needs clang, llvm-strip and libbpf's
# headers (Debian: clang-19 llvm-19 libbpf-dev linux-libc-dev). CLANG and STRIP choose other versions.
set -eu
cd "$(dirname "$0")/../test/testdata"
CLANG=${CLANG:-clang-19}
STRIP=${STRIP:-llvm-strip-19}
INCLUDE=/usr/include/$(uname -m)-linux-gnu
for source in *.c; do
	name=${source%.c}
	debug=-g
	[ "$name" = nobtf ] && debug=
	for endian in el eb; do
		# Without the absolute path in BTF, so that the result is the same on every machine.
		"$CLANG" -target bpf$endian -mcpu=v3 -O2 $debug -fdebug-compilation-dir=. -idirafter "$INCLUDE" \
			-Wall -Wno-visibility -c "$source" -o "$name-$endian.o"
		"$STRIP" -g "$name-$endian.o"
	done
done
ls -l -- *.o
