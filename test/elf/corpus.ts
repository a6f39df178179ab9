/**
 * Compares programs read by `readObject` with what libbpf gave the kernel for the same object (a
 * directory of recorded loads, env CORPUS). What only a running kernel can fill in is masked.
 */
import { readdirSync, readFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { decodeInsns, type Insn } from "../../src/asm/index.ts";
import { Btf } from "../../src/btf/index.ts";
import { type CollectionSpec, type MapSpec, prepareBtf, type ProgSpec } from "../../src/elf/index.ts";

export const SUITES = ["progs", "progs-v4", "progs-v2"] as const;

export interface RecordedMap {
  name: string;
  type: number;
  key_size: number;
  value_size: number;
  max_entries: number;
  map_flags: number;
  map_extra: number;
  btf_key_type_id: number;
  btf_value_type_id: number;
  data?: string;
  initial_data?: string;
}
export interface RecordedLoad {
  program: string;
  section: string;
  prog_type: number;
  expected_attach_type: number;
  prog_flags: number;
  insns: string;
  maps: RecordedMap[];
  btf: string | null;
  func_info: string | null;
  func_info_rec_size: number;
  line_info: string | null;
  line_info_rec_size: number;
}

export function* objects(corpus: string): Generator<{ suite: string; object: string; path: string }> {
  for (const suite of SUITES) {
    const dir = join(corpus, suite);
    if (!existsSync(dir)) continue;
    for (const file of readdirSync(dir).sort()) {
      if (file.endsWith(".o")) yield { suite, object: file.slice(0, -2), path: join(dir, file) };
    }
  }
}

export function* loads(corpus: string, suite: string, object: string): Generator<RecordedLoad> {
  const dir = join(corpus, "loads", suite, object);
  if (!existsSync(dir)) return;
  for (const file of readdirSync(dir).sort()) yield JSON.parse(readFileSync(join(dir, file), "utf8")) as RecordedLoad;
}

const poisoned = (i: Insn): boolean =>
  i.opcode === 0x85 && (i.imm === 0x0bad_2310 || (i.imm >= 2_001_000_000 && i.imm < 2_003_000_000));

/** Everything in which `prog` differs from the recorded load; empty when it is the same program. */
export function differences(spec: CollectionSpec, prog: ProgSpec, load: RecordedLoad): string[] {
  const out: string[] = [];
  const theirs = decodeInsns(new Uint8Array(Buffer.from(load.insns, "hex")));
  const refs = new Map(prog.refs.map((r) => [r.insn, r]));
  const relocated = new Set(prog.coreRelos.map((r) => r.insn));
  if (theirs.length !== prog.insns.length) return [`${prog.insns.length} instructions, libbpf ${theirs.length}`];
  for (let i = 0; i < theirs.length; i++) {
    const a = prog.insns[i]!;
    const b = theirs[i]!;
    const ref = refs.get(i);
    const before = refs.get(i - 1);
    let same = a.opcode === b.opcode && a.dst === b.dst && a.src === b.src && a.off === b.off && a.imm === b.imm;
    if (relocated.has(i) || relocated.has(i - 1) || poisoned(b) || (i > 0 && poisoned(theirs[i - 1]!))) same = true;
    else if (ref?.kind === "map" || ref?.kind === "map-value")
      same = a.opcode === b.opcode && a.dst === b.dst && a.src === b.src;
    else if (ref?.kind === "kfunc") same = a.opcode === b.opcode && a.src === b.src;
    else if (ref?.kind === "ksym") same = a.opcode === b.opcode && a.dst === b.dst;
    else if (before?.kind === "ksym") same = true;
    // The object names a map by a number that is no fd: recorded as -1.
    else if (a.opcode === 0x18 && a.src === 1 && b.imm === -1) same = true;
    if (!same) out.push(`insn ${i}: ${JSON.stringify(a)} libbpf ${JSON.stringify(b)}`);
    if (ref?.kind === "map" || ref?.kind === "map-value") {
      const named = load.maps[b.imm];
      if (b.imm >= 0 && named?.name !== mapName(ref.map, load))
        out.push(`insn ${i}: map ${ref.map}, libbpf ${named?.name}`);
    }
  }
  // freplace is recorded as the type of the program that it would replace.
  const asWritten = prog.type === 0 || prog.type === 28;
  if (!asWritten && prog.type !== load.prog_type) out.push(`type ${prog.type}, libbpf ${load.prog_type}`);
  // In a struct_ops program it is the index of the member, which only the kernel's BTF knows.
  // That of USDT depends on what the running kernel has.
  if (
    !asWritten &&
    prog.type !== 27 &&
    !prog.section.startsWith("usdt") &&
    prog.expectedAttachType !== load.expected_attach_type
  ) {
    out.push(`attach type ${prog.expectedAttachType}, libbpf ${load.expected_attach_type}`);
  }
  // BPF_F_SLEEPABLE and BPF_F_XDP_HAS_FRAGS: those that a section name can ask for.
  if (!asWritten && prog.flags !== (load.prog_flags & 0x30)) out.push(`flags ${prog.flags}, libbpf ${load.prog_flags}`);
  compareExt(prog, load, out);
  for (const map of load.maps) compareMap(spec, map, out);
  return out;
}

/** The kernel keeps 15 characters of a map's name. */
const mapName = (name: string, load: RecordedLoad): string =>
  load.maps.some((m) => m.name === name) ? name : name.slice(0, 15);

function compareExt(prog: ProgSpec, load: RecordedLoad, out: string[]): void {
  const words = (text: string | null): Uint32Array => {
    const bytes = Buffer.from(text ?? "", "base64");
    return new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  };
  if (load.func_info !== null) {
    const w = words(load.func_info);
    const ours = prog.funcs.flatMap((f) => [f.insn, f.typeId]);
    if (w.length > 0 && ours.join() !== [...w].join()) out.push(`func_info ${ours.join()} libbpf ${[...w].join()}`);
  }
  if (load.line_info !== null) {
    const w = words(load.line_info);
    const theirs = Array.from(
      { length: w.length / 4 },
      (_, i) => `${w[i * 4]}:${w[i * 4 + 3]! >>> 10}:${w[i * 4 + 3]! & 1023}`,
    ).join();
    const ours = prog.lines.map((l) => `${l.insn}:${l.line}:${l.col}`).join();
    if (w.length > 0 && ours !== theirs) out.push("line_info differs");
  }
}

function compareMap(spec: CollectionSpec, theirs: RecordedMap, out: string[]): void {
  const ours: MapSpec | undefined = spec.maps.find((m) => m.name.slice(0, 15) === theirs.name.slice(0, 15));
  if (ours === undefined) {
    out.push(`map ${theirs.name} is missing`);
    return;
  }
  const check = (what: string, a: unknown, b: unknown): void => {
    if (a !== b) out.push(`map ${ours.name} ${what} ${String(a)}, libbpf ${String(b)}`);
  };
  check("type", ours.type, theirs.type);
  // libbpf's rule for stack maps and other values that the kernel knows better is the loader's.
  // A size that the object leaves out is set by the test that loads it.
  if (ours.keySize !== 0) check("keySize", ours.keySize, theirs.key_size);
  if (ours.valueSize !== 0) check("valueSize", ours.valueSize, theirs.value_size);
  check("flags", ours.flags, theirs.map_flags);
  check("mapExtra", ours.mapExtra, BigInt(theirs.map_extra));
  if (theirs.btf_value_type_id !== 0) check("btfValueTypeId", ours.btfValueTypeId, theirs.btf_value_type_id);
  if (theirs.btf_key_type_id !== 0) check("btfKeyTypeId", ours.btfKeyTypeId, theirs.btf_key_type_id);
  const data = theirs.data ?? theirs.initial_data;
  if (data !== undefined && ours.section?.startsWith(".rodata") === true) {
    const want = Buffer.from(data, "hex");
    check("data", Buffer.from(ours.data ?? []).toString("hex"), want.toString("hex"));
  }
}

/** The types in which our BTF for the kernel differs from libbpf's. */
export function btfDifferences(spec: CollectionSpec, load: RecordedLoad): string[] {
  const bytes = prepareBtf(spec);
  if (bytes === undefined || load.btf === null) return [];
  const ours = [...Btf.parse(bytes).types()];
  const theirs = [...Btf.parse(new Uint8Array(Buffer.from(load.btf, "base64"))).types()];
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? `${v}n` : v));
  if (ours.length !== theirs.length) return [`${ours.length} types, libbpf ${theirs.length}`];
  return ours.flatMap((t, i) => (text(t) === text(theirs[i]) ? [] : [`${text(t)}, libbpf ${text(theirs[i])}`]));
}
