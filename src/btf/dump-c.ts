/** BTF as a C header: what `#include "vmlinux.h"` needs. */
import { DecodeError } from "../core/errors.ts";
import type { Btf } from "./btf.ts";
import { CNames } from "./dump-names.ts";
import { BTF_KIND, MAX_CHAIN } from "./kinds.ts";
import { AlignCache, sizeOf } from "./layout.ts";
import { TextSink } from "./text-sink.ts";
import type { BtfEnum, BtfEnum64, BtfMember, BtfStruct } from "./types.ts";

export interface DumpCOptions {
  /** Only these types, with what they need; all when not given. Names that do not exist are ignored. */
  readonly only?: readonly string[];
  /** Name of the include guard; `__VMLINUX_H__` when not given, none when "". */
  readonly guard?: string;
  /** Mark every struct for CO-RE (`preserve_access_index`); true when not given. */
  readonly preserveAccessIndex?: boolean;
}

/** A declarator around a name: `lead`, which ends so that the name can follow, the name, `suffix`. */
interface Declarator {
  readonly lead: string;
  readonly suffix: string;
}

/** Integer and float types that C has under their BTF name. */
const C_SCALARS = new Set([
  "char",
  "signed char",
  "unsigned char",
  "short",
  "short int",
  "unsigned short",
  "short unsigned int",
  "unsigned short int",
  "int",
  "unsigned int",
  "unsigned",
  "long",
  "long int",
  "unsigned long",
  "long unsigned int",
  "unsigned long int",
  "long long",
  "long long int",
  "unsigned long long",
  "long long unsigned int",
  "unsigned long long int",
  "__int128",
  "__int128 unsigned",
  "unsigned __int128",
  "_Bool",
  "float",
  "double",
  "long double",
]);

const K = BTF_KIND;

/** Gaps above this are an array with a name, not lines of unnamed bit-fields. */
const MAX_PADDING_BITS = 1 << 16;

/** What has been printed for a type: nothing yet (0), being printed, what a pointer to it needs, what a value of it needs. */
const DEFINING = 1;
const DONE = 2;
const DONE_COMPLETE = 3;

/** Anonymous types and prototypes inside each other, and the text of one declarator, before a BTF is taken for hostile. */
const MAX_NESTING = 200;
const MAX_DECLARATOR = 1 << 16;

const VA_LIST = "__builtin_va_list";

/**
 * Prints a BTF as a C header that compiles: types in order of dependence, forward
 * declarations, padding, bit-fields, `packed`, enums of 1 to 8 bytes. The second type of
 * a name gets a flavour suffix (`foo___2`).
 * @throws DecodeError when a type is malformed or contains itself.
 *
 * @example
 * const header = dumpC(Btf.parse(bytes), { only: ["task_struct"] });
 */
export function dumpC(btf: Btf, options: DumpCOptions = {}): string {
  return new CDump(btf).dump(options);
}

class CDump {
  readonly #btf: Btf;
  readonly #names: CNames;
  readonly #align: AlignCache;
  readonly #out = new TextSink();
  /** By id: 0, `DEFINING`, `DONE` or `DONE_COMPLETE`. */
  readonly #state: Uint8Array;
  /** Tags that a forward declaration or definition has named. */
  readonly #declared = new Set<string>();
  readonly #declarators = new Map<number, Declarator>();
  readonly #sizes: Float64Array;
  #depth = 0;
  #nesting = 0;
  /** Lines of members that may still be printed: anonymous types that share each other can expand without end. */
  #lines: number;

  constructor(btf: Btf) {
    this.#btf = btf;
    this.#names = new CNames(btf);
    this.#align = new AlignCache(btf);
    this.#state = new Uint8Array(btf.typeCount);
    this.#sizes = new Float64Array(btf.typeCount).fill(-1);
    this.#lines = 4 * btf.words.length + 4 * (btf.base?.words.length ?? 0) + 10_000;
  }

