/**
 * The JSON form of a `ProgLoad`: what a bug report carries. Field names are those of `union bpf_attr`; the
 * format is described in docs/verifier.md. Kernel BTF is left out (it has megabytes): its size and a checksum
 * tell whether another one is the same, and names stand beside ids where it is not.
 */
import { decodeInsns } from "../asm/decode.ts";
import { encodeInsns } from "../asm/encode.ts";
import type { Insn } from "../asm/insn.ts";
import { Btf } from "../btf/btf.ts";
import { DecodeError } from "../core/errors.ts";
import { JsonFields, fromBase64, fromHex, toBase64, toHex } from "./json-fields.ts";
import type { AttachProg, LoadKfunc, LoadKsym, LoadMap, ProgLoad } from "./prog-load.ts";

export const CAPTURE_FORMAT = "bpfkit-prog-load-1";

const LD_IMM64 = 0x18;
const PSEUDO_BTF_ID = 3;

/** @internal a map's definition as JSON */
function mapToJson(map: LoadMap, programBtf: Btf | null): Record<string, unknown> {
  return {
    name: map.name,
    type: map.type,
    key_size: map.keySize,
    value_size: map.valueSize,
    max_entries: map.maxEntries,
    map_flags: map.flags,
    // 64 bits: beyond 2^53 as a decimal string.
    map_extra: map.extra <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(map.extra) : map.extra.toString(),
    btf_key_type_id: map.btfKeyTypeId,
    btf_value_type_id: map.btfValueTypeId,
    btf_vmlinux_value_type_id: map.btfVmlinuxValueTypeId,
    btf_is_program_btf: map.btf !== null && map.btf === programBtf,
    ...(map.btf === null || map.btf === programBtf ? {} : { btf: toBase64(map.btf.bytes) }),
    frozen: map.frozen,
    ...(map.data === null ? {} : { data: toHex(map.data) }),
    ...(map.inner === null ? {} : { inner: mapToJson(map.inner, programBtf) }),
  };
}

/** FNV-1a of bytes, 32 bits, as 8 hex digits: tells BTFs of the same size apart. */
function checksum(bytes: Uint8Array): string {
  let h = 0x811c_9dc5;
  for (let i = 0; i < bytes.length; i++) h = Math.imul(h ^ (bytes[i] as number), 0x0100_0193);
  return (h >>> 0).toString(16).padStart(8, "0");
}

const checksums = new WeakMap<Btf, string>();

function fingerprint(btf: Btf): { size: number; fnv1a: string } {
  let sum = checksums.get(btf);
  if (sum === undefined) checksums.set(btf, (sum = checksum(btf.bytes)));
  return { size: btf.bytes.length, fnv1a: sum };
}

/**
 * `load` as a JSON value.
 *
 * @param release of the kernel whose BTF the ids are of, for the reader
 * @example
 * import { progLoadToJson } from "bpfkit/elf";
 * // writeFileSync("report.json", JSON.stringify(progLoadToJson(load)));
 */
export function progLoadToJson(load: ProgLoad, release?: string): Record<string, unknown> {
  return {
    format: CAPTURE_FORMAT,
    ...(load.vmlinuxBtf === null
      ? {}
      : { kernel: { ...(release === undefined ? {} : { release }), vmlinux_btf: fingerprint(load.vmlinuxBtf) } }),
    prog_name: load.name,
    prog_type: load.progType,
    expected_attach_type: load.expectedAttachType,
    attach_btf_id: load.attachBtfId,
    attach_name: load.attachName ?? null,
    ...(load.attachProg === null ? {} : { attach_prog: attachProgToJson(load.attachProg) }),
    prog_flags: load.progFlags,
    prog_ifindex: load.progIfindex,
    license: load.license,
    ...(load.possibleCpus === undefined ? {} : { possible_cpus: load.possibleCpus }),
    insns: toHex(encodeInsns(load.insns, "little")),
    maps: load.maps.map((m) => mapToJson(m, load.btf)),
    bad_map_fds: [...load.badMapFds].map(([insn, fd]) => ({ insn, fd })),
    kfuncs: (load.kfuncs ?? []).map((k) => ({
      insn: k.insn,
      btf_id: k.btfId,
      name: k.name,
      ...(k.module === undefined ? {} : { module: k.module }),
    })),
    ksyms: load.ksyms.map((k) => ({ insn: k.insn, btf_id: k.btfId, name: k.name })),
    modules: [...load.moduleBtfs].map(([index, btf]) => ({
      index,
      name: load.moduleNames?.get(index) ?? "",
      btf: toBase64(btf.bytes),
    })),
    btf: load.btf === null ? null : toBase64(load.btf.bytes),
    func_info_rec_size: load.funcInfoRecSize,
    func_info: toBase64(load.funcInfo),
    line_info_rec_size: load.lineInfoRecSize,
    line_info: toBase64(load.lineInfo),
  };
}

