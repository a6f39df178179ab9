/** Special fields of map values and of objects that programs allocate (btf_parse_fields, btf_parse_struct_metas). */
import type { Btf } from "../../btf/btf.ts";
import type { BtfDatasec, BtfStruct, BtfType } from "../../btf/types.ts";
import type { KernelProfile } from "../kernel-profile.ts";
import * as f from "../map.ts";
import type { BtfField, BtfRecord, VMap } from "../map.ts";
import { declTags, skipModifiers, typeById } from "./types.ts";

const MAX_RESOLVE_DEPTH = 32;
const BTF_FIELDS_MAX = 11;
const GRAPH_ROOT = f.BPF_LIST_HEAD | f.BPF_RB_ROOT;

const MAP_FIELDS =
  f.BPF_SPIN_LOCK |
  f.BPF_RES_SPIN_LOCK |
  f.BPF_TIMER |
  f.BPF_KPTR |
  f.BPF_LIST_HEAD |
  f.BPF_RB_ROOT |
  f.BPF_REFCOUNT |
  f.BPF_WORKQUEUE |
  f.BPF_UPTR |
  f.BPF_TASK_WORK;
const OBJECT_FIELDS =
  f.BPF_SPIN_LOCK |
  f.BPF_RES_SPIN_LOCK |
  f.BPF_LIST_HEAD |
  f.BPF_LIST_NODE |
  f.BPF_RB_ROOT |
  f.BPF_RB_NODE |
  f.BPF_REFCOUNT |
  f.BPF_KPTR;

/** Fields found by the name of their struct: type, size, alignment, and whether a value has only one. */
const NAMED: Readonly<Record<string, { type: number; size: number; align: number; unique: boolean }>> = {
  bpf_spin_lock: { type: f.BPF_SPIN_LOCK, size: 4, align: 4, unique: true },
  bpf_res_spin_lock: { type: f.BPF_RES_SPIN_LOCK, size: 4, align: 4, unique: true },
  bpf_timer: { type: f.BPF_TIMER, size: 16, align: 8, unique: true },
  bpf_wq: { type: f.BPF_WORKQUEUE, size: 16, align: 8, unique: true },
  bpf_task_work: { type: f.BPF_TASK_WORK, size: 8, align: 8, unique: true },
  bpf_list_head: { type: f.BPF_LIST_HEAD, size: 16, align: 8, unique: false },
  bpf_list_node: { type: f.BPF_LIST_NODE, size: 24, align: 8, unique: false },
  bpf_rb_root: { type: f.BPF_RB_ROOT, size: 16, align: 8, unique: false },
  bpf_rb_node: { type: f.BPF_RB_NODE, size: 32, align: 8, unique: false },
  bpf_refcount: { type: f.BPF_REFCOUNT, size: 4, align: 4, unique: true },
};

/** Structs whose presence makes an allocated type one with special fields. */
const OBJECT_MARKS = new Set([
  "bpf_spin_lock",
  "bpf_res_spin_lock",
  "bpf_list_head",
  "bpf_list_node",
  "bpf_rb_root",
  "bpf_rb_node",
  "bpf_refcount",
]);

/** Release that first had a kind of field in map values. */
const SINCE: readonly (readonly [type: number, since: string])[] = [
  [f.BPF_TIMER, "5.15"],
  [f.BPF_KPTR, "5.19"],
  [f.BPF_LIST_HEAD, "6.2"],
  [f.BPF_RB_ROOT, "6.3"],
  [f.BPF_REFCOUNT, "6.4"],
  [f.BPF_WORKQUEUE, "6.10"],
  [f.BPF_UPTR, "6.13"],
  [f.BPF_RES_SPIN_LOCK, "6.15"],
  [f.BPF_TASK_WORK, "6.18"],
];
const KPTR_TAGS: Readonly<Record<string, number>> = {
  kptr_untrusted: f.BPF_KPTR_UNREF,
  kptr: f.BPF_KPTR_REF,
  percpu_kptr: f.BPF_KPTR_PERCPU,
  uptr: f.BPF_UPTR,
};
const OLD_KPTR_TAGS: Readonly<Record<string, number>> = { kptr: f.BPF_KPTR_UNREF, kptr_ref: f.BPF_KPTR_REF };

