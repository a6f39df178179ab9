/** Kernel types as the BTF that the caller gives describes them, looked up when asked for. */
import type { Btf } from "../../btf/index.ts";
import { BPF_FUNC, type HelperName } from "../../uapi/helpers.ts";
import { SIGNED, UNSIGNED } from "./sign.ts";
import type { EnumType, KernelStructType, PointerType, Trust, Type, Width } from "./types.ts";
import { BOOL, VOID, intType } from "./types.ts";

/** A member found by name, through anonymous structs and unions. */
export interface KernelMember {
  /** From the outermost struct in; each is (struct id, member index). */
  readonly path: readonly { readonly owner: number; readonly index: number }[];
  /** Bytes from the start of the outermost struct; of the storage unit for a bit-field. */
  readonly off: number;
  readonly type: number;
  /** Bits from the start of the outermost struct. */
  readonly bitOffset: number;
  /** 0 for a plain member. */
  readonly bitSize: number;
}

/** The arguments of a kernel function or tracepoint. */
export interface KernelArg {
  readonly name: string;
  /** BTF id. */
  readonly type: number;
}

/** Names of the functions that stand for the members of a struct_ops struct until a program does. */
const STUBS = ["$__", "bpf_tcp_ca_", "__bpf_tcp_ca_"];

export class KernelTypes {
  readonly btf: Btf;
  readonly #structs = new Map<number, KernelStructType>();
  readonly #members = new Map<string, KernelMember | null>();

  constructor(btf: Btf) {
    this.btf = btf;
  }

  /** `id` below typedefs, const, volatile, restrict and type tags. */
  strip(id: number): number {
    for (let depth = 0; depth < 64; depth++) {
      const t = this.btf.typeById(id);
      switch (t.kind) {
        case "typedef":
        case "const":
        case "volatile":
        case "restrict":
        case "type_tag":
          id = t.type;
          break;
        default:
          return id;
      }
    }
    return 0;
  }

