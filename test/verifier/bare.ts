/** A ProgLoad of nothing but instructions. */
import type { Insn } from "../../src/asm/index.ts";
import type { LoadMap, ProgLoad } from "../../src/verifier/index.ts";

/** A socket filter (or `progType`) without maps, BTF or names. */
export function bare(insns: readonly Insn[], progType = 1): ProgLoad {
  return {
    name: "",
    progType,
    expectedAttachType: 0,
    attachBtfId: 0,
    attachProg: null,
    progFlags: 0,
    progIfindex: 0,
    license: "GPL",
    insns,
    maps: [],
    badMapFds: new Map(insns.map((_, i) => [i, -1])),
    btf: null,
    vmlinuxBtf: null,
    moduleBtfs: new Map(),
    funcInfoRecSize: 0,
    funcInfo: new Uint8Array(0),
    lineInfoRecSize: 0,
    lineInfo: new Uint8Array(0),
    ksyms: [],
    fdArray: false,
  };
}

/** A map without a name or BTF. */
export function arrayMap(type: number, keySize: number, valueSize: number, maxEntries: number): LoadMap {
  return {
    name: "",
    type,
    keySize,
    valueSize,
    maxEntries,
    flags: 0,
    extra: 0n,
    btfKeyTypeId: 0,
    btfValueTypeId: 0,
    btfVmlinuxValueTypeId: 0,
    btf: null,
    inner: null,
    frozen: false,
    data: null,
  };
}
