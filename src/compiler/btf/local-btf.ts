/** The object's own BTF: the user's structs, minimal copies of kernel structs, functions and data sections. */
import type { Btf, BtfMember } from "../../btf/index.ts";
import { BtfBuilder } from "../../btf/index.ts";
import type { Endian } from "../../core/bytes.ts";
import type { Schema, StructSchema } from "../../probe/schema-types.ts";
import type { KernelMember, KernelTypes } from "../front/kernel.ts";
import type { LocalType, LocalTypes } from "../front/local-types.ts";
import type { Section } from "../front/sections.ts";

const INT_NAMES: Readonly<Record<string, string>> = {
  u8: "unsigned char",
  u16: "unsigned short",
  u32: "unsigned int",
  u64: "unsigned long long",
  s8: "signed char",
  s16: "short",
  s32: "int",
  s64: "long long",
};
const BE_NAMES: Readonly<Record<number, string>> = { 16: "__be16", 32: "__be32", 64: "__be64" };

export interface LocalBtfOptions {
  readonly endian: Endian;
  readonly kernel: KernelTypes | undefined;
  readonly locals: LocalTypes;
  /** Name of a struct schema that has none of its own. */
  readonly structName: (schema: StructSchema, hint: string) => string;
}

export class LocalBtf {
  readonly builder: BtfBuilder;
  readonly #options: LocalBtfOptions;
  readonly #ints = new Map<string, number>();
  readonly #schemas = new Map<object, number>();
  readonly #arrays = new Map<string, number>();
  readonly #kernel = new Map<number, number>();
  readonly #locals = new Map<LocalType, number>();
  readonly #pointers = new Map<number, number>();
  readonly #forwards = new Map<string, number>();
  readonly #kfuncs = new Map<string, number>();
  #ctxProto: number | undefined;

  constructor(options: LocalBtfOptions) {
    this.#options = options;
    this.builder = new BtfBuilder({ endian: options.endian });
  }

