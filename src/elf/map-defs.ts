/**
 * BTF-defined maps: the variables of section `.maps`, whose *types* hold the definition. An attribute
 * `__uint(max_entries, 16)` is a member `int (*max_entries)[16]`: the number is the array's length.
 *
 * Source: tools/lib/bpf/bpf_helpers.h (__uint, __type, __array, __ulong) and parse_btf_map_def of libbpf.
 */
import { DecodeError } from "../core/errors.ts";
import type { Btf } from "../btf/btf.ts";
import { resolve, sizeOf } from "../btf/layout.ts";
import type { BtfMember, BtfStruct } from "../btf/types.ts";
import { BPF_MAP_TYPE } from "../uapi/map-types.ts";
import type { ObjectFile } from "./object-file.ts";
import type { ElfSection } from "./reader.ts";
import type { MapSpec } from "./spec.ts";

/** A map and where it lies in `.maps`. */
export interface PlacedMap {
  readonly map: MapSpec;
  readonly offset: number;
  readonly size: number;
  /** Byte offset in `.maps` of the first slot of `values`; undefined when the map has none. */
  readonly values: number | undefined;
}

export const isMapInMap = (type: number): boolean =>
  type === BPF_MAP_TYPE.ARRAY_OF_MAPS || type === BPF_MAP_TYPE.HASH_OF_MAPS;

/**
 * The maps of `.maps`, in order of offset, without their initial slots.
 *
 * @throws DecodeError when a definition is malformed
 */
export function readMapDefs(file: ObjectFile, section: ElfSection): PlacedMap[] {
  const { btf } = file;
  const sec = btf?.findByName(".maps", "datasec");
  if (btf === undefined || sec === undefined) {
    throw file.error(section, 0, "maps without BTF: compile with -g");
  }
  const bytes = file.elf.data(section).length;
  return sec.vars.map((v) => {
    const type = btf.typeById(v.type);
    if (type.kind !== "var" || type.name === "")
      throw bad({ btf, id: sec.id, map: `[${v.type}]` }, `expected a named variable, got ${btf.describe(v.type)}`);
    if (v.offset + v.size > bytes) {
      throw file.error(section, v.offset, `map ${type.name} of ${v.size} bytes reaches past the section's ${bytes}`);
    }
    if (type.linkage !== "global")
      throw bad({ btf, id: v.type, map: type.name }, `a map must be a global variable, this one is ${type.linkage}`);
    const def = resolve(btf, type.type);
    if (def.kind !== "struct")
      throw bad({ btf, id: v.type, map: type.name }, `expected a struct, got ${btf.describe(type.type)}`);
    if (def.size > v.size)
      throw bad({ btf, id: v.type, map: type.name }, `definition of ${def.size} bytes in a variable of ${v.size}`);
    return {
      map: readDef(btf, type.name, def, true),
      offset: v.offset,
      size: v.size,
      values: valuesOf(def, v.offset),
    };
  });
}

function valuesOf(def: BtfStruct, offset: number): number | undefined {
  const last = def.members.at(-1);
  return last?.name === "values" ? offset + Math.floor(last.bitOffset / 8) : undefined;
}

/** The map that variable `id` of `.maps` defines, `values` relative to its start; undefined when it defines none. */
export function readMapDef(btf: Btf, id: number): { map: MapSpec; values: number | undefined } | undefined {
  const type = btf.typeById(id);
  const def = type.kind === "var" ? resolve(btf, type.type) : undefined;
  return def?.kind === "struct" ? { map: readDef(btf, type.name, def, true), values: valuesOf(def, 0) } : undefined;
}

/** A map and the type that defines it. */
interface Place {
  readonly btf: Btf;
  readonly id: number;
  readonly map: string;
}

function bad({ btf, id, map }: Place, message: string, field?: string): DecodeError {
  const offset = btf.typeSectionOffset + btf.wordOf(id) * 4;
  return new DecodeError(btf.what, message, {
    offset,
    path: field === undefined ? [".maps", map] : [".maps", map, field],
  });
}

/** Mutable while its members are read. */
type Draft = { -readonly [K in keyof MapSpec]: MapSpec[K] };

