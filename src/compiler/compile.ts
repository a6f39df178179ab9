/** The whole compiler: declared programs, maps and globals in, a collection that can be loaded or written out. */
import type { Btf } from "../btf/index.ts";
import type { Diagnostic } from "../core/diagnostic.ts";
import { DiagnosticError } from "../core/errors.ts";
import { dataMapName } from "../elf/data-maps.ts";
import type { CollectionSpec, CoreRelo, FuncInfo, InsnRef, LineInfo, MapSpec, ProgSpec } from "../elf/spec.ts";
import type { GlobalHandle } from "../probe/globals.ts";
import type { MapHandle } from "../probe/map-types.ts";
import type { StructOpsHandle } from "../probe/network-programs.ts";
import type { AnyProgram } from "../probe/program-types.ts";
import type { Schema, StructSchema } from "../probe/schema-types.ts";
import { bytes, isSchema, u32 } from "../probe/schema.ts";
import { BPF_ATTACH_TYPE, BPF_F, BPF_MAP_TYPE, BPF_PROG_TYPE, sectionFor } from "../uapi/index.ts";
import { LocalBtf } from "./btf/local-btf.ts";
import type { Capture } from "./capture/types.ts";
import type { Code } from "./codegen/index.ts";
import { DEFAULT_TARGET, generate, type Target } from "./codegen/index.ts";
import type { Arch, CoverTable, TracepointFormat } from "./front/index.ts";
import { KernelTypes, ModuleContext, isGlobal, isMap, isProgram, lowerProgram } from "./front/index.ts";
import type { LocalType } from "./front/local-types.ts";
import type { Module } from "./ir/ir.ts";
import { type OptLevel, optimize } from "./opt/index.ts";
import { checkStructOps, isStructOps, structOpsMap } from "./struct-ops.ts";

export interface CompileInput {
  /** Name of the collection: the file's base name. */
  readonly name: string;
  /** What the module exports: programs, maps and globals by name; anything else is ignored. */
  readonly exports: Readonly<Record<string, unknown>>;
  readonly capture: Capture;
  /** Types of the kernel to compile for; without them, kernel structs and BTF tracepoints are an error. */
  readonly btf?: Btf;
  /** Layout of a trace event by "category:name"; undefined when it is not known. */
  readonly tracepointFormat?: (name: string) => TracepointFormat | undefined;
  /** Machine whose registers kprobes and uprobes see, by `process.arch`; default "x64". */
  readonly arch?: Arch;
  readonly target?: Target;
  /** Default "GPL". */
  readonly license?: string;
  /** Default 2. */
  readonly optLevel?: OptLevel;
  /** Put counters of statements and branches into the code, for a VM (`CompileResult.cover`). Default false. */
  readonly cover?: boolean;
}

export interface MapSchemas {
  readonly key: Schema | undefined;
  readonly value: Schema | undefined;
  readonly handle: MapHandle;
}

/** What became of one program, for `--explain`. */
export interface ProgramExplain {
  readonly name: string;
  readonly insns: number;
  /** Bytes of stack of the entry function. */
  readonly stack: number;
  readonly coreRelos: number;
  /** Bytes of temporaries that went into a per-CPU map, because they are too large for the stack. */
  readonly scratch: number;
  readonly subprograms: readonly string[];
}

export interface CompileResult {
  readonly spec: CollectionSpec;
  /** By the name of the map in `spec`. */
  readonly schemas: ReadonlyMap<string, MapSchemas>;
  /** Handles of globals by variable name. */
  readonly globals: ReadonlyMap<string, GlobalHandle>;
  /** Handles of programs by their name in `spec`. */
  readonly programs: ReadonlyMap<string, AnyProgram>;
  /** Warnings: errors are thrown. */
  readonly diagnostics: readonly Diagnostic[];
  readonly explain: readonly ProgramExplain[];
  /** What the counters count, when there are any. */
  readonly cover?: CoverTable;
}