  #int(name: string, size: number, signed: boolean, kind: "char" | "bool" | "" = ""): number {
    let id = this.#ints.get(name);
    if (id === undefined) {
      id = this.builder.int(name, size, { signed, char: kind === "char", bool: kind === "bool" });
      this.#ints.set(name, id);
    }
    return id;
  }

  #array(element: number, length: number): number {
    const key = `${element}x${length}`;
    let id = this.#arrays.get(key);
    if (id === undefined) {
      const indexType = this.#int("__ARRAY_SIZE_TYPE__", 4, false);
      id = this.builder.add({ kind: "array", type: element, indexType, nelems: length });
      this.#arrays.set(key, id);
    }
    return id;
  }

  pointer(to: number): number {
    let id = this.#pointers.get(to);
    if (id === undefined) {
      id = this.builder.add({ kind: "ptr", type: to });
      this.#pointers.set(to, id);
    }
    return id;
  }

  /** Type id of a schema. `hint` names a struct that has no name. */
  schema(schema: Schema, hint: string): number {
    switch (schema.kind) {
      case "int": {
        if (!schema.bigEndian) return this.#int(INT_NAMES[schema.name] ?? schema.name, schema.size, schema.signed);
        const key = `typedef ${schema.bits}`;
        let id = this.#ints.get(key);
        if (id === undefined) {
          const base = this.#int(INT_NAMES[`u${schema.bits}`] ?? "unsigned int", schema.size, false);
          id = this.builder.add({ kind: "typedef", name: BE_NAMES[schema.bits] ?? "__be", type: base });
          this.#ints.set(key, id);
        }
        return id;
      }
      case "bool":
        return this.#int("_Bool", 1, false, "bool");
      case "char":
        return this.#array(this.#int("char", 1, true), schema.length);
      case "bytes":
        return this.#array(this.#int("unsigned char", 1, false), schema.length);
      case "array":
        return this.#array(this.schema(schema.element, `${hint}_item`), schema.length);
      case "enum": {
        let id = this.#schemas.get(schema);
        if (id === undefined) {
          const name = schema.name ?? "";
          const values = [...schema.values];
          id =
            schema.size === 8
              ? this.builder.add({
                  kind: "enum64",
                  name,
                  size: 8,
                  signed: schema.signed,
                  values: values.map(([n, v]) => ({ name: n, value: BigInt(v) })),
                })
              : this.builder.add({
                  kind: "enum",
                  name,
                  size: 4,
                  signed: schema.signed,
                  values: values.map(([n, value]) => ({ name: n, value })),
                });
          this.#schemas.set(schema, id);
        }
        return id;
      }
      default:
        return this.#struct(schema, hint);
    }
  }

  #struct(schema: StructSchema, hint: string): number {
    let id = this.#schemas.get(schema);
    if (id !== undefined) return id;
    id = this.builder.reserve();
    this.#schemas.set(schema, id);
    const name = this.#options.structName(schema, hint);
    const members: BtfMember[] = schema.fields.map((f) => ({
      name: f.name,
      type: this.schema(f.schema, `${name}_${f.name}`),
      bitOffset: f.offset * 8,
      bitSize: 0,
    }));
    this.builder.define(id, { kind: schema.kind, name, size: schema.size, members });
    return id;
  }

  /** A data section and its variables; the id of the DATASEC. */
  section(section: Section): { readonly id: number; readonly types: readonly number[] } {
    const types: number[] = [];
    const vars = section.variables.map((v) => {
      const type =
        v.schema === undefined ? this.#array(this.#int("char", 1, true), v.size) : this.schema(v.schema, v.name);
      types.push(type);
      const id = this.builder.add({ kind: "var", name: v.name, type, linkage: v.isStatic ? "static" : "global" });
      return { type: id, offset: v.off, size: v.size };
    });
    return { id: this.builder.add({ kind: "datasec", name: section.name, size: section.size, vars }), types };
  }

  /** The struct of a struct_ops map: the members that are given, where the kernel has them. */
  structOps(struct: string, size: number, members: readonly KernelMember[], names: readonly string[]): number {
    const btf = this.#options.kernel!.btf;
    const list = members
      .map((m, i) => {
        const t = btf.typeById(this.#options.kernel!.strip(m.type));
        const type =
          t.kind === "ptr"
            ? this.pointer(this.builder.add({ kind: "func_proto", type: 0, params: [] }))
            : this.#copy(btf, m.type);
        return { name: names[i]!, type, bitOffset: m.bitOffset, bitSize: 0 };
      })
      .sort((a, b) => a.bitOffset - b.bitOffset);
    return this.builder.add({ kind: "struct", name: struct, size, members: list });
  }

  /** The FUNC of a program that replaces a function: that function's prototype. */
  replacement(name: string, args: Readonly<Record<string, Schema | string>>, returns: Schema | undefined): number {
    const params = Object.entries(args).map(([param, arg]) => {
      if (typeof arg === "string")
        return {
          name: param,
          type: this.pointer(this.builder.add({ kind: "struct", name: arg, size: 0, members: [] })),
        };
      const type = this.schema(arg, param);
      return { name: param, type: arg.kind === "struct" || arg.kind === "union" ? this.pointer(type) : type };
    });
    const type = returns === undefined ? this.#int("int", 4, true) : this.schema(returns, `${name}_result`);
    const proto = this.builder.add({ kind: "func_proto", type, params });
    return this.builder.add({ kind: "func", name, type: proto, linkage: "global" });
  }

  /** The FUNC of a program: `int name(void *ctx)`. */
  program(name: string): number {
    this.#ctxProto ??= this.builder.add({
      kind: "func_proto",
      type: this.#int("int", 4, true),
      params: [{ name: "ctx", type: this.pointer(0) }],
    });
    return this.builder.add({ kind: "func", name, type: this.#ctxProto, linkage: "global" });
  }

  /** The FUNC of a subprogram or callback; every argument is a `u64`, but for `ctx`. */
  subprogram(name: string, params: readonly string[]): number {
    const u64 = this.#int("unsigned long long", 8, false);
    const type = this.builder.add({
      kind: "func_proto",
      type: u64,
      params: params.map((p) => ({ name: p, type: p === "ctx" ? this.pointer(0) : u64 })),
    });
    return this.builder.add({ kind: "func", name, type, linkage: "static" });
  }

  /** The extern FUNC of a kernel function; 0 when the kernel's BTF does not have it. */
  kfunc(name: string): number {
    const known = this.#kfuncs.get(name);
    if (known !== undefined) return known;
    const { kernel } = this.#options;
    const proto = kernel?.prototype(name);
    let id = 0;
    if (kernel !== undefined && proto !== undefined) {
      const params = proto.params.map((p) => ({ name: p.name, type: this.#copy(kernel.btf, p.type) }));
      const type = this.builder.add({ kind: "func_proto", type: this.#copy(kernel.btf, proto.type), params });
      id = this.builder.add({ kind: "func", name, type, linkage: "extern" });
    }
    this.#kfuncs.set(name, id);
    return id;
  }

  /** Id of the local copy of a kernel type. */
  local(type: LocalType): number {
    let id = this.#locals.get(type);
    if (id === undefined) {
      id = this.builder.reserve();
      this.#locals.set(type, id);
      this.#define(id, type);
    }
    return id;
  }

  #define(id: number, type: LocalType): void {
    const { kernel } = this.#options;
    const t = kernel === undefined || type.id === 0 ? undefined : kernel.btf.typeById(type.id);
    const { builder } = this;
    if (t?.kind === "enum") {
      const values = type.order().map((i) => t.values[i]!);
      return builder.define(id, { kind: "enum", name: type.name, size: t.size, signed: t.signed, values });
    }
    if (t?.kind === "enum64") {
      const values = type.order().map((i) => t.values[i]!);
      return builder.define(id, { kind: "enum64", name: type.name, size: t.size, signed: t.signed, values });
    }
    const kind = type.kind === "union" ? "union" : "struct";
    const struct = t?.kind === "struct" || t?.kind === "union" ? t : undefined;
    const members: BtfMember[] = type.order().map((i) => {
      const m = struct!.members[i]!;
      return { name: m.name, type: this.#copy(kernel!.btf, m.type), bitOffset: m.bitOffset, bitSize: m.bitSize };
    });
    const size = struct?.size ?? 0;
    // What this kernel's BTF lacks is looked for as an integer; it must lie inside the struct and behind the others.
    for (const a of type.absent) {
      members.push({
        name: a.name,
        type: this.#int("char", 1, true),
        bitOffset: kind === "union" ? 0 : Math.max(0, size * 8 - 8),
        bitSize: 0,
      });
    }
    builder.define(id, { kind, name: type.name, size, members });
  }

  /** A copy of a kernel type as far as relocation looks at it: qualifiers and typedefs go, pointees are only named. */
  #copy(btf: Btf, id: number): number {
    const known = this.#kernel.get(id);
    if (known !== undefined) return known;
    const { kernel, locals } = this.#options;
    const at = kernel!.strip(id);
    const t = btf.typeById(at);
    let copy: number;
    switch (t.kind) {
      case "int":
        copy = this.#int(t.name, t.size, t.signed, t.bool ? "bool" : t.char && !t.signed ? "char" : "");
        break;
      case "ptr":
        copy = this.pointer(this.#pointee(btf, t.type));
        break;
      case "array":
        copy = this.#array(this.#copy(btf, t.type), t.nelems);
        break;
      case "struct":
      case "union":
        copy = this.local(locals.get(at, t.name, t.kind));
        break;
      case "enum":
      case "enum64":
        copy = this.local(locals.get(at, t.name, "enum"));
        break;
      case "fwd":
        copy = this.#forward(t.name, t.of);
        break;
      default:
        copy = 0;
    }
    this.#kernel.set(id, copy);
    return copy;
  }

  #pointee(btf: Btf, id: number): number {
    const { kernel, locals } = this.#options;
    const at = kernel!.strip(id);
    const t = btf.typeById(at);
    if (t.kind === "struct" || t.kind === "union") {
      const used = locals.find(at);
      return used === undefined ? this.#forward(t.name, t.kind) : this.local(used);
    }
    if (t.kind === "fwd") return this.#forward(t.name, t.of);
    return t.kind === "int" ? this.#copy(btf, at) : 0;
  }

  #forward(name: string, of: "struct" | "union"): number {
    if (name === "") return 0;
    const key = `${of} ${name}`;
    let id = this.#forwards.get(key);
    if (id === undefined) {
      id = this.builder.add({ kind: "fwd", name, of });
      this.#forwards.set(key, id);
    }
    return id;
  }
}