function attachProgToJson(prog: AttachProg): Record<string, unknown> {
  return {
    prog_type: prog.progType,
    expected_attach_type: prog.expectedAttachType,
    btf: toBase64(prog.btf.bytes),
    funcs: prog.funcs.map((f) => ({ btf_id: f.btfId, global: f.global, unreliable: f.unreliable })),
  };
}

export interface ReadCaptureOptions {
  /** Names the capture in errors. */
  readonly what?: string;
  /** The kernel's BTF: of the kernel that the capture is of, else names are looked up in it anew. */
  readonly vmlinuxBtf?: Btf | null;
  /** nr_cpu_ids where the capture does not say. */
  readonly possibleCpus?: number;
}

export interface ReadCapture {
  readonly load: ProgLoad;
  /** Release of the kernel it was made on, when known. */
  readonly release: string | undefined;
  /** What could not be carried over to this BTF; empty when it is the capture's own. */
  readonly notes: readonly string[];
}

/**
 * Reads the JSON form, also that of captures which another tool made with these field names.
 *
 * @param json the parsed JSON, or its text
 * @throws DecodeError for anything that is not a capture, with the path of the field
 */
export function progLoadFromJson(json: unknown, options: ReadCaptureOptions = {}): ReadCapture {
  const what = options.what ?? "capture";
  const f = JsonFields.of(typeof json === "string" ? parseJson(json, what) : json, what);
  const format = f.optionalString("format");
  if (format !== undefined && format !== CAPTURE_FORMAT)
    throw f.error(
      "format",
      `expected ${JSON.stringify(CAPTURE_FORMAT)}, got ${JSON.stringify(format)}: made by a newer bpfkit?`,
    );
  const btf = btfOf(f, "btf");
  const insns = f.inside("insns", () => decodeInsns(fromHex(f.string("insns")), { endian: "little", what: "insns" }));
  const vmlinuxBtf = options.vmlinuxBtf ?? null;
  const ksyms: LoadKsym[] = f
    .objects("ksyms")
    .map((k) => ({ insn: k.count("insn"), btfId: k.count("btf_id"), name: k.string("name") }));
  const kfuncs: LoadKfunc[] = f.objects("kfuncs").map((k) => ({
    insn: k.count("insn"),
    btfId: k.optionalCount("btf_id") ?? 0,
    name: k.optionalString("name") ?? "",
    module: k.optionalString("module"),
  }));
  const attachName = f.optionalString("attach_name");
  const kernel = f.optionalObject("kernel");
  const modules = f.objects("modules");
  const load: ProgLoad = {
    name: f.string("prog_name"),
    progType: f.count("prog_type"),
    expectedAttachType: f.optionalCount("expected_attach_type") ?? 0,
    attachBtfId: f.optionalCount("attach_btf_id") ?? 0,
    attachProg: attachProgFrom(f),
    progFlags: f.optionalCount("prog_flags") ?? 0,
    progIfindex: f.optionalCount("prog_ifindex") ?? 0,
    license: f.optionalString("license") ?? "",
    insns,
    maps: f.objects("maps").map((m) => mapFrom(m, btf, 0)),
    badMapFds: new Map(f.objects("bad_map_fds").map((b) => [b.count("insn"), b.integer("fd")])),
    btf,
    vmlinuxBtf,
    moduleBtfs: new Map(
      modules.flatMap((m) =>
        vmlinuxBtf === null
          ? []
          : [
              [
                m.count("index"),
                m.inside("btf", () =>
                  Btf.parse(fromBase64(m.string("btf")), { base: vmlinuxBtf, what: `${what} BTF of a module` }),
                ),
              ] as const,
            ],
      ),
    ),
    moduleNames: new Map(modules.map((m) => [m.count("index"), m.string("name")])),
    funcInfoRecSize: f.optionalCount("func_info_rec_size") ?? 0,
    funcInfo: f.base64("func_info"),
    lineInfoRecSize: f.optionalCount("line_info_rec_size") ?? 0,
    lineInfo: f.base64("line_info"),
    ksyms,
    kfuncs,
    possibleCpus: f.optionalCount("possible_cpus") ?? options.possibleCpus,
    ...(attachName === undefined ? {} : { attachName }),
  };
  const release = kernel?.optionalString("release");
  const made = kernel?.optionalObject("vmlinux_btf");
  if (vmlinuxBtf === null || made === undefined) return { load, release, notes: [] };
  const here = fingerprint(vmlinuxBtf);
  if (made.optionalCount("size") === here.size && made.optionalString("fnv1a") === here.fnv1a)
    return { load, release, notes: [] };
  const moved = rebase(load, vmlinuxBtf);
  return {
    load: moved.load,
    release,
    notes: [
      `made with the types of ${release === undefined ? "another kernel" : `Linux ${release}`}: ids were looked up by name, field offsets stay those of that kernel`,
      ...moved.missing.map((name) => `${name} is not in this kernel's BTF`),
    ],
  };
}

