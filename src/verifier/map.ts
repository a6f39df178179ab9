/** A map as the verifier sees it, and the special fields that BTF finds in map values and allocated objects. */
import type { Btf } from "../btf/btf.ts";

// enum btf_field_type
export const BPF_SPIN_LOCK = 1 << 0;
export const BPF_TIMER = 1 << 1;
export const BPF_KPTR_UNREF = 1 << 2;
export const BPF_KPTR_REF = 1 << 3;
export const BPF_KPTR_PERCPU = 1 << 4;
export const BPF_KPTR = BPF_KPTR_UNREF | BPF_KPTR_REF | BPF_KPTR_PERCPU;
export const BPF_LIST_HEAD = 1 << 5;
export const BPF_LIST_NODE = 1 << 6;
export const BPF_RB_ROOT = 1 << 7;
export const BPF_RB_NODE = 1 << 8;
export const BPF_REFCOUNT = 1 << 9;
export const BPF_WORKQUEUE = 1 << 10;
export const BPF_UPTR = 1 << 11;
export const BPF_RES_SPIN_LOCK = 1 << 12;
export const BPF_TASK_WORK = 1 << 13;

/** One special field (btf_field). */
export interface BtfField {
  /** One BPF_* bit above. */
  readonly type: number;
  /** Bytes from the start of the value. */
  readonly offset: number;
  readonly size: number;
  /** kptr, uptr: what it points to. */
  readonly kptr?: { readonly btf: Btf; readonly btfId: number };
  /** list_head, rb_root: the node's struct, where the node lies in it, and its own record. */
  readonly graphRoot?: {
    readonly btf: Btf;
    readonly valueBtfId: number;
    readonly nodeOffset: number;
    valueRec: BtfRecord | null;
  };
}

/** btf_record: `fields` by offset; `mask` the union of their types; single offsets are -1 when absent. */
export interface BtfRecord {
  readonly fields: readonly BtfField[];
  readonly mask: number;
  readonly spinLockOff: number;
  readonly resSpinLockOff: number;
  readonly timerOff: number;
  readonly wqOff: number;
  readonly refcountOff: number;
  readonly taskWorkOff: number;
}

export interface VMap {
  /** Index in the program's map list; inner map templates share none: -1. */
  readonly index: number;
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly extra: bigint;
  readonly btf: Btf | null;
  readonly btfKeyTypeId: number;
  readonly btfValueTypeId: number;
  readonly btfVmlinuxValueTypeId: number;
  /** Set by the BTF part before verification; null when there are no special fields. */
  record: BtfRecord | null;
  readonly inner: VMap | null;
  readonly frozen: boolean;
  /** Contents of a frozen single-entry array. */
  readonly data: Uint8Array | null;
  /** Base address that logs show for a value pointer (array) and for the map pointer; any number. */
  readonly ptr: bigint;
  readonly valueAddr: bigint;
}

export const recordHas = (rec: BtfRecord | null, mask: number): boolean => rec !== null && (rec.mask & mask) !== 0;

/** The field of the given types at exactly `offset`. */
export function recordFind(rec: BtfRecord | null, offset: number, mask: number): BtfField | null {
  if (rec === null || (rec.mask & mask) === 0) return null;
  for (const f of rec.fields) {
    if (f.offset === offset && (f.type & mask) !== 0) return f;
  }
  return null;
}