  /** Whether the pointee of pointer `id` carries the type tag `user`. */
  #tagged(id: number, tag: string): boolean {
    for (let depth = 0; depth < 64; depth++) {
      const t = this.btf.typeById(id);
      if (t.kind === "type_tag" && t.name === tag) return true;
      if (
        t.kind === "typedef" ||
        t.kind === "const" ||
        t.kind === "volatile" ||
        t.kind === "restrict" ||
        t.kind === "type_tag"
      )
        id = t.type;
      else return false;
    }
    return false;
  }

  /** The type of a value whose BTF type is `id`; pointers found in it are trusted as `trust` says. */
  typeOf(id: number, trust: Trust): Type {
    const at = this.strip(id);
    const t = this.btf.typeById(at);
    switch (t.kind) {
      case "int":
        if (t.bool) return BOOL;
        return t.size === 1 || t.size === 2 || t.size === 4 || t.size === 8
          ? intType((t.size * 8) as Width, t.signed)
          : { k: "array", element: intType(8, false), length: t.size };
      case "enum":
      case "enum64":
        return this.enumType(at);
      case "ptr":
        return this.#pointer(t.type, trust);
      case "array": {
        const element = this.typeOf(t.type, trust);
        if (element.k === "void") return VOID;
        const e = this.btf.typeById(this.strip(t.type));
        if (e.kind === "int" && e.size === 1 && this.#isChar(t.type)) return { k: "char", length: t.nelems };
        return { k: "array", element, length: t.nelems };
      }
      case "struct":
      case "union":
        return this.structType(at);
      case "fwd":
        return { k: "kstruct", id: at, name: t.name, size: 0 };
      default:
        return VOID;
    }
  }

  #isChar(id: number): boolean {
    for (let depth = 0; depth < 64; depth++) {
      const t = this.btf.typeById(id);
      if (t.kind === "int") return t.name === "char" || t.char;
      if (t.kind === "typedef" || t.kind === "const" || t.kind === "volatile") id = t.type;
      else return false;
    }
    return false;
  }

  #pointer(to: number, trust: Trust): PointerType {
    const user = this.#tagged(to, "user");
    const at = this.strip(to);
    const t = this.btf.typeById(at);
    const space = user ? "user" : "kernel";
    if (t.kind === "struct" || t.kind === "union" || t.kind === "fwd") {
      let target: Type = { k: "kstruct", id: at, name: t.name, size: 0 };
      if (t.kind === "fwd") {
        const real = this.btf.findId(t.name, t.of);
        if (real !== 0) target = this.structType(real);
      } else {
        target = this.structType(at);
      }
      return { k: "ptr", to: target, space, trust: user ? "probe" : trust };
    }
    if (t.kind === "int" && t.size === 1) return { k: "ptr", to: { k: "char", length: 0 }, space, trust: "probe" };
    if (t.kind === "int" || t.kind === "ptr" || t.kind === "enum")
      return { k: "ptr", to: this.typeOf(at, "probe"), space, trust: "probe" };
    return { k: "ptr", to: undefined, space, trust: "probe" };
  }

  structType(id: number): KernelStructType {
    let s = this.#structs.get(id);
    if (s === undefined) {
      const t = this.btf.typeById(id);
      s = { k: "kstruct", id, name: t.name, size: t.kind === "struct" || t.kind === "union" ? t.size : 0 };
      this.#structs.set(id, s);
    }
    return s;
  }

  enumType(id: number): EnumType {
    const t = this.btf.typeById(id);
    if (t.kind !== "enum" && t.kind !== "enum64")
      return { k: "enum", name: "", bits: 32, sign: UNSIGNED, values: new Map() };
    return {
      k: "enum",
      name: t.name,
      bits: (t.size * 8) as Width,
      sign: t.signed ? SIGNED : UNSIGNED,
      values: new Map(t.values.map((v) => [v.name, v.value])),
    };
  }

  /** A struct or union by its C name, or a typedef of one. */
  findStruct(name: string): KernelStructType | undefined {
    const id = this.btf.findId(name, "struct") || this.btf.findId(name, "union");
    if (id !== 0) return this.structType(id);
    const alias = this.btf.findId(name, "typedef");
    if (alias === 0) return undefined;
    const at = this.strip(alias);
    const t = this.btf.typeById(at);
    return t.kind === "struct" || t.kind === "union" ? this.structType(at) : undefined;
  }

  /** The member `name` of struct or union `id`, also inside its anonymous members. */
  member(id: number, name: string): KernelMember | undefined {
    const key = `${id}.${name}`;
    let m = this.#members.get(key);
    if (m === undefined) {
      m = this.#find(id, name, 0) ?? null;
      this.#members.set(key, m);
    }
    return m ?? undefined;
  }

  #find(id: number, name: string, depth: number): KernelMember | undefined {
    const t = this.btf.typeById(id);
    if ((t.kind !== "struct" && t.kind !== "union") || depth > 16) return undefined;
    const { members } = t;
    for (let i = 0; i < members.length; i++) {
      const m = members[i]!;
      if (m.name === name) {
        return {
          path: [{ owner: id, index: i }],
          off: m.bitOffset >>> 3,
          type: m.type,
          bitOffset: m.bitOffset,
          bitSize: m.bitSize,
        };
      }
    }
    for (let i = 0; i < members.length; i++) {
      const m = members[i]!;
      if (m.name !== "") continue;
      const inner = this.strip(m.type);
      const found = this.#find(inner, name, depth + 1);
      if (found !== undefined) {
        return {
          path: [{ owner: id, index: i }, ...found.path],
          off: (m.bitOffset >>> 3) + found.off,
          type: found.type,
          bitOffset: m.bitOffset + found.bitOffset,
          bitSize: found.bitSize,
        };
      }
    }
    return undefined;
  }

  /** Names of the members of a struct, those of anonymous members included. */
  memberNames(id: number): string[] {
    const t = this.btf.typeById(id);
    if (t.kind !== "struct" && t.kind !== "union") return [];
    return t.members.flatMap((m) => (m.name === "" ? this.memberNames(this.strip(m.type)) : [m.name]));
  }

  /**
   * Arguments of raw tracepoint `name`, with the names that `__traceiter_*` knows.
   * Undefined when this kernel has no such tracepoint.
   */
  tracepointArgs(name: string): KernelArg[] | undefined {
    const iter = this.functionArgs(`__traceiter_${name}`);
    if (iter !== undefined) return iter.slice(1);
    const typedef = this.btf.findByName(`btf_trace_${name}`, "typedef");
    if (typedef === undefined) return undefined;
    const ptr = this.btf.typeById(this.strip(typedef.id));
    if (ptr.kind !== "ptr") return undefined;
    const proto = this.btf.typeById(ptr.type);
    if (proto.kind !== "func_proto") return undefined;
    return proto.params.slice(1).map((p, i) => ({ name: p.name === "" ? `arg${i}` : p.name, type: p.type }));
  }

  /** Arguments of kernel function `name`; undefined when BTF does not have it. */
  functionArgs(name: string): KernelArg[] | undefined {
    const proto = this.prototype(name);
    return proto?.params.map((p, i) => ({ name: p.name === "" ? `arg${i}` : p.name, type: p.type }));
  }

  /** The arguments of a function member of a struct; undefined when there is none of that name. */
  memberArgs(struct: string, member: string): KernelArg[] | undefined {
    const id = this.btf.findId(struct, "struct");
    const m = id === 0 ? undefined : this.member(id, member);
    const pointer = m === undefined ? undefined : this.btf.typeById(this.strip(m.type));
    const proto = pointer?.kind === "ptr" ? this.btf.typeById(this.strip(pointer.type)) : undefined;
    if (proto?.kind !== "func_proto") return undefined;
    // Pointers to functions name no arguments; the stubs that stand for them do.
    const names = STUBS.map((stub) => this.prototype(stub.replace("$", struct) + member)?.params).find(
      (params) =>
        params !== undefined &&
        params.length === proto.params.length &&
        params.every((p, i) => p.type === proto.params[i]?.type),
    );
    return proto.params.map((p, i) => {
      const name = p.name === "" ? (names?.[i]?.name.replace(/__nullable$/, "") ?? "") : p.name;
      return { name: name === "" ? `arg${i}` : name, type: p.type };
    });
  }

  /** Whether the kernel has helper `bpf_NAME`. The enumeration is among the first types; the functions are at the end (3 ms, cold). */
  hasHelper(name: HelperName): boolean {
    const { btf } = this;
    const ids = btf.findId("bpf_func_id", "enum");
    if (ids === 0) return this.prototype(`bpf_${name}`) !== undefined;
    const value = `BPF_FUNC_${name}`;
    // A whole list is in order from 0; decoding its 213 names takes 0.7 ms, cold.
    if (btf.enumeratorName(ids, BPF_FUNC[name]) === value) return true;
    const list = btf.typeById(ids);
    return list.kind === "enum" && list.values.some((v) => v.name === value);
  }

  /** Prototype of kernel function `name`. */
  prototype(
    name: string,
  ):
    | { readonly params: readonly { readonly name: string; readonly type: number }[]; readonly type: number }
    | undefined {
    const func = this.btf.findByName(name, "func");
    if (func === undefined) return undefined;
    const proto = this.btf.typeById(func.type);
    return proto.kind === "func_proto" ? proto : undefined;
  }
}
