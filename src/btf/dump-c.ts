/** BTF as a C header: what `#include "vmlinux.h"` needs. */
import { DecodeError } from "../core/errors.ts";
import type { Btf } from "./btf.ts";
import { CNames } from "./dump-names.ts";
import { BTF_KIND, MAX_CHAIN } from "./kinds.ts";
import { AlignCache, sizeOf } from "./layout.ts";
import { TextSink } from "./text-sink.ts";
import type { BtfEnum, BtfEnum64 } from "./types.ts";

export interface DumpCOptions {
  /** Only these types, with what they need; all when not given. Names that do not exist are ignored. */
  readonly only?: readonly string[];
  /** Name of the include guard; `__VMLINUX_H__` when not given, none when "". */
  readonly guard?: string;
  /** Mark every struct for CO-RE (`preserve_access_index`); true when not given. */
  readonly preserveAccessIndex?: boolean;
}

/** A declarator around a name: `before`, an anonymous body or nothing, `lead` (the name can follow it), the name, `suffix`. */
interface Declarator {
  readonly before: string;
  /** The anonymous struct, union or enum to print in place; 0 for none. */
  readonly body: number;
  readonly lead: string;
  readonly suffix: string;
}

function declarator(lead: string, suffix: string, body = 0, before = ""): Declarator {
  return { before, body, lead, suffix };
}

