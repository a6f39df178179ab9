/**
 * Programs in user space: the JIT against the kernel's own (duration of PROG_TEST_RUN) and ubpf's, the traced JIT against
 * ubpf's interpreter, and the way from bytes to a first result.
 *
 * Needs clang-19. `UBPF` names a source folder of ubpf that was built with `cmake -B build -DBUILD_SHARED_LIBS=ON
 * -DUBPF_SKIP_EXTERNAL=1` and `cmake --build build --target ubpf`; without it the rows against ubpf are left out.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Assembler, encodeInsns } from "../src/asm/index.ts";
import * as b from "../src/asm/index.ts";
import { readObject } from "../src/elf/index.ts";
import type { CollectionSpec, ProgSpec } from "../src/elf/spec.ts";
import { bpf, check, mapCreateRaw, progLoad, progTestRun, realKernel } from "../src/syscall/index.ts";
import { BPF_PROG_TYPE } from "../src/uapi/index.ts";
import { Vm, collectionOf } from "../src/vm/index.ts";
import { type Row, row, withGeomean } from "./row.ts";

const kernel = realKernel();
const PROGRAMS = ["sieve", "sha256", "fnv", "count_array", "count_hash", "parser", "copy", "divide", "xorshift"];
const ROUNDS = 9;
const PACKET = new Uint8Array(1500).map((_, i) => (Math.imul(i + 1, 0x9e37_79b1) >>> 13) & 0xff);

/** What is compiled once; removed at the end. */
interface Built {
  readonly spec: CollectionSpec;
  readonly folder: string;
  readonly ubpf: string | undefined;
}

function build(): Built {
  const folder = mkdtempSync(join(tmpdir(), "bpfkit-bench-vm-"));
  const c = join(import.meta.dirname, "c");
  const object = join(folder, "vm.o");
  const flags = ["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-fno-builtin"];
  execFileSync("clang-19", [...flags, "-c", join(c, "vm.bpf.c"), "-o", object], { stdio: "inherit" });
  const spec = readObject(new Uint8Array(readFileSync(object)), { name: "vm" });
  return { spec, folder, ubpf: buildUbpf(folder, join(c, "ubpf.c")) };
}

function buildUbpf(folder: string, source: string): string | undefined {
  const from = process.env["UBPF"];
  if (from === undefined || !existsSync(join(from, "build/lib/libubpf.so"))) {
    console.error("no rows against ubpf: set UBPF to its source folder, built as bench/vm.ts says");
    return undefined;
  }
  const out = join(folder, "ubpf");
  const lib = join(from, "build/lib");
  const include = [`-I${join(from, "vm/inc")}`, `-I${join(from, "build/vm")}`];
  execFileSync("gcc", ["-O2", ...include, "-o", out, source, `-L${lib}`, "-lubpf", `-Wl,-rpath,${lib}`], {
    stdio: "inherit",
  });
  return out;
}

class KernelProgram {
  readonly #fds: number[];
  readonly #prog: number;

