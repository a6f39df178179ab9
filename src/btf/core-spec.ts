/** The path of a CO-RE relocation through the local type, and the same path in a target type. */
import { DecodeError } from "../core/errors.ts";
import type { Btf } from "./btf.ts";
import {
  CoreLimit,
  CorePair,
  fieldsCompatible,
  isAnyEnum,
  isComposite,
  typesCompatible,
  typesMatch,
} from "./core-compat.ts";
import { CORE_RELO, essentialName, isEnumRelo, isFieldRelo, type CoreReloRecord } from "./core-kinds.ts";
import { resolve, resolveId, sizeOf } from "./layout.ts";
import type { BtfArray } from "./types.ts";

/** Steps that an access string may have, as in libbpf. */
const MAX_STEPS = 64;

/** A turning point of a path: a named member (or enumerator), or an array element. */
export interface CoreAccessor {
  /** The struct that has the member, the element type of an array, or the enum. */
  readonly typeId: number;
  readonly index: number;
  /** undefined for an array element. */
  readonly name: string | undefined;
}

export interface CoreSpec {
  readonly btf: Btf;
  readonly rootId: number;
  readonly accessors: readonly CoreAccessor[];
  /** Bits from the start of the root type. */
  readonly bitOffset: number;
}

/** The last array of a struct may be indexed past its (zero) length. */
function isFlexible(btf: Btf, accessor: CoreAccessor | undefined, array: BtfArray): boolean {
  if (accessor?.name === undefined || array.nelems > 0) return false;
  const struct = btf.typeById(accessor.typeId);
  return isComposite(struct) && accessor.index === struct.members.length - 1;
}

/**
 * Follows an access string through the local type.
 * @throws DecodeError when it does not fit the type.
 */
export function parseCoreSpec(btf: Btf, relo: CoreReloRecord): CoreSpec {
  const fail = (message: string): never => {
    throw new DecodeError(btf.what, `CO-RE relocation of ${btf.describe(relo.typeId)} + "${relo.access}": ${message}`, {
      path: ["core_relo", "access_str"],
    });
  };
  const rootId = relo.typeId;
  if (!btf.has(rootId)) {
    throw new DecodeError(btf.what, `CO-RE relocation of type ${rootId}, which does not exist`, {
      path: ["core_relo", "type_id"],
    });
  }
  if (!isFieldRelo(relo.kind) && !isEnumRelo(relo.kind)) {
    if (relo.access !== "0") fail('expected "0" for a relocation of a type');
    return { btf, rootId, accessors: [], bitOffset: 0 };
  }
  if (!/^\d{1,10}(:\d{1,10})*$/.test(relo.access)) fail("expected numbers separated by colons");
  const steps = relo.access.split(":").map(Number);
  if (steps.length > MAX_STEPS) fail(`more than ${MAX_STEPS} steps`);
  if (steps.some((s) => s > 0x7fff_ffff)) fail("an index is above 2147483647");
  const first = steps[0]!;
  let id = resolveId(btf, rootId);
  if (isEnumRelo(relo.kind)) {
    const type = btf.typeById(id);
    if (!isAnyEnum(type)) return fail(`expected an enum, got ${type.kind}`);
    const value = type.values[first];
    if (value === undefined || steps.length > 1) return fail(`the enum has ${type.values.length} values`);
    return { btf, rootId, accessors: [{ typeId: id, index: first, name: value.name }], bitOffset: 0 };
  }
  const accessors: CoreAccessor[] = [{ typeId: id, index: first, name: undefined }];
  let bitOffset = first * sizeOf(btf, id) * 8;
  for (let i = 1; i < steps.length; i++) {
    const index = steps[i]!;
    id = resolveId(btf, id);
    const type = btf.typeById(id);
    if (isComposite(type)) {
      const member = type.members[index];
      if (member === undefined) return fail(`step ${i}: ${btf.describe(id)} has ${type.members.length} members`);
      bitOffset += member.bitOffset;
      if (member.name !== "") accessors.push({ typeId: id, index, name: member.name });
      id = member.type;
    } else if (type.kind === "array") {
      if (index >= type.nelems && !isFlexible(btf, accessors.at(-1), type))
        return fail(`step ${i}: the array has ${type.nelems} elements`);
      id = resolveId(btf, type.type);
      accessors.push({ typeId: id, index, name: undefined });
      bitOffset += index * sizeOf(btf, id) * 8;
    } else {
      return fail(`step ${i}: expected a struct, union or array, got ${btf.describe(id)}`);
    }
  }
  return { btf, rootId, accessors, bitOffset };
}