/**
 * Compiles every exported program of a module. Programs share maps and globals.
 *
 * @throws DiagnosticError code "COMPILE" with every error of the module
 * @example
 * import { compile } from "bpfkit/compiler";
 * // const { spec } = compile({ name: "execsnoop", exports: await import("./execsnoop.ts"), capture, btf });
 */
export function compile(input: CompileInput): CompileResult {
  const { result, diagnostics } = tryCompile(input);
  if (result === undefined) throw new DiagnosticError("COMPILE", diagnostics);
  return result;
}

/** {@link compile} for editors and `check`: diagnostics instead of an exception; no result when one is an error. */
export function tryCompile(input: CompileInput): {
  readonly result: CompileResult | undefined;
  readonly diagnostics: readonly Diagnostic[];
} {
  const target = input.target ?? DEFAULT_TARGET;
  const names = handleNames(input.exports);
  const module = new ModuleContext({
    kernel: input.btf === undefined ? undefined : new KernelTypes(input.btf),
    arch: input.arch ?? "x64",
    littleEndian: target.endian === "little",
    capture: input.capture,
    tracepointFormat: input.tracepointFormat,
    names,
    cover: input.cover,
  });
  const globals = new Map<string, GlobalHandle>();
  for (const [key, value] of Object.entries(input.exports)) {
    if (typeof value !== "object" || value === null) continue;
    if (isMap(value)) module.mapName(value, key);
    else if (isGlobal(value)) module.global(value, key);
  }
  const programs: { name: string; handle: AnyProgram; ir: Module }[] = [];
  const progNames = new Map<AnyProgram, string>();
  for (const [key, value] of Object.entries(input.exports)) {
    if (typeof value !== "object" || value === null || !isProgram(value) || progNames.has(value)) continue;
    progNames.set(value, module.unique(value.name ?? key));
  }
  const structOps = new Map<StructOpsHandle, string>();
  for (const [key, value] of Object.entries(input.exports)) {
    if (typeof value !== "object" || value === null || !isStructOps(value) || structOps.has(value)) continue;
    const name = module.unique(value.name ?? key);
    if (!checkStructOps(module, value)) continue;
    structOps.set(value, name);
    for (const [member, program] of Object.entries(value.programs))
      progNames.set(program, module.unique(`${name}_${member}`));
  }
  for (const [handle, name] of progNames) {
    const ir = lowerProgram(module, handle, name);
    if (ir !== undefined) programs.push({ name, handle, ir });
  }
  const { reporter } = module;
  if (reporter.failed) return { result: undefined, diagnostics: reporter.diagnostics };
  for (const [handle, name] of module.sections.globals()) globals.set(name, handle);

  const btf = new LocalBtf({
    endian: target.endian,
    kernel: module.kernel,
    locals: module.locals,
    structName: (schema: StructSchema, hint: string) => schema.name ?? module.schemaNames.get(schema) ?? hint,
  });
  const dataMaps = dataSections(input.name, module, btf);
  const mapNames = new Map(dataMaps.map((m) => [m.section ?? "", m.name]));
  const maps = [...module.maps].map(([handle, name]) => mapSpec(module, btf, handle, name, progNames));
  for (const { map, size } of module.scratch.values()) maps.push(ownMap(btf, map, size, BPF_MAP_TYPE.PERCPU_ARRAY));
  for (const [handle, name] of structOps) maps.push(structOpsMap(module, btf, handle, name, progNames));
  const cover = module.cover?.table();
  if (cover !== undefined && cover.counters > 0)
    maps.push(ownMap(btf, cover.map, cover.counters * 8, BPF_MAP_TYPE.ARRAY));
  const progs: ProgSpec[] = [];
  const explain: ProgramExplain[] = [];
  for (const p of programs) {
    try {
      optimize(p.ir, target, input.optLevel ?? 2);
      const code = generate(p.ir, target);
      progs.push(progSpec(module, btf, p.handle, p.name, code, mapNames));
      explain.push({
        name: p.name,
        insns: code.insns.length,
        stack: code.stackSize,
        coreRelos: code.coreRelos.length,
        scratch: module.scratch.get(p.name)?.size ?? 0,
        subprograms: code.funcs.slice(1).map((f) => f.name),
      });
    } catch (error) {
      if (!(error instanceof DiagnosticError)) throw error;
      reporter.diagnostics.push(...error.diagnostics);
    }
  }
  if (reporter.failed) return { result: undefined, diagnostics: reporter.diagnostics };
  const schemas = new Map(
    [...module.maps].map(([handle, name]) => [name, { key: handle.key, value: handle.value, handle }]),
  );
  const spec: CollectionSpec = {
    name: input.name,
    endian: target.endian,
    license: input.license ?? "GPL",
    kernelVersion: 0,
    btf: btf.builder.encode(),
    maps: [...maps, ...dataMaps],
    progs,
    sources: module.sources,
  };
  return {
    result: {
      spec,
      schemas,
      globals,
      programs: new Map(programs.map((p) => [p.name, p.handle])),
      diagnostics: reporter.diagnostics,
      explain,
      ...(cover === undefined ? {} : { cover }),
    },
    diagnostics: reporter.diagnostics,
  };
}

