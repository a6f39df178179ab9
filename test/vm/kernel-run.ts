/** The running kernel as the judge: the same program, map and context by BPF_PROG_TEST_RUN. */
import { encodeInsns } from "../../src/asm/index.ts";
import type { Insn } from "../../src/asm/index.ts";
import type { MapSpec, ProgSpec } from "../../src/elf/spec.ts";
import { bpf, mapCreateRaw, progLoad, progTestRun, realKernel } from "../../src/syscall/index.ts";
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
    ...(input.data === undefined ? {} : { data: input.data, dataOutSize: input.data.length + 512 }),
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
