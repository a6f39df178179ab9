/** Small collections for the load tests, assembled by hand. */
import { atomic, exit, ldImm64, mov64Imm } from "../../src/asm/index.ts";
import type { Insn } from "../../src/asm/insn.ts";
import type { CollectionSpec, InsnRef, MapSpec, ProgSpec } from "../../src/elf/spec.ts";
import type { IntSchema } from "../../src/probe/schema-types.ts";
import { BPF_F, BPF_MAP_TYPE } from "../../src/uapi/index.ts";

export const u32: IntSchema = {
  kind: "int",
  name: "u32",
  bits: 32,
  signed: false,
  bigEndian: false,
  size: 4,
  align: 4,
};
export const u64: IntSchema = {
  kind: "int",
  name: "u64",
  bits: 64,
  signed: false,
  bigEndian: false,
  size: 8,
  align: 8,
};

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

export function progSpec(
  name: string,
  section: string,
  type: number,
  insns: readonly Insn[],
  more: Partial<ProgSpec> = {},
): ProgSpec {
  const slash = section.indexOf("/");
  return {
    name,
    section,
    type,
    insns,
    expectedAttachType: 0,
    attachTo: slash < 0 ? undefined : section.slice(slash + 1),
    autoload: true,
    flags: 0,
    refs: [],
    funcs: [],
    lines: [],
    coreRelos: [],
    ...more,
  };
}

export function collectionSpec(
  maps: readonly MapSpec[],
  progs: readonly ProgSpec[],
  more: Partial<CollectionSpec> = {},
): CollectionSpec {
  return {
    name: "test",
    endian: "little",
    license: "GPL",
    kernelVersion: 0,
    btf: undefined,
    maps,
    progs,
    sources: new Map(),
    ...more,
  };
}

/** A program that adds one to the global `hits`, and returns `ret`. */
export function countingProg(
  name: string,
  section: string,
  type: number,
  ret = 0,
  more: Partial<ProgSpec> = {},
): ProgSpec {
  const insns: Insn[] = [...ldImm64(1, 0n), mov64Imm(2, 1), atomic("add", "dw", 1, 2, 0), mov64Imm(0, ret), exit()];
  const refs: InsnRef[] = [{ kind: "map-value", insn: 0, map: ".bss", offset: 0 }];
  return progSpec(name, section, type, insns, { refs, ...more });
}

export const bss = (): MapSpec =>
  mapSpec(".bss", BPF_MAP_TYPE.ARRAY, 4, 8, 1, {
    flags: BPF_F.MMAPABLE,
    variables: [{ name: "hits", offset: 0, size: 8, btfTypeId: 0 }],
  });