/** Names by export key; struct schemas too, so that BTF has them. */
function handleNames(exports: Readonly<Record<string, unknown>>): Map<object, string> {
  const names = new Map<object, string>();
  for (const [key, value] of Object.entries(exports)) {
    if ((typeof value === "object" && value !== null) || isSchema(value)) {
      if (!names.has(value as object)) names.set(value as object, key);
    }
  }
  return names;
}

function mapSpec(
  module: ModuleContext,
  btf: LocalBtf,
  handle: MapHandle,
  name: string,
  progs: ReadonlyMap<AnyProgram, string>,
): MapSpec {
  const type = BPF_MAP_TYPE[handle.type.toUpperCase() as keyof typeof BPF_MAP_TYPE];
  const sample = handle.type === "ringbuf" || handle.type === "user_ringbuf" || handle.type === "perf_event_array";
  const typed = !UNTYPED.has(handle.type);
  const key = sample ? undefined : handle.key;
  const value = sample ? undefined : handle.value;
  return {
    name,
    type,
    keySize: handle.type === "perf_event_array" ? 4 : (key?.size ?? 0),
    valueSize: handle.type === "perf_event_array" ? 4 : (value?.size ?? 0),
    maxEntries: handle.maxEntries,
    flags: handle.flags,
    mapExtra: BigInt(handle.mapExtra),
    numaNode: undefined,
    btfKeyTypeId: typed && key !== undefined ? btf.schema(key, `${name}_key`) : 0,
    btfValueTypeId: typed && value !== undefined ? btf.schema(value, `${name}_value`) : 0,
    structOps: undefined,
    inner: handle.inner === undefined ? undefined : mapSpec(module, btf, handle.inner, `${name}.inner`, progs),
    initialSlots: handle.slots.flatMap((slot, index) => {
      const target = slot.kind === "map" ? module.mapName(slot, `${name}_${index}`) : progs.get(slot);
      return target === undefined ? [] : [{ key: index, target }];
    }),
    data: undefined,
    frozen: false,
    pinning: handle.pinned ? "by-name" : "none",
    variables: [],
    section: ".maps",
  };
}

/** A map of one value for the compiler's own use: temporaries that are too large for the stack, counters. */
function ownMap(btf: LocalBtf, name: string, size: number, type: number): MapSpec {
  return {
    name,
    type,
    keySize: 4,
    valueSize: size,
    maxEntries: 1,
    flags: 0,
    mapExtra: 0n,
    numaNode: undefined,
    btfKeyTypeId: btf.schema(u32, ""),
    btfValueTypeId: btf.schema(bytes(size), ""),
    structOps: undefined,
    inner: undefined,
    initialSlots: [],
    data: undefined,
    frozen: false,
    pinning: "none",
    variables: [],
    section: ".maps",
  };
}

