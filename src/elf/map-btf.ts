/** Map definitions as BTF: the types of the variables of `.maps`. The reverse of map-defs.ts. */
import type { Btf } from "../btf/btf.ts";
import { BTF_KIND, KIND_NAMES } from "../btf/kinds.ts";
import { ArgumentError } from "../core/errors.ts";
import { BPF_MAP_TYPE } from "../uapi/map-types.ts";
import { type BtfEdit, infoWord } from "./btf-edit.ts";
import { isMapInMap, readMapDef } from "./map-defs.ts";
import type { MapSpec } from "./spec.ts";

const POINTER = 8;

/** Makes types, each kind of attribute once. */
export class MapTypes {
  readonly #edit: BtfEdit;
  readonly #btf: Btf | undefined;
  readonly #uints = new Map<number, number>();
  readonly #pointers = new Map<number, number>();
  #int = 0;

  constructor(edit: BtfEdit, btf: Btf | undefined) {
    this.#edit = edit;
    this.#btf = btf;
  }

  /** A 32-bit integer type. */
  get int(): number {
    if (this.#int === 0)
      this.#int =
        this.#findInt() ?? this.#edit.add(this.#edit.addString("int"), infoWord(BTF_KIND.INT, 0), 4, (1 << 24) | 32);
    return this.#int;
  }

  #findInt(): number | undefined {
    const btf = this.#btf;
    if (btf === undefined) return undefined;
    for (let id = btf.firstId; id < btf.typeCount; id++) {
      if (btf.kindOf(id) !== BTF_KIND.INT) continue;
      const type = btf.typeById(id);
      if (type.kind === "int" && type.size === 4 && type.bits === 32) return id;
    }
    return undefined;
  }

  pointer(to: number): number {
    let id = this.#pointers.get(to);
    if (id === undefined) this.#pointers.set(to, (id = this.#edit.add(0, infoWord(BTF_KIND.PTR, 0), to)));
    return id;
  }

  array(of: number, nelems: number): number {
    return this.#edit.add(0, infoWord(BTF_KIND.ARRAY, 0), 0, of, this.int, nelems);
  }

  /** `int (*)[value]`, as `__uint` writes it. */
  uint(value: number): number {
    let id = this.#uints.get(value);
    if (id === undefined) this.#uints.set(value, (id = this.pointer(this.array(this.int, value))));
    return id;
  }

  /** `__ulong`: an enum with one value when 32 bits are not enough. */
  ulong(value: bigint, name: string): number {
    if (value <= 0xffff_ffffn) return this.uint(Number(value));
    return this.#edit.add(
      0,
      infoWord(BTF_KIND.ENUM64, 1),
      8,
      this.#edit.addString(`${name}__map_extra`),
      Number(value & 0xffff_ffffn),
      Number(value >> 32n),
    );
  }

  variable(name: string, type: number, linkage: "static" | "global" | "extern"): number {
    return this.#edit.add(
      this.#edit.addString(name),
      infoWord(BTF_KIND.VAR, 0),
      type,
      ["static", "global", "extern"].indexOf(linkage),
    );
  }

  /** The struct that defines `map`. `values` is the byte offset of its slots. */
  definition(map: MapSpec): { type: number; values: number | undefined } {
    const members: [name: string, type: number][] = [["type", this.uint(map.type)]];
    const hasValues = map.inner !== undefined || (map.type === BPF_MAP_TYPE.PROG_ARRAY && map.initialSlots.length > 0);
    if (map.btfKeyTypeId !== 0) members.push(["key", this.pointer(map.btfKeyTypeId)]);
    else if (map.keySize !== 0) members.push(["key_size", this.uint(map.keySize)]);
    if (map.btfValueTypeId !== 0) members.push(["value", this.pointer(map.btfValueTypeId)]);
    else if (map.valueSize !== 0 && !hasValues) members.push(["value_size", this.uint(map.valueSize)]);
    if (map.maxEntries !== 0) members.push(["max_entries", this.uint(map.maxEntries)]);
    if (map.flags !== 0) members.push(["map_flags", this.uint(map.flags)]);
    if (map.numaNode !== undefined) members.push(["numa_node", this.uint(map.numaNode)]);
    if (map.mapExtra !== 0n) members.push(["map_extra", this.ulong(map.mapExtra, map.name)]);
    if (map.pinning === "by-name") members.push(["pinning", this.uint(1)]);
    const size = members.length * POINTER;
    if (hasValues) {
      const target = map.inner === undefined ? this.#progType() : this.definition(map.inner).type;
      members.push(["values", this.array(this.pointer(target), 0)]);
    } else if (map.initialSlots.length > 0) {
      throw new ArgumentError(
        `maps.${map.name}`,
        isMapInMap(map.type)
          ? "initial entries, but no template of the inner maps"
          : "only map-in-map and prog array maps have initial entries",
      );
    }
    const words = members.flatMap(([name, type], i) => [this.#edit.addString(name), type, i * POINTER * 8]);
    return {
      type: this.#edit.add(0, infoWord(BTF_KIND.STRUCT, members.length), size, ...words),
      values: hasValues ? size : undefined,
    };
  }

  /** `int (void *)` */
  #progType(): number {
    return this.#edit.add(0, infoWord(BTF_KIND.FUNC_PROTO, 1), this.int, 0, this.pointer(0));
  }

  /** The variable of `.maps` in the BTF that already defines exactly this map. */
  existing(map: MapSpec): { variable: number; size: number; values: number | undefined } | undefined {
    const btf = this.#btf;
    const sec = btf?.findByName(".maps", "datasec");
    if (btf === undefined || sec === undefined) return undefined;
    for (const v of sec.vars) {
      if (btf.nameOf(v.type) !== map.name) continue;
      const found = readMapDef(btf, v.type);
      if (found === undefined || !sameDefinition(found.map, map)) return undefined;
      const slots = map.initialSlots.reduce((n, s) => Math.max(n, s.key + 1), 0);
      if (found.values !== undefined && v.size < found.values + slots * POINTER) return undefined;
      if (found.values === undefined && slots > 0) return undefined;
      return { variable: v.type, size: v.size, values: found.values };
    }
    return undefined;
  }
}

function sameDefinition(a: MapSpec, b: MapSpec): boolean {
  const keys = [
    "type",
    "keySize",
    "valueSize",
    "maxEntries",
    "flags",
    "mapExtra",
    "numaNode",
    "btfKeyTypeId",
    "btfValueTypeId",
    "pinning",
  ] as const;
  if (keys.some((k) => a[k] !== b[k])) return false;
  if (a.inner === undefined || b.inner === undefined) return a.inner === b.inner;
  return sameDefinition(a.inner, b.inner);
}

/** Checks that `id` is a type of that kind, before another type refers to it. */
export function checkKind(btf: Btf | undefined, id: number, kind: (typeof KIND_NAMES)[number], argument: string): void {
  const found = btf !== undefined && id > 0 && id < btf.typeCount ? btf.describe(id) : `type ${id}`;
  if (btf === undefined || !(id > 0 && id < btf.typeCount) || KIND_NAMES[btf.kindOf(id)] !== kind) {
    throw new ArgumentError(argument, `expected a ${kind} of the collection's BTF, got ${found}`);
  }
}
