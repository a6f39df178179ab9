/** Reads the text that `print.ts` writes. Values may be used before their line (loops). */
import { DecodeError } from "../../core/errors.ts";
import type {
  ArgMem,
  AtomicOp,
  Block,
  Callee,
  CallInfo,
  Cond,
  CoreAccess,
  Edge,
  Inst,
  Module,
  Op,
  Size,
  Slot,
  Space,
  Type,
} from "./ir.ts";
import { CONDS, Func, isBinOp, SPACES } from "./ir.ts";

const TOKEN =
  /\s*(?:;[^\n]*|("(?:[^"\\]|\\.)*")|(-?(?:0x[0-9a-fA-F]+|\d+))|([%$@][A-Za-z0-9_.]+)|([A-Za-z_][A-Za-z0-9_-]*)|([-+.,:(){}=[\]]))/y;
const conds: ReadonlySet<string> = new Set(CONDS);
const spaces: ReadonlySet<string> = new Set(SPACES);

/**
 * One module from its text; `;` starts a comment.
 * @throws DecodeError with the offset of the first token that does not fit.
 */
export function parseModule(text: string): Module {
  const p = new Parser(text);
  const funcs: Func[] = [];
  while (!p.eof) funcs.push(p.func());
  return { funcs };
}

interface Token {
  readonly kind: "string" | "int" | "name" | "word" | "punct" | "eof";
  readonly text: string;
  readonly at: number;
}

class Parser {
  readonly #tokens: Token[] = [];
  #pos = 0;
  #func!: Func;
  #values = new Map<string, Inst>();
  #pending = new Map<string, { user: Inst[]; index: number; at: number }[]>();
  #blocks = new Map<string, Block>();
  #slots = new Map<string, Slot>();