  constructor(spec: CollectionSpec, prog: ProgSpec) {
    const fds = new Map(
      spec.maps.map(({ name, type, keySize, valueSize, maxEntries, flags }) => {
        const fd = mapCreateRaw(kernel, { type, keySize, valueSize, maxEntries, flags });
        return [name, check(kernel, fd, "BPF_MAP_CREATE")];
      }),
    );
    for (const m of spec.maps) {
      if (m.data === undefined) continue;
      const [key, value] = [new Uint8Array(4), m.data];
      check(kernel, bpf(kernel, "MAP_UPDATE_ELEM", { map_fd: fds.get(m.name)!, key, value, flags: 0n }), "update");
    }
    const insns = [...prog.insns];
    for (const ref of prog.refs) {
      if (ref.kind !== "map" && ref.kind !== "map-value") continue;
      insns[ref.insn] = { ...insns[ref.insn]!, src: ref.kind === "map" ? 1 : 2, imm: fds.get(ref.map)! };
      if (ref.kind === "map-value") insns[ref.insn + 1] = { ...insns[ref.insn + 1]!, imm: ref.offset };
    }
    const given = { type: prog.type, insns: encodeInsns(insns) };
    const { result } = progLoad(kernel, given);
    if (result < 0) {
      const { log } = progLoad(kernel, { ...given, logLevel: 1, logSize: 1 << 20 });
      throw new Error(`${prog.name}: ${log.split("\n").slice(-8).join("\n")}`);
    }
    this.#fds = [result, ...fds.values()];
    this.#prog = result;
  }
  run(repeat = 1): { returnValue: number; durationNs: number } {
    return progTestRun(kernel, this.#prog, { data: PACKET, repeat });
  }
  close(): void {
    for (const fd of this.#fds) kernel.close(fd);
  }
}

/** The program as bench/c/ubpf.c reads it. */
function ubpfFile({ maps }: CollectionSpec, prog: ProgSpec): Uint8Array {
  const words = (...values: readonly number[]): Uint8Array => new Uint8Array(new Uint32Array(values).buffer);
  const refs = prog.refs.flatMap((r) => (r.kind === "map" || r.kind === "map-value" ? [r] : []));
  const parts = [words(prog.insns.length, maps.length, refs.length, PACKET.length)];
  for (const m of maps) {
    const data = m.data ?? new Uint8Array(0);
    parts.push(words(m.type, m.keySize, m.valueSize, m.maxEntries, data.length), data);
  }
  for (const r of refs) {
    const map = maps.findIndex((m) => m.name === r.map);
    parts.push(words(r.insn, map, r.kind === "map" ? 0 : 1, r.kind === "map" ? 0 : r.offset));
  }
  return Buffer.concat([...parts, PACKET, encodeInsns(prog.insns)]);
}

interface Timed {
  readonly run: (repeat: number) => void;
  readonly repeat: number;
  best: number;
}

/** A program, warm, and how often it runs in about 10 ms. `traced` writes down its path. */
function timed(spec: CollectionSpec, name: string, engine: "jit" | "interp" | "traced"): Timed {
  const vm = new Vm(spec, engine === "traced" ? {} : { engine });
  const run = (repeat: number): void => {
    const input = { data: PACKET, repeat };
    if (engine === "traced") vm.trace(name, input);
    else vm.run(name, input);
  };
  const start = performance.now();
  let runs = 0;
  // Until V8 has compiled the hot functions a second time.
  for (const step = engine === "interp" ? 1 : 20; performance.now() - start < 400; runs += step) run(step);
  return { run, repeat: Math.max(3, Math.ceil(runs / 40)), best: Number.POSITIVE_INFINITY };
}

/** CPU time: what else runs on the machine does not count. Setting up the packet happens once, as in PROG_TEST_RUN. */
function measure(t: Timed): void {
  const before = process.cpuUsage();
  t.run(t.repeat);
  const { user, system } = process.cpuUsage(before);
  t.best = Math.min(t.best, ((user + system) * 1000) / t.repeat);
}

function programRows({ spec, folder, ubpf }: Built, name: string): Row[] {
  const prog = spec.progs.find((p) => p.name === name)!;
  const theirs = new KernelProgram(spec, prog);
  const expected = theirs.run().returnValue;
  const jit = timed(spec, name, "jit");
  const traced = timed(spec, name, "traced");
  const interp = timed(spec, name, "interp");
  for (const engine of ["jit", "interp"] as const) {
    const { returnValue } = new Vm(spec, { engine }).run(name, { data: PACKET });
    if (returnValue !== expected) throw new Error(`${name}: ${engine} gives ${returnValue}, the kernel ${expected}`);
  }
  const file = join(folder, `${name}.bin`);
  if (ubpf !== undefined) writeFileSync(file, ubpfFile(spec, prog));
  let kernelNs = Number.POSITIVE_INFINITY;
  let ubpfNs = Number.POSITIVE_INFINITY;
  let ubpfInterpNs = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    kernelNs = Math.min(kernelNs, theirs.run(300).durationNs);
    measure(jit);
    measure(traced);
    measure(interp);
    if (ubpf === undefined) continue;
    const out = execFileSync(ubpf, [file, String(jit.repeat), "2"], { encoding: "utf8" })
      .split(" ")
      .map(Number);
    ubpfNs = Math.min(ubpfNs, out[0]!);
    ubpfInterpNs = Math.min(ubpfInterpNs, out[1]!);
  }
  theirs.close();
  const us = (metric: string, ours: number, rival: number, rivalName: string): Row =>
    row("vm", name, metric, "us", ours / 1000, rival / 1000, rivalName);
  const rows = [us("jit", jit.best, kernelNs, "kernel"), us("interp", interp.best, kernelNs, "kernel")];
  if (ubpf !== undefined) {
    rows.push(us("jit", jit.best, ubpfNs, "ubpf"));
    rows.push(us("traced", traced.best, ubpfInterpNs, "ubpf"), us("interp", interp.best, ubpfInterpNs, "ubpf"));
  }
  return rows;
}

/** From instructions to the first result, for 1,000 instructions. */
function cold(): Row {
  const asm = new Assembler().emit(b.mov64Imm(0, 1), b.mov64Imm(2, 3));
  for (let i = 0; i < 332; i++) asm.emit(b.alu64Imm("mul", 0, 31 + i), b.alu64Reg("xor", 0, 2), b.add64Imm(2, i));
  const { insns } = asm.emit(b.mov32Reg(0, 0), b.exit()).finish();
  const prog: ProgSpec = {
    name: "cold",
    section: "xdp",
    type: BPF_PROG_TYPE.XDP,
    expectedAttachType: 0,
    attachTo: undefined,
    autoload: true,
    flags: 0,
    insns,
    refs: [],
    funcs: [],
    lines: [],
    coreRelos: [],
  };
  // CPU time, of all of V8's threads.
  let ms = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 15; round++) {
    const before = process.cpuUsage();
    new Vm(collectionOf([prog]), { engine: "jit" }).run("cold", { data: PACKET });
    const { user, system } = process.cpuUsage(before);
    ms = Math.min(ms, (user + system) / 1000);
  }
  return row("vm", "1000 insns", "cold", "ms", ms, 3, "limit");
}

export async function run(): Promise<Row[]> {
  const built = build();
  try {
    const only = process.env["BENCH_CASE"];
    // First, before the others fill the heap.
    const first = cold();
    const rows = PROGRAMS.filter((p) => only === undefined || p === only).flatMap((name) => programRows(built, name));
    return [...withGeomean(rows), first];
  } finally {
    rmSync(built.folder, { recursive: true, force: true });
  }
}