function readDef(btf: Btf, name: string, def: BtfStruct, outer: boolean): MapSpec {
  const at: Place = { btf, id: def.id, map: name };
  const map: Draft = {
    name,
    type: 0,
    keySize: 0,
    valueSize: 0,
    maxEntries: 0,
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
    section: ".maps",
  };
  const size = (which: "keySize" | "valueSize", value: number, field: string): void => {
    if (map[which] !== 0 && map[which] !== value) throw bad(at, `conflicting sizes ${map[which]} and ${value}`, field);
    map[which] = value;
  };
  const pointee = (m: BtfMember): number => {
    const type = btf.typeById(m.type);
    if (type.kind !== "ptr") throw bad(at, `expected a pointer, got ${btf.describe(m.type)}`, m.name);
    return type.type;
  };
  for (const [i, m] of def.members.entries()) {
    switch (m.name) {
      case "type":
        map.type = uint(at, m);
        break;
      case "max_entries":
        map.maxEntries = uint(at, m);
        break;
      case "map_flags":
        map.flags = uint(at, m);
        break;
      case "numa_node":
        map.numaNode = uint(at, m);
        break;
      case "key_size":
        size("keySize", uint(at, m), m.name);
        break;
      case "value_size":
        size("valueSize", uint(at, m), m.name);
        break;
      case "key":
        map.btfKeyTypeId = pointee(m);
        size("keySize", sizeOf(btf, map.btfKeyTypeId), m.name);
        break;
      case "value":
        map.btfValueTypeId = pointee(m);
        size("valueSize", sizeOf(btf, map.btfValueTypeId), m.name);
        break;
      case "map_extra":
        map.mapExtra = ulong(at, m);
        break;
      case "pinning": {
        const value = uint(at, m);
        if (!outer) throw bad(at, "an inner map cannot be pinned", m.name);
        if (value > 1) throw bad(at, `expected 0 (none) or 1 (by name), got ${value}`, m.name);
        map.pinning = value === 1 ? "by-name" : "none";
        break;
      }
      case "values":
        if (!outer) throw bad(at, "maps nest one level deep only", m.name);
        if (i !== def.members.length - 1) throw bad(at, "must be the last member", m.name);
        size("valueSize", 4, m.name);
        map.inner = readValues(at, map, m);
        break;
      default:
        throw bad(at, "unknown attribute: expected type, key, value, max_entries, …", m.name);
    }
  }
  if (map.type === 0) throw bad(at, "no map type given (__uint(type, BPF_MAP_TYPE_…))");
  return map;
}

/** `__array(values, T)`: T is the definition of the inner maps, or a function of a prog array. */
function readValues(at: Place, map: Draft, m: BtfMember): MapSpec | undefined {
  const { btf } = at;
  const nested = isMapInMap(map.type);
  if (!nested && map.type !== BPF_MAP_TYPE.PROG_ARRAY) {
    throw bad(at, "only map-in-map and prog array maps have values", m.name);
  }
  const array = btf.typeById(m.type);
  if (array.kind !== "array" || array.nelems !== 0) {
    throw bad(at, `expected an array of unknown length, got ${btf.describe(m.type)}`, m.name);
  }
  const pointer = resolve(btf, array.type);
  if (pointer.kind !== "ptr") throw bad(at, `expected pointers, got ${btf.describe(array.type)}`, m.name);
  const target = resolve(btf, pointer.type);
  if (!nested) {
    if (target.kind !== "func_proto") throw bad(at, `expected functions, got ${btf.describe(target.id)}`, m.name);
    return undefined;
  }
  if (target.kind !== "struct") throw bad(at, `expected a map definition, got ${btf.describe(target.id)}`, m.name);
  return readDef(btf, `${map.name}.inner`, target, false);
}

/** `__uint(name, n)`: a pointer to an array of `n`. */
function uint(at: Place, m: BtfMember): number {
  const { btf } = at;
  const pointer = resolve(btf, m.type);
  const array = pointer.kind === "ptr" ? btf.typeById(pointer.type) : undefined;
  if (array?.kind !== "array") throw bad(at, `expected a pointer to an array, got ${btf.describe(m.type)}`, m.name);
  return array.nelems;
}

/** `__ulong(name, n)`: an enum whose one value is `n`; 64 bits. */
function ulong(at: Place, m: BtfMember): bigint {
  const { btf } = at;
  const type = resolve(btf, m.type);
  if (type.kind === "ptr") return BigInt(uint(at, m));
  const value =
    (type.kind === "enum" || type.kind === "enum64") && type.values.length === 1 ? type.values[0] : undefined;
  if (value === undefined) throw bad(at, `expected an enum with one value, got ${btf.describe(m.type)}`, m.name);
  return BigInt.asUintN(64, BigInt(value.value));
}
