/** BTF as TypeScript: the `vmlinux.d.ts` that tells an editor what the running kernel has. */
import { ArgumentError, DecodeError } from "../core/errors.ts";
import type { Btf } from "./btf.ts";
import { CNames } from "./dump-names.ts";
import { BTF_KIND } from "./kinds.ts";
import { resolve, resolveId } from "./layout.ts";
import { RENAMED_FIELDS } from "./renamed-fields.ts";
import { TextSink } from "./text-sink.ts";
import { tracepointFieldType, type TracepointField } from "./tracepoint-field.ts";
import type { BtfFuncProto, BtfStruct } from "./types.ts";

export interface DumpTsOptions {
  /** Fields of each tracepoint by "category:name", as tracefs' `format` files list them. */
  readonly tracepoints?: Readonly<Record<string, readonly TracepointField[]>>;
  /** Kernel functions whose arguments are to be typed (for kprobe and fentry); none when not given. */
  readonly functions?: readonly string[];
  /**
   * Only these structs and unions, with those they contain; a pointer to another one is typed loosely, and
   * tracepoints, functions and hooks are left out.
   */
  readonly only?: readonly string[];
  /** The module whose interfaces are filled in; "bpfkit" when not given. */
  readonly module?: string;
}

/** Names that an interface cannot have, or that this file uses itself. */
const RESERVED = new Set(
  (
    "any unknown never void undefined null number string boolean symbol object bigint true false " +
    "break case catch class const continue debugger default delete do else enum export extends finally for function if import in " +
    "instanceof new return super switch this throw try typeof var while with implements interface let package private protected " +
    "public static yield await async type of Pointer CString " +
    "AllKernelStructs AllTracepoints AllTpBtf AllKernelFunctions AllLsmHooks AllIterTargets AllKfuncs"
  ).split(" "),
);

/** Anonymous types inside each other further than this are given as `Pointer`. */
const MAX_NESTING = 16;

const K = BTF_KIND;

/**
 * Prints the types of a kernel as a module augmentation: an interface per struct and
 * union, the arguments of BTF tracepoints, LSM hooks, iterators and kfuncs, and those of
 * the tracepoints given. Integers are `number`, `char[n]` is `string`, a pointer to a
 * struct is that struct's interface.
 * @throws DecodeError when a type is malformed.
 *
 * @example
 * const text = dumpTs(Btf.parse(bytes), { tracepoints: { "sched:sched_process_exit": [{ name: "pid", type: "pid_t", size: 4, signed: true }] } });
 */
export function dumpTs(btf: Btf, options: DumpTsOptions = {}): string {
  return new TsDump(btf).dump(options);
}

class TsDump {
  readonly #btf: Btf;
  readonly #names: CNames;
  readonly #out = new TextSink();
  /** Interface name by struct id. */
  readonly #interfaces = new Map<number, string>();
  readonly #taken = new Set(RESERVED);
  /** Lines of members that may still be printed: anonymous types that share each other can expand without end. */
  #lines: number;
  #partial = false;

  constructor(btf: Btf) {
    this.#btf = btf;
    this.#names = new CNames(btf);
    this.#lines = 4 * btf.words.length + 4 * (btf.base?.words.length ?? 0) + 10_000;
  }