function mapFields(kernel: KernelProfile): number {
  let mask = MAP_FIELDS;
  for (const [type, since] of SINCE) if (!kernel.atLeast(since)) mask &= ~type;
  return mask;
}

interface Found {
  type: number;
  off: number;
  size: number;
  /** kptr, uptr: the struct in the value's BTF. Graph roots: the node's struct. */
  typeId: number;
  node: string;
}

/** The BTF does not describe valid special fields: as if it described none. */
class BadFields extends Error {}

const bad = (): never => {
  throw new BadFields();
};

const REPEATABLE = f.BPF_KPTR | f.BPF_UPTR | GRAPH_ROOT;

class Finder {
  readonly btf: Btf;
  readonly mask: number;
  readonly tags: Readonly<Record<string, number>>;
  seen = 0;
  constructor(btf: Btf, mask: number, tags = KPTR_TAGS) {
    this.btf = btf;
    this.mask = mask;
    this.tags = tags;
  }

  type(id: number): BtfType {
    return typeById(this.btf, id) ?? bad();
  }

  struct(t: BtfStruct, level: number): Found[] {
    const out: Found[] = [];
    t.members.forEach((m, i) => {
      if (m.bitOffset % 8 !== 0) bad();
      out.push(...this.one(t.id, m.type, i, m.bitOffset >>> 3, 0, level));
    });
    return out;
  }

  datasec(t: BtfDatasec): Found[] {
    return t.vars.flatMap((v) => {
      const variable = this.type(v.type);
      return variable.kind === "var" ? this.one(variable.id, variable.type, -1, v.offset, v.size, 0) : [];
    });
  }

  /** btf_find_field_one: the fields of a member or variable of type `id` at `off`. */
  one(tagged: number, id: number, component: number, off: number, expectedSize: number, level: number): Found[] {
    let t = this.type(id);
    let nelems = 1;
    for (let depth = 0; t.kind === "array"; depth++) {
      if (depth === MAX_RESOLVE_DEPTH) bad();
      nelems *= t.nelems;
      t = this.type(t.type);
    }
    if (nelems === 0) return [];
    const named = NAMED[t.name];
    if (named !== undefined && (this.mask & named.type) !== 0) {
      if (named.unique && (this.seen & named.type) !== 0) bad();
      this.seen |= named.type;
      if (expectedSize !== 0 && expectedSize !== named.size * nelems) return [];
      if (off % named.align !== 0) return [];
      if (t.kind !== "struct" || t.size !== named.size) return [];
      const found: Found = { type: named.type, off, size: named.size, typeId: 0, node: "" };
      if ((named.type & GRAPH_ROOT) !== 0) this.#contains(found, tagged, component);
      return this.#repeat([found], nelems, named.size);
    }
    if (t.kind === "struct") {
      if (expectedSize !== 0 && expectedSize !== t.size * nelems) return [];
      if (level + 1 >= MAX_RESOLVE_DEPTH) bad();
      const inner = this.struct(t, level + 1);
      for (const x of inner) x.off += off;
      return inner.length === 0 ? inner : this.#repeat(inner, nelems, t.size);
    }
    if ((this.mask & (f.BPF_KPTR | f.BPF_UPTR)) === 0) return [];
    if (expectedSize !== 0 && expectedSize !== 8 * nelems) return [];
    if (off % 8 !== 0) return [];
    const found = this.kptr(t, off);
    return found === null ? [] : this.#repeat([found], nelems, 8);
  }

