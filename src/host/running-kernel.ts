/** The kernel that this process runs on, as far as anybody may read it: no privilege is needed. */
import { NotSupportedError } from "../core/errors.ts";

export interface RunningKernel {
  /** Bytes of its BTF. */
  readonly btf: Uint8Array;
  /** `uname -r` */
  readonly release: string;
  /** Text of an event's `format` file; undefined where tracefs cannot be read (only root may, and only where it is mounted). */
  format(category: string, name: string): string | undefined;
}

const TRACEFS = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/** @throws NotSupportedError where there is no Linux with BTF */
export function runningKernel(): RunningKernel {
  const fs = globalThis.process?.getBuiltinModule?.("node:fs");
  const read = (path: string): Uint8Array | undefined => {
    try {
      return fs?.readFileSync(path);
    } catch {
      return undefined;
    }
  };
  const text = (path: string): string | undefined => {
    const bytes = read(path);
    return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
  };
  const btf = read("/sys/kernel/btf/vmlinux");
  if (btf === undefined) {
    throw new NotSupportedError(
      "kernel types",
      "there is no running Linux kernel with types here (/sys/kernel/btf/vmlinux): choose one that comes with the package, or give a BTF file",
      { minKernel: "5.4" },
    );
  }
  return {
    btf,
    release: (text("/proc/sys/kernel/osrelease") ?? "").trim(),
    format: (category, name) => {
      if (!/^[\w.-]+$/.test(category) || !/^[\w.-]+$/.test(name)) return undefined;
      for (const root of TRACEFS) {
        const found = text(`${root}/events/${category}/${name}/format`);
        if (found !== undefined) return found;
      }
      return undefined;
    },
  };
}