const TAB = 9;
const SPACE = 32;

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
  #out: TextSink;
  /** By id: 0, `DEFINING`, `DONE` or `DONE_COMPLETE`. */
  readonly #state: Uint8Array;
  /** Tags that a forward declaration or definition has named. */
  readonly #declared = new Set<string>();
  readonly #declarators: (Declarator | undefined)[];
  readonly #sizes: Float64Array;
  #depth = 0;
  #nesting = 0;
  /** Lines of members that may still be printed: anonymous types that share each other can expand without end. */
  #lines: number;

  constructor(btf: Btf) {
    this.#btf = btf;
    this.#names = new CNames(btf);
    this.#out = new TextSink(btf.words.length * 4 + (1 << 12));
    this.#align = new AlignCache(btf);
    this.#declarators = Array.from({ length: btf.typeCount });
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
    if (this.#state[id] === DEFINING) {
      throw new DecodeError(this.#btf.what, `${this.#btf.describe(id)} contains itself`, {
        path: ["types", `[${id}]`],
      });
    }
    this.#state[id] = DEFINING;
    const owner = this.#btf.owner(id);
    const word = owner.wordOf(id);
    const vlen = owner.words[word + 1]! & 0xffff;
    for (let i = 0, at = word + 4; i < vlen; i++, at += 3) this.#need(owner.words[at]!, true);
    this.#state[id] = DONE_COMPLETE;
    if (!named) return;
    this.#declared.add(`${this.#names.tag(id)} ${this.#names.of(id)}`);
    this.#writeStruct(id, 0);
    this.#out.add(";\n\n");
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
    const d = this.#declarator(target);
    this.#out.add("typedef ");
    this.#writeBody(d, 0);
    this.#out.add(`${d.body === 0 ? "" : " "}${d.lead}${name}${d.suffix};\n\n`);
  }

  #isAnonymous(id: number): boolean {
    const kind = this.#btf.kindOf(id);
    return (kind === K.STRUCT || kind === K.UNION) && this.#btf.nameOf(id) === "";
  }

  #defineEnum(id: number): void {
    this.#state[id] = DONE;
    if (this.#btf.nameOf(id) !== "") this.#declared.add(`enum ${this.#names.of(id)}`);
    this.#writeEnum(id, 0);
    this.#out.add(";\n\n");
  }

  /** `enum name { … }`, the values one tab deeper than `depth`. */
  #writeEnum(id: number, depth: number): void {
    const out = this.#out;
    const owner = this.#btf.owner(id);
    const { words } = owner;
    const word = owner.wordOf(id);
    const wide = this.#btf.kindOf(id) === K.ENUM64;
    const signed = words[word + 1]! >>> 31 === 1;
    const vlen = words[word + 1]! & 0xffff;
    const name = this.#names.of(id);
    out.add(name === "" ? "enum" : `enum ${name}`);
    // C cannot declare an enum without its values.
    if (vlen === 0) {
      out.add(` { __bpfkit_empty_enum_${id} }${enumMode(words[word + 2]!, wide, true)}`);
      return;
    }
    out.add(" {\n");
    const step = wide ? 3 : 2;
    for (let i = 0, at = word + 3; i < vlen; i++, at += step) {
      out.byte(TAB, depth + 1);
      if (this.#names.firstEnumerator(owner, words[at]!)) this.#writeName(owner, id, words[at]!);
      else out.add(this.#names.enumerator(owner.stringAt(words[at]!)));
      out.add(" = ");
      if (wide) {
        const raw = (BigInt(words[at + 2]!) << 32n) | BigInt(words[at + 1]!);
        out.add(`${enumLiteral(signed ? BigInt.asIntN(64, raw) : raw)}${signed ? "LL" : "ULL"},\n`);
      } else {
        out.integer(signed ? words[at + 1]! | 0 : words[at + 1]!);
        out.add(",\n");
      }
    }
    out.byte(TAB, depth);
    out.add(`}${enumMode(words[word + 2]!, wide, false)}`);
  }

  /** A name as the string section has it. */
  #writeName(owner: Btf, id: number, offset: number): void {
    let btf = owner;
    while (offset < btf.strings.start && btf.base !== undefined) btf = btf.base;
    // Decoding says which name is outside.
    if (offset >= btf.strings.end) this.#btf.decode(id);
    else this.#out.cstring(btf.strings.bytes, offset - btf.strings.start);
  }

  /** The anonymous body of a declarator, if it has one. */
  #writeBody(d: Declarator, depth: number): void {
    if (d.body === 0) return;
    this.#out.add(d.before);
    const kind = this.#btf.kindOf(d.body);
    if (kind === K.STRUCT || kind === K.UNION) this.#writeStruct(d.body, depth);
    else if (this.#state[d.body] === 0) {
      this.#state[d.body] = DONE;
      this.#writeEnum(d.body, depth);
    } else {
      // The second use of one anonymous enum cannot repeat its constants.
      const type = this.#btf.decode(d.body);
      this.#out.add(type.kind === "enum" || type.kind === "enum64" ? enumInteger(type) : "int");
    }
  }

  /** `struct name { … }`, the members one tab deeper than `depth`. */
  #writeStruct(id: number, depth: number): void {
    const out = this.#out;
    const owner = this.#btf.owner(id);
    const { words } = owner;
    const word = owner.wordOf(id);
    const info = words[word + 1]!;
    const kflag = info >>> 31 === 1;
    const vlen = info & 0xffff;
    const isStruct = this.#btf.kindOf(id) === K.STRUCT;
    const packed = this.#align.packed(id);
    const name = this.#names.of(id);
    this.#lines -= vlen;
    if (this.#lines < 0 || ++this.#nesting > MAX_NESTING) throw this.#endless(id);
    out.add(isStruct ? "struct" : "union");
    if (name !== "") out.add(` ${name}`);
    out.add(" {\n");
    let at = 0;
    let widest = 0;
    let align = 1;
    for (let i = 0, m = word + 3; i < vlen; i++, m += 3) {
      const type = words[m + 1]!;
      const raw = words[m + 2]!;
      const bitSize = kflag ? raw >>> 24 : 0;
      const bitOffset = kflag ? raw & 0xff_ffff : raw;
      const need = packed ? 1 : this.#align.of(type);
      if (need > align) align = need;
      const size = bitSize === 0 ? this.#sizeOf(type) * 8 : bitSize;
      if (isStruct) {
        if (this.#placed(at, type, bitSize, need, packed) !== bitOffset)
          out.add(padding(at, bitOffset, "\t".repeat(depth + 1)));
        at = bitOffset + size;
      } else if (size > widest) widest = size;
      out.byte(TAB, depth + 1);
      const d = this.#declarator(type);
      this.#writeBody(d, depth + 1);
      if (words[m] === 0) out.add(d.body === 0 ? d.lead.trimEnd() : d.lead);
      else {
        if (d.body !== 0) out.byte(SPACE);
        out.add(d.lead);
        this.#writeName(owner, id, words[m]!);
      }
      out.add(d.suffix);
      if (bitSize !== 0) {
        out.add(": ");
        out.integer(bitSize);
      }
      out.add(";\n");
    }
    const bits = words[word + 2]! * 8;
    const indent = "\t".repeat(depth + 1);
    if (isStruct) {
      if (roundUp(at, align * 8) !== bits) out.add(padding(at, bits, indent));
    } else if (roundUp(widest, align * 8) < bits) {
      out.add(`${indent}struct {\n${padding(0, bits, `${indent}\t`)}${indent}};\n`);
    }
    out.byte(TAB, depth);
    out.add(packed ? "} __attribute__((packed))" : "}");
    this.#nesting--;
  }

  /** Where C puts the next member when `at` bits are taken. */
  #placed(at: number, type: number, bitSize: number, align: number, packed: boolean): number {
    if (bitSize === 0) return roundUp(at, packed ? 8 : align * 8);
    if (packed) return at;
    const unit = this.#sizeOf(type) * 8;
    return (at % unit) + bitSize > unit ? roundUp(at, unit) : at;
  }

  #declarator(id: number): Declarator {
    const known = this.#declarators[id];
    if (known !== undefined) return known;
    if (++this.#nesting > MAX_NESTING) throw this.#endless(id);
    const made = this.#makeDeclarator(id);
    this.#nesting--;
    if (made.suffix.length + made.lead.length > MAX_DECLARATOR) throw this.#endless(id);
    this.#declarators[id] = made;
    return made;
  }

  #endless(id: number): DecodeError {
    return new DecodeError(this.#btf.what, "types nest too deep, contain themselves or expand without end", {
      path: ["types", `[${id}]`],
    });
  }

  #makeDeclarator(id: number): Declarator {
    if (id === 0) return declarator("void ", "");
    const type = this.#btf.decode(id);
    switch (type.kind) {
      case "int":
      case "float":
        return declarator(`${type.name} `, "");
      case "struct":
      case "union":
        return type.name === "" ? declarator("", "", id) : declarator(`${type.kind} ${this.#names.of(id)} `, "");
      case "enum":
      case "enum64":
        return type.name === "" ? declarator("", "", id) : declarator(`enum ${this.#names.of(id)} `, "");
      case "fwd":
        return declarator(`${this.#names.tag(id)} ${this.#names.of(id)} `, "");
      case "typedef":
        return type.name === VA_LIST ? this.#declarator(type.type) : declarator(`${this.#names.of(id)} `, "");
      case "ptr": {
        const { before, body, lead, suffix } = this.#declarator(type.type);
        return suffix === ""
          ? declarator(`${lead}*`, "", body, before)
          : declarator(`${lead}(*`, `)${suffix}`, body, before);
      }
      case "array": {
        const { before, body, lead, suffix } = this.#declarator(type.type);
        return declarator(lead, `[${type.nelems}]${suffix}`, body, before);
      }
      case "func_proto": {
        const { before, body, lead, suffix } = this.#declarator(type.type);
        const params = type.params.map((param, i) => {
          if (param.type === 0 && i === type.params.length - 1) return "...";
          const d = this.#declarator(param.type);
          return this.#bodyText(d) + (param.name === "" ? d.lead.trimEnd() : d.lead + param.name) + d.suffix;
        });
        return declarator(lead, `(${params.length === 0 ? "void" : params.join(", ")})${suffix}`, body, before);
      }
      case "const":
      case "volatile":
      case "restrict":
        return this.#qualify(type.type, type.kind);
      case "type_tag":
        return this.#qualify(
          type.type,
          `__attribute__((${type.attribute ? type.name : `btf_type_tag("${type.name}")`}))`,
        );
      default:
        throw new DecodeError(this.#btf.what, `${this.#btf.describe(id)} cannot be the type of a value`, {
          path: ["types", `[${id}]`],
        });
    }
  }

  /** The anonymous body of a parameter, which is part of a declarator's text. */
  #bodyText(d: Declarator): string {
    if (d.body === 0) return "";
    const out = this.#out;
    this.#out = new TextSink();
    this.#writeBody(d, 0);
    this.#out.byte(SPACE);
    const text = this.#out.text();
    this.#out = out;
    return text;
  }

  #qualify(id: number, qualifier: string): Declarator {
    const { before, body, lead, suffix } = this.#declarator(id);
    if (lead.endsWith("*")) return declarator(`${lead} ${qualifier} `, suffix, body, before);
    // A qualifier of a function type says nothing, a second one neither.
    if (suffix.startsWith("(") || `${before}${lead}`.split(" ").includes(qualifier))
      return declarator(lead, suffix, body, before);
    if (qualifier.startsWith("__")) return declarator(`${lead}${qualifier} `, suffix, body, before);
    return body === 0
      ? declarator(`${qualifier} ${lead}`, suffix)
      : declarator(lead, suffix, body, `${qualifier} ${before}`);
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
function enumMode(size: number, wide: boolean, empty: boolean): string {
  if (size === 1) return " __attribute__((mode(byte)))";
  if (size === 2) return " __attribute__((mode(HI)))";
  if (size === 4 && (!wide || empty)) return "";
  return size === 8 ? " __attribute__((mode(word)))" : " __attribute__((mode(SI)))";
}
