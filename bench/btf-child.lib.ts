/** One cold measurement in a process of its own: `open` and `name` print milliseconds, `header` prints vmlinux.h. */
import { fstatSync, openSync, readFileSync, writeSync } from "node:fs";
import { Btf, dumpC } from "../src/btf/index.ts";
import { kernelBtf } from "../src/load/kernel-btf.ts";
import { MAP, PROT, realKernel } from "../src/syscall/index.ts";

const FILE = "/sys/kernel/btf/vmlinux";

function bytesOfKernelBtf(): Uint8Array {
  const kernel = realKernel();
  const fd = openSync(FILE, "r");
  const { size } = fstatSync(fd);
  // Kernels before 6.16 cannot map it; those after want a private mapping.
  const address = kernel.mmap(size, PROT.READ, MAP.PRIVATE, fd, 0);
  return address > 0 ? new Uint8Array(kernel.view(address, size)) : new Uint8Array(readFileSync(FILE));
}

if (process.argv[2] === "open") {
  // libc's functions are bound before, as the dynamic linker did for the rival: only BTF is measured.
  const kernel = realKernel();
  const page = openSync("/proc/self/exe", "r");
  kernel.view(kernel.mmap(4096, PROT.READ, MAP.PRIVATE, page, 0), 4096);
  const start = performance.now();
  Btf.parse(bytesOfKernelBtf());
  console.log(performance.now() - start);
} else if (process.argv[2] === "name") {
  // As the loader opens it: indexed as far as it is asked for.
  const { vmlinux } = kernelBtf(realKernel());
  const start = performance.now();
  if (vmlinux.findByName("task_struct", "struct") === undefined) process.exit(1);
  console.log(performance.now() - start);
} else {
  const text = Buffer.from(dumpC(Btf.parse(bytesOfKernelBtf())));
  for (let at = 0; at < text.length;) at += writeSync(1, text, at);
}