  dump(options: DumpTsOptions): string {
    const module = options.module ?? "bpfkit";
    const wanted = options.only === undefined ? undefined : this.#closure(options.only);
    this.#partial = wanted !== undefined;
    const tags = this.#nameInterfaces(wanted);
    this.#out.add(
      `// Types of this kernel, written by \`bpfkit types\` from its BTF. Do not edit.\nimport type { CString, ${this.#partial ? "Loose, " : ""}Pointer } from "${module}";\n\n`,
    );
    for (const [id, name] of this.#interfaces) {
      const struct = this.#btf.decode(id);
      if (struct.kind !== "struct" && struct.kind !== "union") continue;
      this.#out.add(`export interface ${name} {\n${this.#members(struct, "  ", 0)}${this.#renamed(struct)}}\n`);
    }
    this.#out.add("\n");
    this.#group(
      "AllKernelStructs",
      tags.map(([tag, name]) => `${property(tag)}: ${name};`),
    );
    const groups = ["KernelStructs"];
    if (!this.#partial) {
      this.#group("AllTracepoints", this.#tracepoints(options.tracepoints ?? {}));
      this.#functionGroups(options.functions ?? []);
      groups.push("Tracepoints", "TpBtf", "KernelFunctions", "LsmHooks", "IterTargets", "Kfuncs");
    }
    this.#out.add(`declare module "${module}" {\n`);
    for (const name of groups) {
      this.#out.add(`  interface ${name} extends All${name} {}\n`);
    }
    this.#out.add("}\n");
    return this.#out.text();
  }

  #group(name: string, lines: readonly string[]): void {
    this.#out.add(`export interface ${name} {\n`);
    for (const line of lines) this.#out.add(`  ${line}\n`);
    this.#out.add("}\n\n");
  }

  /** Gives named structs and unions, and typedefs of anonymous ones, an interface name; returns [C tag, interface]. */
  #nameInterfaces(wanted: ReadonlySet<number> | undefined): [string, string][] {
    const btf = this.#btf;
    const tags: [string, string][] = [];
    const typedefs: [number, number][] = [];
    for (let id = 1; id < btf.typeCount; id++) {
      const kind = btf.kindOf(id);
      if (kind === K.STRUCT || kind === K.UNION) {
        if (btf.nameOf(id) === "" || wanted?.has(id) === false) continue;
        const tag = this.#names.of(id);
        const name = this.#claim(tag);
        this.#interfaces.set(id, name);
        tags.push([tag, name]);
      } else if (kind === K.TYPEDEF) {
        const target = resolveId(btf, id);
        const targetKind = btf.kindOf(target);
        const anonymous = (targetKind === K.STRUCT || targetKind === K.UNION) && btf.nameOf(target) === "";
        if (anonymous && wanted?.has(target) !== false) typedefs.push([id, target]);
      }
    }
    for (const [id, target] of typedefs) {
      if (!this.#interfaces.has(target)) this.#interfaces.set(target, this.#claim(this.#names.of(id)));
    }
    return tags;
  }

  /** Ids of the structs and unions of these names, and of those inside them. */
  #closure(names: readonly string[]): Set<number> {
    const btf = this.#btf;
    const found = new Set<number>();
    const add = (id: number): void => {
      const type = resolve(btf, id);
      if (type.kind === "array") return add(type.type);
      if ((type.kind !== "struct" && type.kind !== "union") || found.has(type.id)) return;
      found.add(type.id);
      for (const member of type.members) add(member.type);
    };
    for (const name of names) {
      const ids = btf.findIds(name.replace(/^(?:struct|union) /, ""));
      const before = found.size;
      for (const id of ids) add(id);
      if (found.size === before && !ids.some((id) => found.has(resolveId(btf, id))))
        throw new ArgumentError("only", `${btf.what} has no struct or union called ${JSON.stringify(name)}`);
    }
    return found;
  }

  /** Names that a field of this struct has in other kernels. */
  #renamed(struct: BtfStruct): string {
    let text = "";
    for (const [tag, names] of RENAMED_FIELDS) {
      if (tag !== struct.name) continue;
      const present = struct.members.find((m) => names.includes(m.name));
      if (present === undefined) continue;
      for (const name of names) {
        if (!struct.members.some((m) => m.name === name))
          text += `  /** In other kernels: \`x.${names.join(" ?? x.")}\`. */\n  ${name}?: ${this.#type(present.type, "  ", 0)};\n`;
      }
    }
    return text;
  }

  #claim(name: string): string {
    let unique = /^[A-Za-z_$]/.test(name) ? name : `_${name}`;
    unique = unique.replaceAll(/[^\w$]/g, "_");
    while (this.#taken.has(unique)) unique += "_";
    this.#taken.add(unique);
    return unique;
  }

  #members(struct: BtfStruct, indent: string, depth: number): string {
    let text = "";
    this.#lines -= struct.members.length;
    if (this.#lines < 0) {
      throw new DecodeError(this.#btf.what, "anonymous types expand without end", {
        path: ["types", `[${struct.id}]`],
      });
    }
    for (const member of struct.members) {
      if (member.name !== "") {
        text += `${indent}${property(member.name)}: ${this.#type(member.type, indent, depth)};\n`;
        continue;
      }
      // C looks through anonymous members, and so does a field chain.
      const inner = resolve(this.#btf, member.type);
      if ((inner.kind === "struct" || inner.kind === "union") && depth < MAX_NESTING)
        text += this.#members(inner, indent, depth + 1);
    }
    return text;
  }

  #type(id: number, indent: string, depth: number): string {
    const type = this.#btf.decode(resolveId(this.#btf, id));
    switch (type.kind) {
      case "int":
        return type.bool ? "boolean" : "number";
      case "enum":
      case "enum64":
      case "float":
        return "number";
      case "struct":
      case "union":
        return this.#structType(type, indent, depth);
      case "array": {
        const element = resolve(this.#btf, type.type);
        if (element.kind === "int" && isChar(element)) return "string";
        return depth >= MAX_NESTING ? "Pointer" : arrayOf(this.#type(type.type, indent, depth + 1));
      }
      case "ptr":
        return this.#pointer(type.type, indent, depth);
      default:
        return "Pointer";
    }
  }

  #structType(struct: BtfStruct, indent: string, depth: number): string {
    const name = this.#interfaces.get(struct.id);
    if (name !== undefined) return name;
    if (this.#partial && struct.name !== "") return "Loose";
    if (depth >= MAX_NESTING) return "Pointer";
    return `{\n${this.#members(struct, `${indent}  `, depth + 1)}${indent}}`;
  }

  #pointer(id: number, indent: string, depth: number): string {
    const target = this.#btf.decode(resolveId(this.#btf, id));
    switch (target.kind) {
      case "struct":
      case "union":
        return this.#structType(target, indent, depth);
      case "int":
        return isChar(target) ? "CString" : `Pointer<${target.bool ? "boolean" : "number"}>`;
      case "enum":
      case "enum64":
      case "float":
        return "Pointer<number>";
      case "ptr":
        return depth >= MAX_NESTING ? "Pointer" : `Pointer<${this.#pointer(target.type, indent, depth + 1)}>`;
      default:
        return "Pointer";
    }
  }

  #tracepoints(events: NonNullable<DumpTsOptions["tracepoints"]>): string[] {
    const structs = (tag: string): string | undefined => {
      const id = this.#btf.findId(tag, "struct") || this.#btf.findId(tag, "union");
      return id === 0 ? undefined : this.#interfaces.get(id);
    };
    return Object.entries(events).map(([event, fields]) => {
      const seen = new Set<string>();
      const members: string[] = [];
      for (const field of fields) {
        if (seen.has(field.name)) continue;
        seen.add(field.name);
        members.push(`${property(field.name)}: ${tracepointFieldType(field, structs)}`);
      }
      return `${JSON.stringify(event)}: ${members.length === 0 ? "{}" : `{ ${members.join("; ")} }`};`;
    });
  }

  /** TpBtf, KernelFunctions, LsmHooks, IterTargets, Kfuncs: what the FUNCs and their tags tell. */
  #functionGroups(wanted: readonly string[]): void {
    const btf = this.#btf;
    const traceiter = new Map<string, number>();
    const traceTypedefs: [string, number][] = [];
    const lsm = new Map<string, number>();
    const kfuncs = new Set<number>();
    const byName = new Map<string, number>();
    const functions = new Set(wanted);
    const iterators: string[] = [];
    for (let id = 1; id < btf.typeCount; id++) {
      const kind = btf.kindOf(id);
      if (kind === K.FUNC) {
        const name = btf.nameOf(id);
        if (name.startsWith("__traceiter_")) traceiter.set(name.slice("__traceiter_".length), id);
        else if (name.startsWith("bpf_lsm_")) lsm.set(name.slice("bpf_lsm_".length), id);
        if (functions.has(name)) byName.set(name, id);
      } else if (kind === K.TYPEDEF) {
        const name = btf.nameOf(id);
        if (name.startsWith("btf_trace_")) traceTypedefs.push([name.slice("btf_trace_".length), id]);
      } else if (kind === K.DECL_TAG && btf.nameOf(id) === "bpf_kfunc") {
        const tag = btf.decode(id);
        if (tag.kind === "decl_tag" && btf.kindOf(tag.type) === K.FUNC) kfuncs.add(tag.type);
      } else if (kind === K.STRUCT) {
        const name = btf.nameOf(id);
        if (name.startsWith("bpf_iter__"))
          iterators.push(`${property(name.slice("bpf_iter__".length))}: ${this.#interfaces.get(id)};`);
      }
    }
    this.#group(
      "AllTpBtf",
      traceTypedefs.flatMap(([name, id]) => {
        // The prototype behind the typedef has no argument names; the iterator function has.
        const proto = this.#proto(traceiter.get(name) ?? id);
        return proto === undefined ? [] : [`${property(name)}: { ${this.#params(proto, 1).join("; ")} };`];
      }),
    );
    this.#group(
      "AllKernelFunctions",
      [...byName].flatMap(([name, id]) => {
        const proto = this.#proto(id);
        return proto === undefined
          ? []
          : [`${property(name)}: { args: { ${this.#params(proto, 0).join("; ")} }; ret: ${this.#result(proto)} };`];
      }),
    );
    const hooks = btf.findByName("security_list_options", "union");
    this.#group(
      "AllLsmHooks",
      (hooks?.members ?? []).flatMap(({ name }) => {
        const proto = this.#proto(lsm.get(name) ?? 0);
        return proto === undefined ? [] : [`${property(name)}: { ${this.#params(proto, 0).join("; ")} };`];
      }),
    );
    this.#group("AllIterTargets", iterators);
    const done = new Set<string>();
    this.#group(
      "AllKfuncs",
      [...kfuncs].flatMap((id) => {
        const name = btf.nameOf(id);
        const proto = this.#proto(id);
        if (proto === undefined || done.has(name)) return [];
        done.add(name);
        return [`${property(name)}(${this.#params(proto, 0, true).join(", ")}): ${this.#result(proto)};`];
      }),
    );
  }

  /** The prototype of a FUNC, or behind a typedef of a pointer to one. */
  #proto(id: number): BtfFuncProto | undefined {
    if (id === 0) return undefined;
    let type = resolve(this.#btf, id);
    if (type.kind === "ptr" || type.kind === "func") type = resolve(this.#btf, type.type);
    return type.kind === "func_proto" ? type : undefined;
  }

  #result(proto: BtfFuncProto): string {
    return proto.type === 0 ? "void" : this.#type(proto.type, "  ", 0);
  }

  /** `name: type` of the parameters from the `skip`th on. */
  #params(proto: BtfFuncProto, skip: number, positional = false): string[] {
    const used = new Set<string>();
    return proto.params.slice(skip).map((param, i) => {
      let name = param.name === "" ? `arg${i}` : param.name;
      if (param.type === 0 && positional) return `...rest: unknown[]`;
      // A reserved word can be a property, not a parameter.
      while (used.has(name) || (positional && RESERVED.has(name))) name += "_";
      used.add(name);
      return `${positional ? name : property(name)}: ${this.#type(param.type, "  ", 0)}`;
    });
  }
}

function isChar(type: { readonly name: string; readonly size: number; readonly char: boolean }): boolean {
  return type.size === 1 && (type.char || type.name === "char");
}

function arrayOf(element: string): string {
  return /[^\w<>[\]]/.test(element) ? `(${element})[]` : `${element}[]`;
}

function property(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
}
