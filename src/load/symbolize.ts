/** Addresses of stack traces to names: kernel functions from /proc/kallsyms, user functions from the ELF files a process has mapped. */
import { existsSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { FunctionTable } from "../elf/functions.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { realKernel } from "../syscall/kernel-real.ts";
import { withElf } from "./attach/binary.ts";
import { kallsyms } from "./kallsyms.ts";

/** One frame of a stack. `name` is undefined where nothing is known about the address. */
export interface Frame {
  readonly address: bigint;
  readonly name: string | undefined;
  /** Bytes from the start of the function. */
  readonly offset: number;
  /** Kernel module, or path of the file; "" for the kernel itself. */
  readonly module: string;
}

interface Region {
  readonly start: bigint;
  readonly end: bigint;
  readonly fileOffset: bigint;
  readonly path: string;
}
interface Process {
  readonly regions: readonly Region[];
  /** Functions of just-in-time compilers (/tmp/perf-PID.map). */
  readonly jit: readonly { start: bigint; size: bigint; name: string }[];
}

/** Processes whose maps are remembered; the oldest goes first. */
const MAX_PROCESSES = 256;

/**
 * Turns addresses into names. Files are read once, whoever maps them; the maps of a
 * process are read when its first address is asked for, so ask while it still runs.
 *
 * @example
 * const symbols = new Symbolizer();
 * for (const frame of symbols.kernelStack(collection.stackTraces("stacks").get(id) ?? [])) console.log(frame.name);
 */
export class Symbolizer {
  readonly #kernel: Kernel;
  readonly #processes = new Map<number, Process>();
  readonly #files = new Map<string, FunctionTable | undefined>();

  constructor(kernel: Kernel = realKernel()) {
    this.#kernel = kernel;
  }

  /** Frames of a kernel stack, innermost first. */
  kernelStack(addresses: readonly bigint[]): Frame[] {
    return addresses.map((address, i) => this.kernelSymbol(address, i > 0));
  }

  /** Frames of a user stack of process `pid`, innermost first. */
  userStack(pid: number, addresses: readonly bigint[]): Frame[] {
    return addresses.map((address, i) => this.userSymbol(pid, address, i > 0));
  }

  /** `returnAddress`: the address is the one after a call, which may already belong to the next function. */
  kernelSymbol(address: bigint, returnAddress = false): Frame {
    const back = returnAddress ? 1n : 0n;
    const found = kallsyms(this.#kernel).lookup(address - back);
    if (found === undefined) return { address, name: undefined, offset: 0, module: "" };
    return { address, name: found.name, offset: found.offset + Number(back), module: found.module };
  }

  userSymbol(pid: number, address: bigint, returnAddress = false): Frame {
    const back = returnAddress ? 1n : 0n;
    const at = address - back;
    const process = this.#process(pid, at);
    const region = process.regions.find((r) => at >= r.start && at < r.end);
    const jit = process.jit.find((f) => at >= f.start && at < f.start + f.size);
    if (jit !== undefined)
      return { address, name: jit.name, offset: Number(address - jit.start), module: region?.path ?? "[jit]" };
    if (region === undefined) return { address, name: undefined, offset: 0, module: "" };
    const offset = Number(at - region.start + region.fileOffset);
    const found = this.#file(pid, region.path)?.findByOffset(offset);
    if (found === undefined || found.offset === undefined)
      return { address, name: undefined, offset, module: region.path };
    return { address, name: found.name, offset: offset - found.offset + Number(back), module: region.path };
  }

  #process(pid: number, address: bigint): Process {
    let process = this.#processes.get(pid);
    // A library that was loaded meanwhile: look again.
    if (process !== undefined && process.regions.some((r) => address >= r.start && address < r.end)) return process;
    const fresh = { regions: readMaps(pid), jit: readPerfMap(pid) };
    // The process is gone: what was known about it still holds.
    process = fresh.regions.length === 0 && process !== undefined ? process : fresh;
    if (this.#processes.size >= MAX_PROCESSES) {
      const oldest = this.#processes.keys().next().value;
      if (oldest !== undefined) this.#processes.delete(oldest);
    }
    this.#processes.set(pid, process);
    return process;
  }

  #file(pid: number, path: string): FunctionTable | undefined {
    if (!path.startsWith("/")) return undefined;
    // A container's file by way of its process's root; one table for a file, however it is reached.
    const reachable = existsSync(`/proc/${pid}/root${path}`) ? `/proc/${pid}/root${path}` : path;
    const key = identity(reachable);
    if (!this.#files.has(key)) this.#files.set(key, readFunctions(reachable));
    return this.#files.get(key);
  }
}

function identity(path: string): string {
  try {
    const { dev, ino, mtimeMs } = statSync(path);
    return `${dev}:${ino}:${mtimeMs}`;
  } catch {
    return path;
  }
}

function readFunctions(path: string): FunctionTable | undefined {
  try {
    return withElf(path, (elf) => {
      const table = new FunctionTable(elf);
      // File offsets come from the program headers, which have to be read while the file is open.
      void elf.segments;
      return table;
    });
  } catch {
    // Not an ELF file, unreadable or damaged: its frames stay without names.
    return undefined;
  }
}

function readMaps(pid: number): Region[] {
  const text = readText(`/proc/${pid}/maps`);
  const regions: Region[] = [];
  for (const m of text.matchAll(/^([0-9a-f]+)-([0-9a-f]+) ..x. ([0-9a-f]+) \S+ \d+ *(.*)$/gm)) {
    regions.push({
      start: BigInt(`0x${m[1] ?? "0"}`),
      end: BigInt(`0x${m[2] ?? "0"}`),
      fileOffset: BigInt(`0x${m[3] ?? "0"}`),
      path: (m[4] ?? "").replace(/ \(deleted\)$/, ""),
    });
  }
  return regions;
}

function readPerfMap(pid: number): Process["jit"] {
  // Inside a container the process knows itself by another number.
  const inner = /^NSpid:.*?(\d+)$/m.exec(readText(`/proc/${pid}/status`))?.[1] ?? String(pid);
  const text = readText(`/proc/${pid}/root/tmp/perf-${inner}.map`);
  return [...text.matchAll(/^([0-9a-f]+) ([0-9a-f]+) (.+)$/gm)].map((m) => ({
    start: BigInt(`0x${m[1] ?? "0"}`),
    size: BigInt(`0x${m[2] ?? "0"}`),
    name: m[3] ?? "",
  }));
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** Path of the executable of a process, or undefined when it is gone. */
export function executableOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}