  constructor(text: string) {
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < text.length) {
      const at = TOKEN.lastIndex;
      const m = TOKEN.exec(text);
      if (m === null) {
        if (text.slice(at).trim() === "") break;
        throw new DecodeError("IR text", `cannot read ${JSON.stringify(text.slice(at, at + 20))}`, { offset: at });
      }
      const kinds = ["string", "int", "name", "word", "punct"] as const;
      for (let k = 0; k < 5; k++) {
        const t = m[k + 1];
        if (t !== undefined) this.#tokens.push({ kind: kinds[k]!, text: t, at });
      }
    }
    this.#tokens.push({ kind: "eof", text: "end of text", at: text.length });
  }

  get eof(): boolean {
    return this.#peek().kind === "eof";
  }
  #peek(): Token {
    return this.#tokens[this.#pos]!;
  }
  #next(): Token {
    const t = this.#tokens[this.#pos]!;
    if (t.kind !== "eof") this.#pos++;
    return t;
  }
  #fail(expected: string, t = this.#peek()): never {
    throw new DecodeError("IR text", `expected ${expected}, got ${JSON.stringify(t.text)}`, { offset: t.at });
  }
  #is(text: string): boolean {
    return this.#peek().text === text && this.#peek().kind !== "string";
  }
  #accept(text: string): boolean {
    if (!this.#is(text)) return false;
    this.#pos++;
    return true;
  }
  #expect(text: string): void {
    if (!this.#accept(text)) this.#fail(JSON.stringify(text));
  }
  #word(what = "a word"): string {
    const t = this.#next();
    if (t.kind !== "word") this.#fail(what, t);
    return t.text;
  }
  #big(): bigint {
    const neg = this.#accept("-");
    const t = this.#next();
    if (t.kind !== "int") this.#fail("an integer", t);
    const v = t.text.startsWith("-") ? -BigInt(t.text.slice(1)) : BigInt(t.text);
    return neg ? -v : v;
  }
  #int(): number {
    return Number(this.#big());
  }
  #string(): string {
    const t = this.#next();
    if (t.kind !== "string") this.#fail("a string", t);
    return JSON.parse(t.text) as string;
  }
  #name(sigil: string): string {
    const t = this.#next();
    if (t.kind !== "name" || t.text[0] !== sigil) this.#fail(`a name with ${sigil}`, t);
    return t.text.slice(1);
  }

  func(): Func {
    this.#values = new Map();
    this.#pending = new Map();
    this.#blocks = new Map();
    this.#slots = new Map();
    this.#expect("func");
    const name = this.#name("@");
    this.#expect("(");
    const params: [string, Type, Space][] = [];
    while (!this.#accept(")")) {
      if (params.length > 0) this.#expect(",");
      const v = this.#name("%");
      this.#expect(":");
      params.push([v, ...this.#type()]);
    }
    const kind = this.#word("entry, subprog or callback");
    if (kind !== "entry" && kind !== "subprog" && kind !== "callback") this.#fail("entry, subprog or callback");
    let inline: Func["inline"];
    let returns = true;
    while (!this.#accept("{")) {
      const w = this.#word();
      if (w === "void") returns = false;
      else if (w === "inline") {
        this.#expect("=");
        inline = this.#word() === "always" ? "always" : "never";
      } else this.#fail("void, inline= or {");
    }
    const f = (this.#func = new Func(name, kind, returns));
    f.inline = inline;
    for (const [v, type, space] of params) this.#define(v, f.param(type, space));
    while (this.#accept("slot")) {
      const s = this.#name("$");
      const size = this.#int();
      this.#expect("align");
      this.#slots.set(s, f.slot(size, this.#int(), s));
    }
    const order: Block[] = [];
    while (!this.#accept("}")) order.push(this.#block());
    f.blocks = order;
    for (const [name, b] of this.#blocks) if (!order.includes(b)) this.#fail(`a block named ${name}`);
    for (const [v, uses] of this.#pending)
      this.#fail(`a definition of %${v}`, { kind: "name", text: `%${v}`, at: uses[0]!.at });
    return f;
  }

  #type(): [Type, Space] {
    const t = this.#word("a type");
    if (t !== "int" && t !== "ptr" && t !== "void") this.#fail("int, ptr or void");
    if (t === "ptr" && this.#peek().kind === "word" && spaces.has(this.#peek().text)) return [t, this.#word() as Space];
    return [t, "unknown"];
  }
  #define(name: string, v: Inst): void {
    this.#values.set(name, v);
    for (const { user, index } of this.#pending.get(name) ?? []) user[index] = v;
    this.#pending.delete(name);
  }
  #blockRef(name: string): Block {
    let b = this.#blocks.get(name);
    if (b === undefined) {
      b = this.#func.block(name);
      this.#blocks.set(name, b);
    }
    return b;
  }

  #block(): Block {
    const b = this.#blockRef(this.#word("a block label"));
    if (this.#accept("(")) {
      while (!this.#accept(")")) {
        if (b.params.length > 0) this.#expect(",");
        const v = this.#name("%");
        this.#expect(":");
        const [type, space] = this.#type();
        this.#define(v, this.#func.blockParam(b, type, space));
      }
    }
    this.#expect(":");
    if (this.#accept("unroll")) {
      this.#expect("=");
      b.unroll = this.#word() === "full" ? "full" : "no";
    }
    if (this.#accept("cold")) b.cold = true;
    while (b.term === undefined) this.#inst(b);
    return b;
  }

  /** Appends the operand to `args`; a value not seen yet is filled in when it is defined. */
  #operand(args: Inst[]): void {
    const f = this.#func;
    const t = this.#peek();
    let i: Inst;
    if (t.kind === "int" || t.text === "-") {
      i = f.inst("const", "int");
      i.value = BigInt.asIntN(64, this.#big());
    } else if (t.kind === "name" && t.text[0] === "%") {
      this.#pos++;
      const v = this.#values.get(t.text.slice(1));
      if (v === undefined) {
        const list = this.#pending.get(t.text.slice(1)) ?? [];
        list.push({ user: args, index: args.length, at: t.at });
        this.#pending.set(t.text.slice(1), list);
        i = f.inst("undef", "int");
      } else i = v;
    } else if (t.kind === "name" && t.text[0] === "$") {
      this.#pos++;
      i = f.inst("slot", "ptr");
      i.slot = this.#slots.get(t.text.slice(1)) ?? this.#fail("a declared slot", t);
      i.space = "stack";
    } else {
      const w = this.#word("an operand");
      i = this.#leaf(w, t);
    }
    args.push(i);
  }
  #leaf(w: string, t: Token): Inst {
    const f = this.#func;
    switch (w) {
      case "null":
        return f.inst("const", "ptr");
      case "undef":
        return f.inst("undef", this.#accept("ptr") ? "ptr" : "int");
      case "map": {
        const i = f.inst("map", "ptr");
        i.sym = this.#string();
        i.space = "map";
        return i;
      }
      case "mapval": {
        const i = f.inst("mapval", "ptr");
        i.sym = this.#string();
        i.off = this.#int();
        i.space = "map-value";
        return i;
      }
      case "ksym": {
        const i = f.inst("ksym", "ptr");
        i.sym = this.#string();
        i.weak = this.#accept("weak");
        i.typed = !this.#accept("untyped");
        i.space = "btf";
        return i;
      }
      case "func": {
        const i = f.inst("func", "ptr");
        i.sym = this.#name("@");
        i.space = "func";
        return i;
      }
      case "core": {
        const i = f.inst("core", "int");
        i.core = this.#core();
        this.#expect("=");
        i.value = this.#big();
        return i;
      }
      default:
        return this.#fail("an operand", t);
    }
  }
  #core(): CoreAccess {
    const kind = this.#int();
    const name = this.#string();
    return { kind, type: { name }, access: this.#string() };
  }
  #operands(n: number): Inst[] {
    const args: Inst[] = [];
    for (let k = 0; k < n; k++) {
      if (k > 0) this.#expect(",");
      this.#operand(args);
    }
    return args;
  }
  /** `.word` or `.16`, as part of an operation's name. */
  #suffixes(): string[] {
    const out: string[] = [];
    while (this.#accept(".")) out.push(this.#next().text);
    return out;
  }
  #address(i: Inst): void {
    this.#operand(i.args);
    const neg = this.#accept("-");
    const t = this.#peek();
    if (!neg && t.kind === "int" && t.text.startsWith("-")) i.off = this.#int();
    else {
      if (!neg) this.#expect("+");
      i.off = neg ? -this.#int() : this.#int();
    }
  }
  #access(i: Inst, suffixes: string[], t: Token): void {
    for (const s of suffixes) {
      if (s === "volatile") i.volatile = true;
      else if (s === "invariant") i.invariant = true;
      else if (/^[us](8|16|32|64)$/.test(s)) {
        i.signed = s[0] === "s";
        i.size = (Number(s.slice(1)) / 8) as Size;
      } else this.#fail("a size such as u32, volatile or invariant", t);
    }
  }
  #edge(): Edge {
    const to = this.#blockRef(this.#word("a block"));
    const args: Inst[] = [];
    if (this.#accept("(")) {
      while (!this.#accept(")")) {
        if (args.length > 0) this.#expect(",");
        this.#operand(args);
      }
    }
    return { to, args };
  }

  #inst(b: Block): void {
    const f = this.#func;
    let name: string | undefined;
    if (this.#peek().kind === "name") {
      name = this.#name("%");
      this.#expect("=");
    }
    const t = this.#peek();
    const word = this.#word("an operation");
    const width = word.endsWith("32") ? 32 : 64;
    const op = (width === 32 ? word.slice(0, -2) : word) as Op;
    const suffixes = this.#suffixes();
    const i = f.inst(op, "int", []);
    i.width = width;
    if (name !== undefined) this.#define(name, i);
    if (isBinOp(op)) {
      i.args = this.#operands(2);
      if (suffixes[0] === "ptr") {
        i.type = "ptr";
        if (this.#accept(":")) i.space = this.#type()[1];
      }
      b.insts.push(i);
      return;
    }
    switch (op) {
      case "neg":
        i.args = this.#operands(1);
        break;
      case "bswap":
      case "tobe":
      case "tole":
      case "zext":
      case "sext":
        i.bits = Number(suffixes[0]);
        i.args = this.#operands(1);
        break;
      case "cmp":
      case "br":
        if (!conds.has(suffixes[0] ?? "")) this.#fail("a condition", t);
        i.cond = suffixes[0] as Cond;
        i.args = this.#operands(2);
        if (op === "br") {
          this.#expect(",");
          const then = this.#edge();
          this.#expect(",");
          i.edges = [then, this.#edge()];
        }
        break;
      case "select":
      case "opaque":
        i.args = this.#operands(op === "select" ? 3 : 1);
        if (this.#accept(":")) [i.type, i.space] = this.#type();
        break;
      case "load":
      case "store":
        this.#access(i, suffixes, t);
        this.#address(i);
        if (this.#accept("core")) {
          this.#expect("(");
          i.core = this.#core();
          this.#expect(")");
        }
        if (op === "store") {
          this.#expect(",");
          this.#operand(i.args);
          i.type = "void";
        } else if (this.#accept(":")) [i.type, i.space] = this.#type();
        break;
      case "memcpy":
      case "memset": {
        i.args = this.#operands(op === "memcpy" ? 2 : 1);
        i.type = "void";
        this.#expect(",");
        if (op === "memset") {
          i.value = this.#big();
          this.#expect(",");
        }
        i.bytes = this.#int();
        this.#expect("align");
        i.align = this.#int();
        break;
      }
      case "start":
        i.type = "void";
        i.slot = this.#slots.get(this.#name("$")) ?? this.#fail("a declared slot", t);
        break;
      case "atomic": {
        const s = [...suffixes];
        if (s[0] === "fetch") {
          i.fetch = true;
          s.shift();
        }
        i.aop = s[0] as AtomicOp;
        i.fetch ||= i.aop === "xchg" || i.aop === "cmpxchg";
        this.#access(i, s.slice(1), t);
        this.#address(i);
        this.#expect(",");
        this.#operand(i.args);
        if (i.aop === "cmpxchg") {
          this.#expect(",");
          this.#operand(i.args);
        }
        break;
      }
      case "call":
        this.#call(i);
        break;
      case "jmp":
        i.edges = [this.#edge()];
        break;
      case "switch": {
        i.args = this.#operands(1);
        i.cases = [];
        i.edges = [];
        for (;;) {
          this.#expect(",");
          if (this.#accept("default")) break;
          i.cases.push(BigInt.asIntN(64, this.#big()));
          this.#expect(":");
          i.edges.push(this.#edge());
        }
        this.#expect(":");
        i.edges.push(this.#edge());
        break;
      }
      case "ret":
        if (!this.#endsHere()) i.args = this.#operands(1);
        break;
      case "unreachable":
        break;
      default:
        this.#fail("an operation", t);
    }
    if (op === "jmp" || op === "br" || op === "switch" || op === "ret" || op === "unreachable") {
      i.type = "void";
      b.term = i;
    } else b.insts.push(i);
  }
  /** After `ret`: a block label or the closing brace follows. */
  #endsHere(): boolean {
    const t = this.#peek();
    if (t.text === "}" || t.kind === "eof") return true;
    if (t.kind !== "word") return false;
    const after = this.#tokens[this.#pos + 1]!.text;
    return after === ":" || after === "(";
  }
  #call(i: Inst): void {
    let callee: Callee;
    if (this.#peek().kind === "name") callee = { kind: "subprog", name: this.#name("@") };
    else if (this.#accept("helper")) callee = { kind: "helper", id: this.#int() };
    else {
      this.#expect("kfunc");
      callee = { kind: "kfunc", name: this.#string(), weak: this.#accept("weak") };
    }
    this.#expect("(");
    while (!this.#accept(")")) {
      if (i.args.length > 0) this.#expect(",");
      this.#operand(i.args);
    }
    if (this.#accept(":")) [i.type, i.space] = this.#type();
    const call = {
      callee,
      clobbers: (callee.kind === "subprog" ? "all" : "mem") as CallInfo["clobbers"],
      pure: false,
      mem: [] as ArgMem[],
      bits: 64,
      nullable: false,
      noreturn: false,
    };
    for (;;) {
      if (this.#accept("nullable")) call.nullable = true;
      else if (this.#accept("pure")) call.pure = true;
      else if (this.#accept("noreturn")) call.noreturn = true;
      else if (this.#accept("clobbers")) {
        this.#expect("=");
        call.clobbers = this.#word() as CallInfo["clobbers"];
      } else if (this.#accept("bits")) {
        this.#expect("=");
        call.bits = this.#int();
      } else if (this.#accept("[")) {
        const mode = this.#word() as ArgMem["mode"];
        const arg = this.#int();
        call.mem.push({ mode, arg, size: this.#is("]") ? undefined : this.#int() });
        this.#expect("]");
      } else break;
    }
    i.call = call;
  }
}
