/** The running kernel as the judge: the same program, map and context by BPF_PROG_TEST_RUN. */
import { encodeInsns } from "../../src/asm/index.ts";
import type { Insn } from "../../src/asm/index.ts";
import { BtfBuilder } from "../../src/btf/index.ts";
import type { MapSpec, ProgSpec } from "../../src/elf/spec.ts";
import { bpf, btfLoad, mapCreateRaw, progLoad, progTestRun, realKernel } from "../../src/syscall/index.ts";
import { BPF_PROG_TYPE } from "../../src/uapi/index.ts";

export const kernel = realKernel();
const SLEEPABLE = 0x10;

export function mapSpec(
  name: string,
  type: number,
  keySize: number,
  valueSize: number,
  maxEntries: number,
  more: Partial<MapSpec> = {},
): MapSpec {
  return {
    name,
    type,
    keySize,
    valueSize,
    maxEntries,
    flags: 0,
    mapExtra: 0n,
    numaNode: undefined,
    btfKeyTypeId: 0,
    btfValueTypeId: 0,
    structOps: undefined,
    inner: undefined,
    initialSlots: [],
    data: undefined,
    frozen: false,
    pinning: "none",
    variables: [],
    ...more,
  };
}

export function progSpec(name: string, type: number, insns: readonly Insn[], more: Partial<ProgSpec> = {}): ProgSpec {
  return {
    name,
    section: "",
    type,
    expectedAttachType: 0,
    attachTo: undefined,
    autoload: true,
    flags: type === BPF_PROG_TYPE.SYSCALL ? SLEEPABLE : 0,
    insns,
    refs: [],
    funcs: [],
    lines: [],
    coreRelos: [],
    ...more,
  };
}

export function createMap(spec: MapSpec): number {
  const fd = mapCreateRaw(kernel, {
    type: spec.type,
    keySize: spec.keySize,
    valueSize: spec.valueSize,
    maxEntries: spec.maxEntries,
    flags: spec.flags,
    mapExtra: spec.mapExtra,
  });
  if (fd < 0) throw new Error(`map ${spec.name}: ${fd}`);
  return fd;
}

/** The instructions with the fds of their maps. */
export function withFds(prog: ProgSpec, fds: Readonly<Record<string, number>>): Insn[] {
  const insns = [...prog.insns];
  for (const ref of prog.refs) {
    if (ref.kind === "map" || ref.kind === "map-value") insns[ref.insn] = { ...insns[ref.insn]!, imm: fds[ref.map]! };
  }
  return insns;
}

const FUNC_NAMES = ["vmtest", "sub", "callback"] as const;
let funcBtf: { readonly fd: number; readonly ids: Readonly<Record<string, number>> } | undefined;

/** BTF of the three kinds of functions that random programs have; callbacks need it. */
function functionTypes(): NonNullable<typeof funcBtf> {
  if (funcBtf !== undefined) return funcBtf;
  const builder = new BtfBuilder();
  const u64 = builder.int("unsigned long long", 8);
  const u32 = builder.int("unsigned int", 4);
  const pointer = builder.add({ kind: "ptr", name: "", type: 0 });
  const param = (name: string, type: number): { name: string; type: number } => ({ name, type });
  const params = {
    vmtest: [param("ctx", pointer)],
    sub: [param("a", u64)],
    callback: [param("i", u32), param("p", pointer)],
  };
  const ids: Record<string, number> = {};
  for (const name of FUNC_NAMES) {
    const type = builder.add({ kind: "func_proto", name: "", type: u64, params: params[name] });
    ids[name] = builder.add({ kind: "func", name, type, linkage: "static" });
  }
  const { result } = btfLoad(kernel, builder.encode());
  if (result < 0) throw new Error(`BTF: ${result}`);
  return (funcBtf = { fd: result, ids });
}

/** func_info of `prog.funcs`, whose names are "vmtest", "sub" and "callback". */
function funcInfo(prog: ProgSpec): { btfFd: number; funcInfo: { bytes: Uint8Array; recordSize: number } } | undefined {
  if (prog.funcs.length === 0) return undefined;
  const { fd, ids } = functionTypes();
  const words = new Uint32Array(prog.funcs.flatMap((f) => [f.insn, ids[f.name]!]));
  return { btfFd: fd, funcInfo: { bytes: new Uint8Array(words.buffer), recordSize: 8 } };
}

export interface Loaded {
  /** fd, or -errno. */
  readonly fd: number;
  readonly log: string;
}

export function loadProg(prog: ProgSpec, fds: Readonly<Record<string, number>> = {}, logLevel: 0 | 1 = 0): Loaded {
  const { result, log } = progLoad(kernel, {
    type: prog.type,
    insns: encodeInsns(withFds(prog, fds)),
    flags: prog.flags,
    logLevel,
    name: "vmtest",
    ...funcInfo(prog),
  });
  return { fd: result, log };
}

/** Loads or throws with the verifier's last words. */
export function mustLoad(prog: ProgSpec, fds: Readonly<Record<string, number>> = {}): number {
  const { fd } = loadProg(prog, fds);
  if (fd >= 0) return fd;
  const { log } = loadProg(prog, fds, 1);
  throw new Error(`the kernel refuses ${prog.name}: ${fd}\n${log.split("\n").slice(-25).join("\n")}`);
}

export interface KernelResult {
  readonly returnValue: number;
  readonly ctx: Uint8Array;
  readonly data: Uint8Array;
  readonly durationNs: number;
}

/** A syscall program's context comes back in the buffer that was given. */
export function testRun(
  fd: number,
  type: number,
  input: { ctx?: Uint8Array; data?: Uint8Array; repeat?: number },
): KernelResult {
  const ctx = input.ctx?.slice();
  const result = progTestRun(kernel, fd, {
    ...(ctx === undefined ? {} : { ctx, ctxOut: type !== BPF_PROG_TYPE.SYSCALL }),
    ...(input.data === undefined ? {} : { data: input.data, dataOutSize: input.data.length + 8192 }),
    ...(input.repeat === undefined ? {} : { repeat: input.repeat }),
  });
  return { ...result, ctx: type === BPF_PROG_TYPE.SYSCALL ? (ctx ?? new Uint8Array(0)) : result.ctx };
}

export function kernelLookup(fd: number, key: Uint8Array, size: number): Uint8Array | number {
  const value = new Uint8Array(size);
  const result = bpf(kernel, "MAP_LOOKUP_ELEM", { map_fd: fd, key, value });
  return result < 0 ? result : value;
}
export function kernelUpdate(fd: number, key: Uint8Array, value: Uint8Array, flags = 0n): number {
  return bpf(kernel, "MAP_UPDATE_ELEM", { map_fd: fd, key, value, flags });
}
export function kernelDelete(fd: number, key: Uint8Array): number {
  return bpf(kernel, "MAP_DELETE_ELEM", { map_fd: fd, key });
}