  dump(options: DumpCOptions): string {
    const guard = options.guard ?? "__VMLINUX_H__";
    const preserve = options.preserveAccessIndex ?? true;
    if (guard !== "") this.#out.add(`#ifndef ${guard}\n#define ${guard}\n\n`);
    if (preserve) {
      this.#out.add(
        "#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)\n#endif\n\n",
      );
    }
    const btf = this.#btf;
    if (options.only === undefined) {
      for (let id = 1; id < btf.typeCount; id++) this.#define(id);
    } else {
      for (const name of options.only) for (const id of btf.findIds(name)) this.#define(id);
    }
    if (preserve) this.#out.add("#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute pop\n#endif\n");
    if (guard !== "") this.#out.add(`\n#endif /* ${guard} */\n`);
    return this.#out.text();
  }

  /** Prints the definition of a named type, after what it needs. */
  #define(id: number): void {
    switch (this.#btf.kindOf(id)) {
      case K.STRUCT:
      case K.UNION:
        if (this.#btf.nameOf(id) !== "") this.#need(id, true);
        return;
      case K.ENUM:
      case K.ENUM64:
        // An anonymous enum that nothing refers to still brings constants.
        if (this.#state[id] === 0) this.#defineEnum(id);
        return;
      case K.TYPEDEF:
      case K.FWD:
        this.#need(id, true);
        return;
    }
  }

  /** Prints what must come before a declaration that uses type `id`, by value (`complete`) or behind a pointer. */
  #need(id: number, complete: boolean): void {
    const state = this.#state[id]!;
    if (id === 0 || state === DONE_COMPLETE || (state === DONE && !complete)) return;
    const btf = this.#btf;
    if (++this.#depth > 4 * MAX_CHAIN) {
      throw this.#endless(id);
    }
    switch (btf.kindOf(id)) {
      case K.INT:
      case K.FLOAT:
        if (this.#state[id] === 0) this.#defineScalar(id);
        break;
      case K.PTR:
        this.#state[id] = DONE_COMPLETE;
        this.#need(this.#target(id), false);
        break;
      case K.VOLATILE:
      case K.CONST:
      case K.RESTRICT:
      case K.TYPE_TAG:
        this.#state[id] = complete ? DONE_COMPLETE : DONE;
        this.#need(this.#target(id), complete);
        break;
      case K.ARRAY: {
        this.#state[id] = DONE_COMPLETE;
        const type = btf.decode(id);
        if (type.kind === "array") this.#need(type.type, true);
        break;
      }
      case K.STRUCT:
      case K.UNION:
        this.#needStruct(id, complete);
        break;
      case K.ENUM:
      case K.ENUM64:
        if (this.#state[id] === 0 && btf.nameOf(id) !== "") this.#defineEnum(id);
        break;
      case K.FWD:
        this.#declare(id);
        break;
      case K.TYPEDEF:
        if (state === 0) this.#defineTypedef(id);
        if (!complete) break;
        this.#state[id] = DONE_COMPLETE;
        this.#need(this.#target(id), true);
        break;
      case K.FUNC_PROTO: {
        const type = btf.decode(id);
        if (type.kind !== "func_proto") break;
        this.#state[id] = DONE_COMPLETE;
        this.#need(type.type, false);
        for (const param of type.params) this.#need(param.type, false);
        break;
      }
    }
    this.#depth--;
  }

  #target(id: number): number {
    const owner = this.#btf.owner(id);
    return owner.words[owner.wordOf(id) + 2]!;
  }

  /** `struct foo;`, unless the tag has been named before. */
  #declare(id: number): void {
    const tag = `${this.#names.tag(id)} ${this.#names.of(id)}`;
    if (this.#declared.has(tag)) return;
    this.#declared.add(tag);
    this.#out.add(`${tag};\n\n`);
  }

  #needStruct(id: number, complete: boolean): void {
    const named = this.#btf.nameOf(id) !== "";
    if (named && !complete) {
      this.#declare(id);
      return;
    }
    const state = this.#state[id];
    const struct = this.#btf.decode(id);
    if (struct.kind !== "struct" && struct.kind !== "union") return;
    if (state === DEFINING) {
      throw new DecodeError(this.#btf.what, `${this.#btf.describe(id)} contains itself`, {
        path: ["types", `[${id}]`],
      });
    }
    this.#state[id] = DEFINING;
    for (const member of struct.members) this.#need(member.type, true);
    this.#state[id] = DONE_COMPLETE;
    if (!named) return;
    this.#declared.add(`${struct.kind} ${this.#names.of(id)}`);
    this.#out.add(`${this.#structBody(struct, this.#names.of(id), "")};\n\n`);
  }

  #defineScalar(id: number): void {
    this.#state[id] = DONE;
    const type = this.#btf.decode(id);
    if ((type.kind !== "int" && type.kind !== "float") || C_SCALARS.has(type.name)) return;
    if (type.kind === "float") {
      if (type.size === 4 || type.size === 8)
        this.#out.add(`typedef ${type.size === 4 ? "float" : "double"} ${type.name};\n\n`);
      return;
    }
    // Compilers' own types, such as `__Poly8_t`, have no other definition.
    const plain = { 1: "char", 2: "short", 4: "int", 8: "long long", 16: "__int128" }[type.size]!;
    if (!/^\w+$/.test(type.name)) return;
    this.#out.add(`typedef ${type.signed ? "signed" : "unsigned"} ${plain} ${type.name};\n\n`);
  }

  #defineTypedef(id: number): void {
    this.#state[id] = DONE;
    const target = this.#target(id);
    const name = this.#names.of(id);
    // The compiler's own, which cannot be declared again: what it stands for is printed in its place.
    this.#need(target, this.#isAnonymous(target) || name === VA_LIST);
    if (name === VA_LIST) return;
    const { lead, suffix } = this.#declarator(target, "");
    this.#out.add(`typedef ${lead}${name}${suffix};\n\n`);
  }

  #isAnonymous(id: number): boolean {
    const kind = this.#btf.kindOf(id);
    return (kind === K.STRUCT || kind === K.UNION) && this.#btf.nameOf(id) === "";
  }

  #defineEnum(id: number): void {
    this.#state[id] = DONE;
    const type = this.#btf.decode(id);
    if (type.kind !== "enum" && type.kind !== "enum64") return;
    if (type.name !== "") this.#declared.add(`enum ${this.#names.of(id)}`);
    this.#out.add(`${this.#enumBody(type, "")};\n\n`);
  }

  #enumBody(type: BtfEnum | BtfEnum64, indent: string): string {
    const name = type.name === "" ? "" : ` ${this.#names.of(type.id)}`;
    // C cannot declare an enum without its values.
    if (type.values.length === 0) return `enum${name} { __bpfkit_empty_enum_${type.id} }${enumMode(type, true)}`;
    let text = `enum${name} {\n`;
    for (const value of type.values) {
      const suffix = type.kind === "enum" ? "" : type.signed ? "LL" : "ULL";
      text += `${indent}\t${this.#names.enumerator(value.name)} = ${enumLiteral(value.value)}${suffix},\n`;
    }
    return `${text}${indent}}${enumMode(type, false)}`;
  }

  #structBody(struct: BtfStruct, name: string, indent: string): string {
    const packed = this.#align.packed(struct);
    const inner = `${indent}\t`;
    const isStruct = struct.kind === "struct";
    let text = `${struct.kind}${name === "" ? "" : ` ${name}`} {\n`;
    let at = 0;
    let widest = 0;
    let align = 1;
    this.#lines -= struct.members.length;
    if (this.#lines < 0) throw this.#endless(struct.id);
    for (const member of struct.members) {
      const need = packed ? 1 : this.#align.of(member.type);
      if (need > align) align = need;
      const size = member.bitSize === 0 ? this.#sizeOf(member.type) * 8 : member.bitSize;
      if (isStruct) {
        if (this.#placed(at, member, need, packed) !== member.bitOffset) text += padding(at, member.bitOffset, inner);
        at = member.bitOffset + size;
      } else if (size > widest) widest = size;
      const { lead, suffix } = this.#declarator(member.type, inner);
      text += inner + (member.name === "" ? lead.trimEnd() : lead + member.name) + suffix;
      text += member.bitSize === 0 ? ";\n" : `: ${member.bitSize};\n`;
    }
    const bits = struct.size * 8;
    if (isStruct) {
      if (roundUp(at, align * 8) !== bits) text += padding(at, bits, inner);
    } else if (roundUp(widest, align * 8) < bits) {
      text += `${inner}struct {\n${padding(0, bits, `${inner}\t`)}${inner}};\n`;
    }
    return `${text}${indent}}${packed ? " __attribute__((packed))" : ""}`;
  }

  /** Where C puts the next member when `at` bits are taken. */
  #placed(at: number, member: BtfMember, align: number, packed: boolean): number {
    if (member.bitSize === 0) return roundUp(at, packed ? 8 : align * 8);
    if (packed) return at;
    const unit = this.#sizeOf(member.type) * 8;
    return (at % unit) + member.bitSize > unit ? roundUp(at, unit) : at;
  }

  /** `prefix name suffix` of type `id`; anonymous structs and enums are printed in place, at `indent`. */
  #declarator(id: number, indent: string): Declarator {
    const known = this.#declarators.get(id);
    if (known !== undefined) return known;
    if (++this.#nesting > MAX_NESTING) throw this.#endless(id);
    const made = this.#makeDeclarator(id, indent);
    this.#nesting--;
    if (made.suffix.length > MAX_DECLARATOR) throw this.#endless(id);
    // What contains an anonymous body depends on its indentation (and an enum's constants exist only once).
    if (!made.lead.includes("\n")) this.#declarators.set(id, made);
    return made;
  }

  #endless(id: number): DecodeError {
    return new DecodeError(this.#btf.what, "types nest too deep, contain themselves or expand without end", {
      path: ["types", `[${id}]`],
    });
  }

  #makeDeclarator(id: number, indent: string): Declarator {
    if (id === 0) return { lead: "void ", suffix: "" };
    const type = this.#btf.decode(id);
    switch (type.kind) {
      case "int":
      case "float":
        return { lead: `${type.name} `, suffix: "" };
      case "struct":
      case "union":
        return {
          lead: type.name === "" ? `${this.#structBody(type, "", indent)} ` : `${type.kind} ${this.#names.of(id)} `,
          suffix: "",
        };
      case "enum":
      case "enum64":
        if (type.name !== "") return { lead: `enum ${this.#names.of(id)} `, suffix: "" };
        // The second use of one anonymous enum cannot repeat its constants.
        if (this.#state[id] !== 0) return { lead: `${enumInteger(type)} `, suffix: "" };
        this.#state[id] = DONE;
        return { lead: `${this.#enumBody(type, indent)} `, suffix: "" };
      case "fwd":
        return { lead: `${this.#names.tag(id)} ${this.#names.of(id)} `, suffix: "" };
      case "typedef":
        return type.name === VA_LIST
          ? this.#declarator(type.type, indent)
          : { lead: `${this.#names.of(id)} `, suffix: "" };
      case "ptr": {
        const { lead, suffix } = this.#declarator(type.type, indent);
        return suffix === "" ? { lead: `${lead}*`, suffix } : { lead: `${lead}(*`, suffix: `)${suffix}` };
      }
      case "array": {
        const { lead, suffix } = this.#declarator(type.type, indent);
        return { lead, suffix: `[${type.nelems}]${suffix}` };
      }
      case "func_proto": {
        const { lead, suffix } = this.#declarator(type.type, indent);
        const params = type.params.map((param, i) => {
          if (param.type === 0 && i === type.params.length - 1) return "...";
          const d = this.#declarator(param.type, indent);
          return (param.name === "" ? d.lead.trimEnd() : d.lead + param.name) + d.suffix;
        });
        return { lead, suffix: `(${params.length === 0 ? "void" : params.join(", ")})${suffix}` };
      }
      case "const":
      case "volatile":
      case "restrict":
        return this.#qualify(type.type, type.kind, indent);
      case "type_tag": {
        const tag = type.attribute ? type.name : `btf_type_tag("${type.name}")`;
        return this.#qualify(type.type, `__attribute__((${tag}))`, indent);
      }
      default:
        throw new DecodeError(this.#btf.what, `${this.#btf.describe(id)} cannot be the type of a value`, {
          path: ["types", `[${id}]`],
        });
    }
  }

  #qualify(id: number, qualifier: string, indent: string): Declarator {
    const { lead, suffix } = this.#declarator(id, indent);
    if (lead.endsWith("*")) return { lead: `${lead} ${qualifier} `, suffix };
    // A qualifier of a function type says nothing, a second one neither.
    if (suffix.startsWith("(") || lead.split(" ").includes(qualifier)) return { lead, suffix };
    return { lead: qualifier.startsWith("__") ? `${lead}${qualifier} ` : `${qualifier} ${lead}`, suffix };
  }

  #sizeOf(id: number): number {
    let size = this.#sizes[id]!;
    if (size < 0) this.#sizes[id] = size = sizeOf(this.#btf, id);
    return size;
  }
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}

