/** Small questions about BTF types that the verifier asks all the time. Ids beyond the end are void, never an error. */
import type { Btf } from "../../btf/btf.ts";
import type { BtfFuncProto, BtfParam, BtfStruct, BtfType } from "../../btf/types.ts";
import type { Env } from "../env.ts";

const VOID: BtfType = { kind: "void", id: 0, name: "" };
const MAX_RESOLVE_DEPTH = 32;

/** Type `id`, or undefined when there is none (btf_type_by_id). */
export function typeById(btf: Btf, id: number): BtfType | undefined {
  return id >= 0 && id < btf.typeCount ? btf.typeById(id) : undefined;
}

/** btf_type_is_modifier: const, volatile, restrict, typedef, type tag. */
export function isModifier(
  t: BtfType,
): t is Extract<BtfType, { kind: "const" | "volatile" | "restrict" | "typedef" | "type_tag" }> {
  return (
    t.kind === "const" ||
    t.kind === "volatile" ||
    t.kind === "restrict" ||
    t.kind === "typedef" ||
    t.kind === "type_tag"
  );
}

/** btf_type_skip_modifiers: the type behind typedefs and modifiers of `id`. */
export function skipModifiers(btf: Btf, id: number): BtfType {
  let t = typeById(btf, id) ?? VOID;
  for (let depth = 0; isModifier(t) && depth < 128; depth++) t = typeById(btf, t.type) ?? VOID;
  return t;
}

export const isStruct = (t: BtfType): t is BtfStruct => t.kind === "struct" || t.kind === "union";
/** btf_type_is_scalar: int or enum. */
export const isScalar = (t: BtfType): boolean => t.kind === "int" || t.kind === "enum" || t.kind === "enum64";
export const isAnyEnum = (t: BtfType): boolean => t.kind === "enum" || t.kind === "enum64";
/** btf_type_is_small_int: at most 8 bytes. */
export const isSmallInt = (t: BtfType): boolean => t.kind === "int" && t.size <= 8;

/** btf_type_str: what the kernel calls a kind in its messages. */
export function kindStr(t: BtfType): string {
  switch (t.kind) {
    case "void":
      return "UNKNOWN";
    case "func_proto":
      return "FUNC_PROTO";
    case "decl_tag":
      return "DECL_TAG";
    case "type_tag":
      return "TYPE_TAG";
    default:
      return t.kind.toUpperCase();
  }
}

/** __btf_name_by_offset: what messages call a type or member without a name. */
export const anonName = (name: string): string => (name === "" ? "(anon)" : name);

/** btf_type_name */
export function btfTypeName(btf: Btf, id: number): string {
  return typeById(btf, id)?.name ?? "";
}

/** The BTF of a kernel or of one of its modules, as opposed to a program's. */
export const isKernelBtf = (env: Env, btf: Btf | null): boolean =>
  btf !== null && (btf === env.vmlinuxBtf || btf.base !== undefined);

/** btf_types_are_same */
export function sameType(a: Btf, aId: number, b: Btf, bId: number): boolean {
  if (aId !== bId) return false;
  return a === b || (aId < a.typeCount && bId < b.typeCount && a.owner(aId) === b.owner(bId));
}

export interface Resolved {
  /** Bytes of the whole. */
  readonly size: number;
  /** The type without modifiers: an array stays one. */
  readonly type: BtfType;
  /** Arrays: element type (no modifiers) and count over all dimensions. */
  readonly elem: BtfType;
  readonly nelems: number;
}

/** __btf_resolve_size: undefined when the type has no size. */
export function resolveSize(btf: Btf, id: number): Resolved | undefined {
  let t: BtfType | undefined = typeById(btf, id);
  let nelems = 1;
  let array: BtfType | null = null;
  for (let depth = 0; depth < MAX_RESOLVE_DEPTH && t !== undefined; depth++) {
    switch (t.kind) {
      case "int":
      case "struct":
      case "union":
      case "enum":
      case "enum64":
      case "float":
        return nelems * t.size > 0xffff_ffff ? undefined : { size: nelems * t.size, type: array ?? t, elem: t, nelems };
      case "ptr":
        return { size: nelems * 8, type: array ?? t, elem: t, nelems };
      case "typedef":
      case "volatile":
      case "const":
      case "restrict":
      case "type_tag":
        t = typeById(btf, t.type);
        break;
      case "array":
        array ??= t;
        nelems *= t.nelems;
        t = typeById(btf, t.type);
        break;
      default:
        return undefined;
    }
  }
  return undefined;
}

/** Does `param` end in `suffix` ("__sz")? btf_param_match_suffix */
export const hasSuffix = (param: BtfParam, suffix: string): boolean =>
  param.name.length > suffix.length - 1 && param.name.endsWith(suffix);

/** btf_type_resolve_func_ptr: the prototype that a pointer to a function has. */
export function resolveFuncPtr(btf: Btf, id: number): BtfFuncProto | undefined {
  const p = skipModifiers(btf, id);
  if (p.kind !== "ptr") return undefined;
  const f = skipModifiers(btf, p.type);
  return f.kind === "func_proto" ? f : undefined;
}

/** The prototype of FUNC `id`. */
export function protoOf(btf: Btf, id: number): BtfFuncProto | undefined {
  const f = typeById(btf, id);
  if (f?.kind !== "func") return undefined;
  const p = typeById(btf, f.type);
  return p?.kind === "func_proto" ? p : undefined;
}

/** Name of a kernel struct's id in vmlinux BTF, looked up once. */
const structIds = new WeakMap<Btf, Map<string, number>>();
export function structId(btf: Btf | null, name: string): number {
  if (btf === null) return 0;
  let ids = structIds.get(btf);
  if (ids === undefined) {
    ids = new Map();
    structIds.set(btf, ids);
  }
  let id = ids.get(name);
  if (id === undefined) {
    id = btf.findId(name, "struct");
    ids.set(name, id);
  }
  return id;
}

/** btf_is_projection_of */
export const isProjectionOf = (projection: string, name: string): boolean =>
  (projection === "__sk_buff" && name === "sk_buff") || (projection === "xdp_md" && name === "xdp_buff");

/** btf_find_next_decl_tag for all tags of one target: text of each tag that starts with `key`, in order of id, without the key. */
const tagTables = new WeakMap<Btf, Map<number, { idx: number; name: string; id: number }[]>>();
export function declTags(btf: Btf, target: number, componentIdx: number, key: string): string[] {
  return tagsOf(btf, target)
    .filter((t) => t.idx === componentIdx && t.name.startsWith(key))
    .map((t) => t.name.slice(key.length));
}

function tagsOf(btf: Btf, target: number): readonly { idx: number; name: string; id: number }[] {
  let table = tagTables.get(btf);
  if (table === undefined) {
    table = new Map();
    for (let id = btf.firstId; id < btf.typeCount; id++) {
      if (btf.kindOf(id) !== 17) continue;
      const t = btf.decode(id);
      if (t.kind !== "decl_tag") continue;
      const list = table.get(t.type);
      const tag = { idx: t.componentIdx, name: t.name, id };
      if (list === undefined) table.set(t.type, [tag]);
      else list.push(tag);
    }
    tagTables.set(btf, table);
  }
  return table.get(target) ?? [];
}
