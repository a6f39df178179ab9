/** Asked before anything is loaded: may this process do it, and if not, what works without? */
import { readFileSync } from "node:fs";
import { BpfkitError, NotSupportedError } from "../core/errors.ts";

/** Bits of CapEff (include/uapi/linux/capability.h). CAP_BPF and CAP_PERFMON exist since Linux 5.8. */
const CAPABILITIES = [
  { name: "CAP_BPF", bit: 39n, what: "load programs and maps" },
  { name: "CAP_PERFMON", bit: 38n, what: "attach tracing programs and read kernel memory" },
] as const;
const CAP_SYS_ADMIN = 21n;

const WITHOUT = `Without privilege these work:
  bpfkit run --simulate FILE   run it in a small built-in world, verified by the kernel's rules
  bpfkit sim, bpfkit test      run one program on a context of yours; unit tests
  bpfkit compile FILE.ts       compile to a BPF object
  bpfkit disasm FILE.ts        see the instructions between the TypeScript lines
  bpfkit asm, bpfkit types     assemble; kernel types for the editor`;

/** Throws code "NOT_PERMITTED" naming the missing capabilities, or `NotSupportedError` off Linux. */
export function requirePrivilege(command: string): void {
  if (process.platform !== "linux") {
    throw new NotSupportedError("linux", `loading BPF programs needs Linux, this is ${process.platform}.\n${WITHOUT}`);
  }
  const missing = missingCapabilities();
  if (missing.length === 0) return;
  throw new BpfkitError(
    "NOT_PERMITTED",
    `this process lacks ${missing.map((c) => `${c.name} (to ${c.what})`).join(" and ")}.\n` +
      `Run it with sudo:  sudo npx bpfkit ${command}\n\n${WITHOUT}`,
  );
}

/** Those that tracing needs and this process lacks; empty also where that cannot be found out. */
export function missingCapabilities(): readonly { readonly name: string; readonly what: string }[] {
  const effective = effectiveCapabilities();
  if (effective === undefined || ((effective >> CAP_SYS_ADMIN) & 1n) === 1n) return [];
  return CAPABILITIES.filter((c) => ((effective >> c.bit) & 1n) === 0n);
}

function effectiveCapabilities(): bigint | undefined {
  try {
    const line = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync("/proc/self/status", "latin1"));
    return line?.[1] === undefined ? undefined : BigInt(`0x${line[1]}`);
  } catch {
    return undefined;
  }
}