interface Path {
  readonly accessors: CoreAccessor[];
  bitOffset: number;
  depth: number;
  /** Types searched for the current member in vain. */
  searched: Set<number>;
}

/** The member named as `wanted` in target type `id`, through anonymous members; gives its type id, or -1. */
function matchMember(pair: CorePair, wanted: CoreAccessor, id: number, path: Path): number {
  const type = resolve(pair.target, id);
  if (!isComposite(type) || path.searched.has(type.id)) return -1;
  if (path.depth >= MAX_STEPS && type.members.length > 0) throw new CoreLimit("anonymous members nest too deep");
  path.searched.add(type.id);
  path.depth++;
  for (let index = 0; index < type.members.length; index++) {
    const member = type.members[index]!;
    if (member.name === "") {
      pair.step();
      const before = path.bitOffset;
      path.bitOffset += member.bitOffset;
      const found = matchMember(pair, wanted, member.type, path);
      if (found >= 0) return found;
      path.bitOffset = before;
    } else if (member.name === wanted.name) {
      const localStruct = pair.local.typeById(wanted.typeId);
      const local = isComposite(localStruct) ? localStruct.members[wanted.index] : undefined;
      if (local === undefined || !fieldsCompatible(pair, local.type, member.type)) break;
      path.bitOffset += member.bitOffset;
      path.accessors.push({ typeId: type.id, index, name: member.name });
      return member.type;
    }
  }
  path.depth--;
  return -1;
}

/** The local path in target type `targetId`; undefined when that type does not match. */
export function matchCoreSpec(local: CoreSpec, kind: number, target: Btf, targetId: number): CoreSpec | undefined {
  const pair = new CorePair(local.btf, target);
  if (isEnumRelo(kind)) {
    const type = resolve(target, targetId);
    if (!isAnyEnum(type)) return undefined;
    const wanted = essentialName(local.accessors[0]!.name!);
    const index = type.values.findIndex((v) => essentialName(v.name) === wanted);
    if (index < 0) return undefined;
    return {
      btf: target,
      rootId: targetId,
      accessors: [{ typeId: type.id, index, name: type.values[index]!.name }],
      bitOffset: 0,
    };
  }
  if (!isFieldRelo(kind)) {
    const same =
      kind === CORE_RELO.TYPE_MATCHES
        ? typesMatch(pair, local.rootId, targetId)
        : typesCompatible(pair, local.rootId, targetId);
    return same ? { btf: target, rootId: targetId, accessors: [], bitOffset: 0 } : undefined;
  }
  const path: Path = { accessors: [], bitOffset: 0, depth: 0, searched: new Set() };
  let id = targetId;
  for (let i = 0; i < local.accessors.length; i++) {
    id = resolveId(target, id);
    const wanted = local.accessors[i]!;
    if (wanted.name !== undefined) {
      path.searched.clear();
      id = matchMember(pair, wanted, id, path);
      if (id < 0) return undefined;
      continue;
    }
    if (i > 0) {
      const array = target.typeById(id);
      if (array.kind !== "array") return undefined;
      if (wanted.index >= array.nelems && !isFlexible(target, path.accessors.at(-1), array)) return undefined;
      id = resolveId(target, array.type);
    }
    if (path.depth >= MAX_STEPS) throw new CoreLimit("members nest too deep");
    path.depth++;
    path.accessors.push({ typeId: id, index: wanted.index, name: undefined });
    // libbpf takes the size even for index 0, and so refuses a type without one.
    path.bitOffset += wanted.index * sizeOf(target, id) * 8;
  }
  return { btf: target, rootId: targetId, accessors: path.accessors, bitOffset: path.bitOffset };
}

/** A path for people: `struct task_struct.se.vruntime`, `enum bpf_func_id::BPF_FUNC_unspec`, `struct foo`. */
export function formatCoreSpec(spec: CoreSpec, kind: number): string {
  let text = spec.btf.describe(spec.rootId);
  if (isEnumRelo(kind)) return `${text}::${spec.accessors[0]?.name ?? "?"}`;
  spec.accessors.forEach((a, i) => {
    if (a.name !== undefined) text += `.${a.name}`;
    else if (i > 0 || a.index > 0) text += `[${a.index}]`;
  });
  return text;
}