/** Map types for which the kernel refuses BTF of keys and values. */
const UNTYPED: ReadonlySet<string> = new Set([
  "prog_array",
  "perf_event_array",
  "cgroup_array",
  "stack_trace",
  "array_of_maps",
  "hash_of_maps",
  "devmap",
  "devmap_hash",
  "cpumap",
  "xskmap",
  "sockmap",
  "sockhash",
  "ringbuf",
  "user_ringbuf",
  "reuseport_sockarray",
  "queue",
  "stack",
  "bloom_filter",
  "arena",
]);

function dataSections(object: string, module: ModuleContext, btf: LocalBtf): MapSpec[] {
  return module.sections.all().map((s) => {
    const readonly = s.name === ".rodata";
    const { id, types } = btf.section(s);
    return {
      name: dataMapName(object, s.name),
      type: BPF_MAP_TYPE.ARRAY,
      keySize: 4,
      valueSize: s.size,
      maxEntries: 1,
      flags: (readonly ? BPF_F.RDONLY_PROG : 0) | (s.variables.some((v) => !v.isStatic) ? BPF_F.MMAPABLE : 0),
      mapExtra: 0n,
      numaNode: undefined,
      btfKeyTypeId: 0,
      btfValueTypeId: id,
      structOps: undefined,
      inner: undefined,
      initialSlots: [],
      data: s.name === ".bss" ? undefined : s.bytes.slice(),
      frozen: readonly,
      pinning: "none" as const,
      variables: s.variables.map((v, i) => ({ name: v.name, offset: v.off, size: v.size, btfTypeId: types[i] ?? 0 })),
      section: s.name,
    };
  });
}

function entryType(btf: LocalBtf, { attach }: AnyProgram, name: string): number {
  return attach.how === "freplace" ? btf.replacement(name, attach.args, attach.returns) : btf.program(name);
}

function progSpec(
  module: ModuleContext,
  btf: LocalBtf,
  handle: AnyProgram,
  name: string,
  code: Code,
  dataMaps: ReadonlyMap<string, string>,
): ProgSpec {
  const match = sectionFor(handle.section);
  const funcs: FuncInfo[] = code.funcs.map((f, i) => ({
    insn: f.insn,
    name: f.name,
    typeId: i === 0 ? entryType(btf, handle, f.name) : btf.subprogram(f.name, module.paramNames.get(f.name) ?? []),
  }));
  const refs: InsnRef[] = code.refs.map((r) => {
    switch (r.kind) {
      case "map-value":
        return { ...r, map: dataMaps.get(r.map) ?? r.map };
      case "kfunc":
        return { ...r, btfTypeId: btf.kfunc(r.name) };
      case "ksym":
        return { ...r, btfTypeId: 0 };
      default:
        return r;
    }
  });
  const lines: LineInfo[] = [];
  // The kernel wants a line for the first instruction of every function.
  const starts = code.funcs.flatMap((f) => {
    if (code.lines.some((l) => l.insn === f.insn)) return [];
    const span = (code.lines.find((l) => l.insn > f.insn) ?? code.lines.findLast((l) => l.insn < f.insn))?.span;
    return span === undefined ? [] : [{ insn: f.insn, span }];
  });
  for (const { insn, span } of [...code.lines, ...starts].toSorted((a, b) => a.insn - b.insn)) {
    const text = module.line(span.file, span.line).trim();
    lines.push({ insn, file: span.file, text, line: span.line, col: span.col, span });
  }
  const coreRelos: CoreRelo[] = code.coreRelos.map(({ insn, core }) => ({
    insn,
    typeId: btf.local(core.type as LocalType),
    access: core.access,
    kind: core.kind,
  }));
  const attachType = match?.row.attachType;
  return {
    name,
    section: handle.section,
    type: BPF_PROG_TYPE[handle.type.toUpperCase() as keyof typeof BPF_PROG_TYPE],
    expectedAttachType: attachType === undefined ? 0 : BPF_ATTACH_TYPE[attachType],
    attachTo: match?.target,
    autoload: true,
    flags: (handle.sleepable ? BPF_F.SLEEPABLE : 0) | (match?.row.frags === true ? BPF_F.XDP_HAS_FRAGS : 0),
    insns: code.insns,
    refs,
    funcs,
    lines,
    coreRelos,
  };
}