function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DecodeError(what, `not JSON: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

function btfOf(f: JsonFields, key: string): Btf | null {
  const bytes = f.base64(key);
  return bytes.length === 0 ? null : f.inside(key, () => Btf.parse(bytes, { what: `BTF of ${f.what}` }));
}

function attachProgFrom(f: JsonFields): AttachProg | null {
  const prog = f.optionalObject("attach_prog");
  if (prog === undefined) return null;
  const btf = btfOf(prog, "btf");
  if (btf === null) throw prog.error("btf", "expected the BTF of the program that is attached to");
  return {
    progType: prog.count("prog_type"),
    expectedAttachType: prog.optionalCount("expected_attach_type") ?? 0,
    btf,
    funcs: prog
      .objects("funcs")
      .map((x) => ({ btfId: x.count("btf_id"), global: x.flag("global"), unreliable: x.flag("unreliable") })),
  };
}

/** Maps of maps of maps do not exist. */
const MAX_INNER = 2;

function mapFrom(m: JsonFields, programBtf: Btf | null, depth: number): LoadMap {
  if (depth > MAX_INNER) throw m.error("inner", "maps are nested too deep");
  const inner = m.optionalObject("inner");
  const data = m.optionalString("data");
  return {
    name: m.string("name"),
    type: m.count("type"),
    keySize: m.count("key_size"),
    valueSize: m.count("value_size"),
    maxEntries: m.count("max_entries"),
    flags: m.optionalCount("map_flags") ?? 0,
    extra: m.bigint("map_extra"),
    btfKeyTypeId: m.optionalCount("btf_key_type_id") ?? 0,
    btfValueTypeId: m.optionalCount("btf_value_type_id") ?? 0,
    btfVmlinuxValueTypeId: m.optionalCount("btf_vmlinux_value_type_id") ?? 0,
    btf: m.flag("btf_is_program_btf") ? programBtf : btfOf(m, "btf"),
    inner: inner === undefined ? null : mapFrom(inner, programBtf, depth + 1),
    frozen: m.flag("frozen"),
    data: data === undefined ? null : m.inside("data", () => fromHex(data)),
  };
}

/** Ids of the kernel's BTF looked up by name in another kernel's. */
function rebase(load: ProgLoad, vmlinux: Btf): { load: ProgLoad; missing: string[] } {
  const missing: string[] = [];
  const insns: Insn[] = [...load.insns];
  const set = (at: number, name: string, id: number): void => {
    const insn = insns[at];
    if (insn === undefined) return;
    if (id === 0) missing.push(name);
    else insns[at] = { ...insn, imm: id };
  };
  const kfuncs = (load.kfuncs ?? []).map((k) => {
    if (k.module !== undefined) return k;
    const id = vmlinux.findId(k.name, "func");
    set(k.insn, `the function ${k.name}`, id);
    return { ...k, btfId: id };
  });
  const ksyms = load.ksyms.map((k) => {
    const insn = insns[k.insn];
    if (insn?.opcode !== LD_IMM64 || insn.src !== PSEUDO_BTF_ID || insns[k.insn + 1]?.imm !== 0) return k;
    const id = vmlinux.findId(k.name, "var") || vmlinux.findId(k.name, "func");
    set(k.insn, `the variable ${k.name}`, id);
    return { ...k, btfId: id };
  });
  let { attachBtfId } = load;
  if (attachBtfId !== 0 && load.attachProg === null && load.attachName !== undefined) {
    attachBtfId = vmlinux.findId(load.attachName, "func") || vmlinux.findId(load.attachName, "typedef");
    if (attachBtfId === 0) missing.push(`the attach target ${load.attachName}`);
  }
  return { load: { ...load, insns, kfuncs, ksyms, attachBtfId }, missing };
}