/** Unnamed bit-fields from bit `from` to bit `to`: they move what follows and name nothing. */
function padding(from: number, to: number, indent: string): string {
  let text = "";
  if (to - from > MAX_PADDING_BITS) {
    const start = roundUp(from, 8);
    if (start > from) text += `${indent}char: ${start - from};\n`;
    return `${text}${indent}char __padding_at_${start / 8}[${Math.floor((to - start) / 8)}];\n`;
  }
  for (let at = from; at < to;) {
    const width = Math.min(to - at, 64 - (at % 64));
    text += `${indent}long: ${width};\n`;
    at += width;
  }
  return text;
}

function enumLiteral(value: number | bigint): string {
  // The literal itself would not fit its type.
  if (value === -(1n << 63n)) return "-9223372036854775807LL - 1";
  return String(value);
}

function enumInteger(type: BtfEnum | BtfEnum64): string {
  const plain = { 1: "char", 2: "short", 4: "int", 8: "long long" }[type.size] ?? "int";
  return `${type.signed ? "signed" : "unsigned"} ${plain}`;
}

/** What makes C give an enum this size. */
function enumMode(type: BtfEnum | BtfEnum64, empty: boolean): string {
  if (type.size === 1) return " __attribute__((mode(byte)))";
  if (type.size === 2) return " __attribute__((mode(HI)))";
  if (type.size === 4 && (type.kind === "enum" || empty)) return "";
  return type.size === 8 ? " __attribute__((mode(word)))" : " __attribute__((mode(SI)))";
}
