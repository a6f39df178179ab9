/**
 * When a local type and a target type are "the same" for CO-RE. The rules are those
 * of libbpf (tools/lib/bpf/relo_core.c, kernel 6.12).
 */
import type { Btf } from "./btf.ts";
import { essentialName } from "./core-kinds.ts";
import { resolve } from "./layout.ts";
import type { BtfEnum, BtfEnum64, BtfStruct, BtfType } from "./types.ts";

/** Nesting of arrays and pointers, and of structs and prototypes, that is followed. */
const MAX_DEPTH = 32;
/** Work for one relocation before the BTF is taken for hostile: a pair of names counts 1, a pair of types 16. */
const MAX_WORK = 2_000_000;
const TYPE_COST = 16;

/** Raised inside the matching when types nest too deep or too wide; `core.ts` turns it into a diagnostic. */
export class CoreLimit extends Error {}

/** The two sides of a comparison, and how much has been compared. */
export class CorePair {
  readonly local: Btf;
  readonly target: Btf;
  /** Results of `membersMatch` by both ids. */
  readonly matched = new Map<string, boolean>();
  #work = 0;

  constructor(local: Btf, target: Btf) {
    this.local = local;
    this.target = target;
  }

  step(cost = TYPE_COST): void {
    this.#work += cost;
    if (this.#work > MAX_WORK) throw new CoreLimit("too many types had to be compared");
  }
}

export function isAnyEnum(type: BtfType): type is BtfEnum | BtfEnum64 {
  return type.kind === "enum" || type.kind === "enum64";
}
export function isComposite(type: BtfType): type is BtfStruct {
  return type.kind === "struct" || type.kind === "union";
}

/** Same kind, where enum and enum64 count as one. */
export function kindsCompatible(a: BtfType, b: BtfType): boolean {
  return a.kind === b.kind || (isAnyEnum(a) && isAnyEnum(b));
}

/** For TYPE_EXISTS, TYPE_SIZE and TYPE_ID_TARGET: names were compared before, kinds decide. */
export function typesCompatible(pair: CorePair, localId: number, targetId: number, level = MAX_DEPTH): boolean {
  if (!kindsCompatible(pair.local.typeById(localId), pair.target.typeById(targetId))) return false;
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    pair.step();
    const local = resolve(pair.local, localId);
    const target = resolve(pair.target, targetId);
    if (!kindsCompatible(local, target)) return false;
    switch (local.kind) {
      case "void":
      case "struct":
      case "union":
      case "enum":
      case "enum64":
      case "fwd":
        return true;
      case "int":
        return local.offset === 0 && target.kind === "int" && target.offset === 0;
      case "ptr":
      case "array":
        if (target.kind !== local.kind) return false;
        localId = local.type;
        targetId = target.type;
        break;
      case "func_proto":
        if (target.kind !== "func_proto" || local.params.length !== target.params.length) return false;
        if (local.params.length > 0 && level <= 0) throw new CoreLimit("function prototypes nest too deep");
        for (let i = 0; i < local.params.length; i++) {
          const a = resolve(pair.local, local.params[i]!.type).id;
          const b = resolve(pair.target, target.params[i]!.type).id;
          if (!typesCompatible(pair, a, b, level - 1)) return false;
        }
        localId = local.type;
        targetId = target.type;
        break;
      default:
        return false;
    }
  }
  throw new CoreLimit("types nest too deep");
}

/** For members that a FIELD relocation passes: integers of any size, pointers to anything, any struct or union. */
export function fieldsCompatible(pair: CorePair, localId: number, targetId: number): boolean {
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    pair.step();
    const local = resolve(pair.local, localId);
    const target = resolve(pair.target, targetId);
    if (isComposite(local) && isComposite(target)) return true;
    if (!kindsCompatible(local, target)) return false;
    switch (local.kind) {
      case "ptr":
      case "float":
        return true;
      case "fwd":
      case "enum":
      case "enum64": {
        const a = essentialName(local.name);
        const b = essentialName(target.name);
        return a === "" || b === "" || a === b;
      }
      case "int":
        return local.offset === 0 && target.kind === "int" && target.offset === 0;
      case "array":
        if (target.kind !== "array") return false;
        localId = local.type;
        targetId = target.type;
        break;
      default:
        return false;
    }
  }
  throw new CoreLimit("arrays nest too deep");
}

function namesMatch(local: string, target: string): boolean {
  return local === target || essentialName(local) === essentialName(target);
}

/** For TYPE_MATCHES: everything that the local type mentions must exist alike in the target. */
export function typesMatch(
  pair: CorePair,
  localId: number,
  targetId: number,
  behindPtr = false,
  level = MAX_DEPTH,
): boolean {
  if (level <= 0) throw new CoreLimit("types nest too deep");
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    pair.step();
    const local = resolve(pair.local, localId);
    const target = resolve(pair.target, targetId);
    if (!namesMatch(local.name, target.name)) return false;
    switch (local.kind) {
      case "void":
        return target.kind === "void";
      case "fwd":
        if (target.kind === "fwd") return local.of === target.of;
        return behindPtr && target.kind === local.of;
      case "enum":
      case "enum64":
        return isAnyEnum(target) && enumsMatch(local, target);
      case "struct":
      case "union":
        if (behindPtr) return target.kind === local.kind || (target.kind === "fwd" && target.of === local.kind);
        return target.kind === local.kind && membersMatch(pair, local, target, level);
      case "int":
        return target.kind === "int" && local.size === target.size && local.signed === target.signed;
      case "ptr":
        if (target.kind !== "ptr") return false;
        behindPtr = true;
        localId = local.type;
        targetId = target.type;
        break;
      case "array":
        if (target.kind !== "array" || local.nelems !== target.nelems) return false;
        localId = local.type;
        targetId = target.type;
        break;
      case "func_proto":
        if (target.kind !== "func_proto" || local.params.length !== target.params.length) return false;
        for (let i = 0; i < local.params.length; i++) {
          if (!typesMatch(pair, local.params[i]!.type, target.params[i]!.type, behindPtr, level - 1)) return false;
        }
        localId = local.type;
        targetId = target.type;
        break;
      default:
        return false;
    }
  }
  throw new CoreLimit("types nest too deep");
}

function enumsMatch(local: BtfEnum | BtfEnum64, target: BtfEnum | BtfEnum64): boolean {
  if (local.size !== target.size || local.values.length > target.values.length) return false;
  const names = new Set(target.values.map((v) => essentialName(v.name)));
  return local.values.every((v) => names.has(essentialName(v.name)));
}

function membersMatch(pair: CorePair, local: BtfStruct, target: BtfStruct, level: number): boolean {
  if (local.members.length > target.members.length) return false;
  const key = `${local.id}:${target.id}`;
  const known = pair.matched.get(key);
  if (known !== undefined) return known;
  const matches = local.members.every((member) =>
    target.members.some((other) => {
      pair.step(1);
      return namesMatch(member.name, other.name) && typesMatch(pair, member.type, other.type, false, level - 1);
    }),
  );
  pair.matched.set(key, matches);
  return matches;
}
