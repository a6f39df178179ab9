/** What the checks of one kernel function call learn (bpf_kfunc_call_arg_meta). */
import type { Btf } from "../../btf/btf.ts";
import type { BtfField, VMap } from "../map.ts";
import type { Kfunc } from "./kfunc-ids.ts";
import type { MapDesc } from "./locks.ts";

export class KfuncMeta implements MapDesc {
  readonly fn: Kfunc;
  /** Name when in vmlinux; functions of modules are never special. */
  readonly name: string;
  refObjId = 0;
  releaseRegno = 0;
  r0Size = 0;
  r0Rdonly = false;
  retBtfId = 0;
  subprogno = 0;
  argConstant: { readonly lo: number; readonly hi: number } | null = null;
  argBtf: Btf | null = null;
  argBtfId = 0;
  argOwningRef = false;
  /** The argument being checked is a map, whatever its declared type. */
  argIsMap = false;
  listHead: BtfField | null = null;
  rbRoot: BtfField | null = null;
  dynptr = { type: 0, id: 0, refObjId: 0 };
  iter = { spi: 0, frameno: 0 };
  map: VMap | null = null;
  mapUid = 0;

  constructor(fn: Kfunc) {
    this.fn = fn;
    this.name = fn.inVmlinux ? fn.name : "";
  }

  has(flag: number): boolean {
    return (this.fn.flags & flag) !== 0;
  }
}