  /** btf_find_kptr */
  kptr(t0: BtfType, off: number): Found | null {
    let t = t0;
    if (t.kind === "volatile") t = this.type(t.type);
    if (t.kind !== "ptr") return null;
    const tag = this.type(t.type);
    if (tag.kind !== "type_tag") return null;
    if (this.type(tag.type).kind === "type_tag") bad();
    const type = this.tags[tag.name];
    if (type === undefined) bad();
    if ((type! & this.mask) === 0) return null;
    const target = skipModifiers(this.btf, tag.type);
    if (target.kind !== "struct") bad();
    return { type: type!, off, size: 8, typeId: target.id, node: "" };
  }

  #contains(found: Found, tagged: number, component: number): void {
    const tags = declTags(this.btf, tagged, component, "contains:");
    const [struct, node] = [tags[0]?.slice(0, tags[0].indexOf(":")), tags[0]?.slice(tags[0].indexOf(":") + 1)];
    if (tags.length !== 1 || !tags[0]!.includes(":") || struct === undefined || node === undefined || node === "")
      bad();
    found.typeId = this.btf.findId(struct!, "struct");
    found.node = node!;
    if (found.typeId === 0) bad();
  }

  #repeat(list: Found[], nelems: number, size: number): Found[] {
    if (nelems === 1) return list;
    if (list.some((x) => (x.type & REPEATABLE) === 0) || list.length * nelems > BTF_FIELDS_MAX) bad();
    const out = [...list];
    for (let i = 1; i < nelems; i++) for (const x of list) out.push({ ...x, off: x.off + i * size });
    return out;
  }
}

function nodeOffset(btf: Btf, structIdx: number, node: string, nodeType: string): number {
  const t = typeById(btf, structIdx);
  if (t?.kind !== "struct") return bad();
  const matching = t.members.filter((m) => m.name === node);
  if (matching.length !== 1) bad();
  const m = matching[0]!;
  const n = typeById(btf, m.type);
  if (n?.kind !== "struct" || n.name !== nodeType || m.bitOffset % 64 !== 0) bad();
  return m.bitOffset >>> 3;
}

function toField(btf: Btf, vmlinux: Btf | null, x: Found, kernel?: KernelProfile): BtfField {
  const base = { type: x.type, offset: x.off, size: x.size };
  if ((x.type & (f.BPF_KPTR | f.BPF_UPTR)) !== 0) {
    const name = typeById(btf, x.typeId)?.name ?? "";
    const kernelId = vmlinux?.findId(name, "struct") ?? 0;
    // Before 6.2 there are no objects of the program's own types to point to.
    if (kernelId === 0 && kernel?.has.specialFieldRecords === false) bad();
    return { ...base, kptr: kernelId !== 0 ? { btf: vmlinux!, btfId: kernelId } : { btf, btfId: x.typeId } };
  }
  if ((x.type & GRAPH_ROOT) !== 0) {
    const nodeType = x.type === f.BPF_LIST_HEAD ? "bpf_list_node" : "bpf_rb_node";
    return {
      ...base,
      graphRoot: { btf, valueBtfId: x.typeId, nodeOffset: nodeOffset(btf, x.typeId, x.node, nodeType), valueRec: null },
    };
  }
  return base;
}

function build(
  btf: Btf,
  vmlinux: Btf | null,
  found: Found[],
  valueSize: number,
  kernel?: KernelProfile,
): BtfRecord | null {
  if (found.length === 0) return null;
  if (found.length > BTF_FIELDS_MAX) bad();
  let nextOff = 0;
  let mask = 0;
  const fields: BtfField[] = [];
  for (const x of found) {
    if (x.off + x.size > valueSize || x.off < nextOff) bad();
    nextOff = x.off + x.size;
    mask |= x.type;
    fields.push(toField(btf, vmlinux, x, kernel));
  }
  // The kernel keeps -EINVAL for an offset that there is not, and prints it.
  const offOf = (type: number): number => fields.find((x) => x.type === type)?.offset ?? -22;
  const rec: BtfRecord = {
    fields,
    mask,
    spinLockOff: offOf(f.BPF_SPIN_LOCK),
    resSpinLockOff: offOf(f.BPF_RES_SPIN_LOCK),
    timerOff: offOf(f.BPF_TIMER),
    wqOff: offOf(f.BPF_WORKQUEUE),
    refcountOff: offOf(f.BPF_REFCOUNT),
    taskWorkOff: offOf(f.BPF_TASK_WORK),
  };
  if ((mask & GRAPH_ROOT) !== 0 && rec.spinLockOff < 0 && rec.resSpinLockOff < 0) bad();
  if (rec.refcountOff < 0 && (mask & f.BPF_LIST_NODE) !== 0 && (mask & f.BPF_RB_NODE) !== 0) bad();
  return rec;
}

function parseFields(
  btf: Btf,
  vmlinux: Btf | null,
  t: BtfType,
  mask: number,
  valueSize: number,
  kernel?: KernelProfile,
): BtfRecord | null {
  try {
    const finder = new Finder(btf, mask, kernel?.has.kptrTags === false ? OLD_KPTR_TAGS : KPTR_TAGS);
    if (t.kind === "struct") return build(btf, vmlinux, finder.struct(t, 0), valueSize, kernel);
    if (t.kind === "datasec") return build(btf, vmlinux, finder.datasec(t), valueSize, kernel);
    return null;
  } catch (e) {
    if (!(e instanceof BadFields)) throw e;
    const kptrs = mask & f.BPF_KPTR;
    if (kernel === undefined || kernel.has.specialFieldRecords || kptrs === 0) return null;
    return parseFields(btf, vmlinux, t, mask & ~kptrs, valueSize, kernel);
  }
}

const objectRecords = new WeakMap<Btf, Map<number, BtfRecord | null>>();

function hasMark(btf: Btf, t: BtfStruct): boolean {
  const finder = new Finder(btf, f.BPF_KPTR);
  return t.members.some((m) => {
    const mt = typeById(btf, m.type);
    if (mt === undefined) return false;
    if (mt.kind === "struct") return OBJECT_MARKS.has(mt.name);
    try {
      return finder.kptr(mt, 0) !== null;
    } catch (e) {
      if (!(e instanceof BadFields)) throw e;
      return false;
    }
  });
}

/** btf_find_struct_meta: the record of struct `id` of a program's BTF; null when it has no special fields. */
export function structRecord(btf: Btf, vmlinux: Btf | null, id: number): BtfRecord | null {
  let table = objectRecords.get(btf);
  if (table === undefined) {
    table = new Map();
    objectRecords.set(btf, table);
  }
  const known = table.get(id);
  if (known !== undefined) return known;
  const t = typeById(btf, id);
  const rec = t?.kind === "struct" && hasMark(btf, t) ? parseFields(btf, vmlinux, t, OBJECT_FIELDS, t.size) : null;
  table.set(id, rec);
  if (rec !== null) linkRoots(btf, vmlinux, rec);
  return rec;
}

function linkRoots(btf: Btf, vmlinux: Btf | null, rec: BtfRecord): void {
  for (const field of rec.fields) {
    if (field.graphRoot !== undefined)
      field.graphRoot.valueRec = structRecord(btf, vmlinux, field.graphRoot.valueBtfId);
  }
}

/** Sets map.record from its value type's BTF, and its inner map's. Kptrs point to types of `vmlinux` where those exist there. */
export function parseMapRecord(map: VMap, vmlinux: Btf | null, kernel: KernelProfile): void {
  map.record = null;
  if (map.inner !== null) parseMapRecord(map.inner, vmlinux, kernel);
  if (map.btf === null || map.btfValueTypeId === 0) return;
  const value = skipModifiers(map.btf, map.btfValueTypeId);
  const rec = parseFields(map.btf, vmlinux, value, mapFields(kernel), map.valueSize, kernel);
  if (rec !== null) linkRoots(map.btf, vmlinux, rec);
  map.record = rec;
}
