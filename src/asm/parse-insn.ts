/** One line of assembler text to its instruction. */
import * as build from "./build.ts";
import type { AluOp, AtomicOp, JmpOp, Size } from "./build.ts";
import type { Insn } from "./insn.ts";
import type { Token } from "./lexer.ts";
import { any32, LineParser, REGISTER, s16, s32, show } from "./parse-line.ts";
import type { Range, Reg } from "./parse-line.ts";

/** What the instruction names and the whole program has to fill in. */
export type Symbolic =
  /** A label in `off` or `imm`. */
  | { readonly kind: "label"; readonly name: string; readonly field: "off" | "imm"; readonly at: Token }
  /** `imm` is already a subprogram's offset. */
  | { readonly kind: "offset"; readonly at: Token }
  | { readonly kind: "map"; readonly name: string; readonly offset: number | undefined; readonly at: Token }
  | { readonly kind: "ksym"; readonly name: string; readonly at: Token }
  /** A label, a helper or a kernel function. */
  | { readonly kind: "call"; readonly name: string; readonly at: Token };

export interface Statement {
  readonly insns: readonly Insn[];
  readonly symbolic: Symbolic | undefined;
}

const ALU_OPS: ReadonlyMap<string, AluOp> = new Map([
  ["+=", "add"],
  ["-=", "sub"],
  ["*=", "mul"],
  ["/=", "div"],
  ["s/=", "sdiv"],
  ["%=", "mod"],
  ["s%=", "smod"],
  ["|=", "or"],
  ["&=", "and"],
  ["^=", "xor"],
  ["<<=", "lsh"],
  [">>=", "rsh"],
  ["s>>=", "arsh"],
]);
const JMP_OPS: ReadonlyMap<string, JmpOp> = new Map([
  ["==", "jeq"],
  ["!=", "jne"],
  [">", "jgt"],
  [">=", "jge"],
  ["<", "jlt"],
  ["<=", "jle"],
  ["s>", "jsgt"],
  ["s>=", "jsge"],
  ["s<", "jslt"],
  ["s<=", "jsle"],
  ["&", "jset"],
]);
const ATOMIC_OPS: ReadonlyMap<string, AtomicOp> = new Map([
  ["+=", "add"],
  ["|=", "or"],
  ["&=", "and"],
  ["^=", "xor"],
]);
const TYPES: ReadonlyMap<string, { size: Size; signed: boolean }> = new Map([
  ["u8", { size: "b", signed: false }],
  ["u16", { size: "h", signed: false }],
  ["u32", { size: "w", signed: false }],
  ["u64", { size: "dw", signed: false }],
  ["s8", { size: "b", signed: true }],
  ["s16", { size: "h", signed: true }],
  ["s32", { size: "w", signed: true }],
  ["s64", { size: "dw", signed: true }],
]);

/** Words of the other assembler syntax (ubpf's, gcc's). */
const MNEMONIC =
  /^(?:mov|add|sub|mul|div|or|and|lsh|rsh|mod|xor|arsh|neg|ld|ldx|st|stx|lddw|ja|jeq|jne|jgt|jge|jlt|jle|jset|js[gl][te])(?:b|h|w|dw|xb|xh|xw|xdw|32|64)?$/;

export class StatementParser extends LineParser {
  readonly #helperId: (name: string) => number | undefined;
  #symbolic: Symbolic | undefined;

  constructor(line: string, helperId: (name: string) => number | undefined) {
    super(line);
    this.#helperId = helperId;
  }

  statement(): Statement {
    const first = this.token;
    const insns = this.#insn(first);
    if (!this.atEnd) throw this.expected("the end of the line");
    return { insns, symbolic: this.#symbolic };
  }

  #insn(first: Token): readonly Insn[] {
    if (first.kind === "op" && first.text === "*") return [this.#store()];
    if (first.kind === "id") {
      switch (first.text) {
        case "if":
          return [this.#branch()];
        case "goto":
          return [this.#goto(build.ja, s16, "off")];
        case "gotol":
          return [this.#goto(build.gotol, s32, "imm")];
        case "may_goto":
          return [this.#goto(build.mayGoto, s16, "off")];
        case "call":
          return [this.#call()];
        case "exit":
          this.take();
          return [build.exit()];
        case "lock":
          return [this.#lock()];
        case "store_release":
          return [this.#storeRelease()];
        case ".insn":
          return [this.#rawInsn()];
      }
      if (REGISTER.test(first.text)) return this.#assign();
    }
    const failure = this.expected("an instruction", "such as `r0 = 1`, `if r1 == 0 goto out`, `call`, `exit`");
    if (!MNEMONIC.test(first.text)) throw failure;
    throw this.failure(
      failure.code,
      failure.message,
      first,
      "this assembler takes the kernel's syntax: `r1 = 5`, `r1 = *(u64 *)(r2 +8)`",
    );
  }

  // rN …

  #assign(): readonly Insn[] {
    const dst = this.reg();
    const token = this.token;
    if (token.kind === "op") {
      const name = ALU_OPS.get(token.text);
      if (name !== undefined) {
        this.take();
        return [this.#alu(name, dst)];
      }
      if (token.text === "=") {
        this.take();
        return this.#value(dst);
      }
    }
    throw this.expected("an assignment", "such as = += -= *= /= s/= %= s%= |= &= ^= <<= >>= s>>=");
  }

  #alu(name: AluOp, dst: Reg): Insn {
    if (this.atReg()) {
      const src = this.sameWidth(dst, "operand");
      return (dst.wide ? build.alu64Reg : build.alu32Reg)(name, dst.n, src);
    }
    return (dst.wide ? build.alu64Imm : build.alu32Imm)(name, dst.n, this.imm(dst.wide ? s32 : any32));
  }

  #value(dst: Reg): readonly Insn[] {
    const token = this.token;
    if (token.kind === "num") return this.#constant(dst, false);
    if (this.atReg()) {
      const src = this.sameWidth(dst, "source");
      return [(dst.wide ? build.mov64Reg : build.mov32Reg)(dst.n, src)];
    }
    if (token.kind === "op") {
      if (token.text === "-") {
        this.take();
        if (this.token.kind === "num") return this.#constant(dst, true);
        this.sameReg(dst);
        return [(dst.wide ? build.neg64 : build.neg32)(dst.n)];
      }
      if (token.text === "(") return [this.#movsx(dst)];
      if (token.text === "*") return [this.#load(dst)];
    }
    if (token.kind === "id") return this.#named(dst, token);
    throw this.expected("a value", "a register, a number, a load, map[…]");
  }

  #constant(dst: Reg, negative: boolean): readonly Insn[] {
    const token = this.take();
    const magnitude = this.number(token);
    const value = negative ? -magnitude : magnitude;
    const ll = this.token.kind === "id" && this.token.text === "ll";
    if (!dst.wide) {
      return [build.mov32Imm(dst.n, this.range(value, any32, token))];
    }
    if (ll) this.take();
    if (ll || /^0x/i.test(token.text)) {
      if (value < -(1n << 63n) || value >= 1n << 64n)
        throw this.failure("ASM002", `${value} does not fit 64 bits`, token);
      return build.ldImm64(dst.n, value);
    }
    return [
      build.mov64Imm(dst.n, this.range(value, s32, token, "write it in hex, or with `ll` behind it, for ld_imm64")),
    ];
  }

  #movsx(dst: Reg): Insn {
    this.punct("(");
    const type = this.take();
    const from = { s8: 8, s16: 16, s32: 32 }[type.text] as 8 | 16 | 32 | undefined;
    if (from === undefined || (from === 32 && !dst.wide)) {
      throw this.failure("ASM001", `expected ${dst.wide ? "s8, s16 or s32" : "s8 or s16"}, got ${show(type)}`, type);
    }
    this.punct(")");
    const src = this.sameWidth(dst, "source");
    return dst.wide ? build.movsx64(dst.n, src, from) : build.movsx32(dst.n, src, from as 8 | 16);
  }

  #load(dst: Reg): Insn {
    this.punct("*");
    const { size, signed, token } = this.#type();
    if (this.token.kind === "id" && this.token.text === "skb") return this.#legacy(dst, size, signed, token);
    const { base, off } = this.#address();
    if (!dst.wide && (size === "dw" || signed))
      throw this.failure("ASM007", `this load needs \`r${dst.n}\`: it writes 64 bits`, token);
    if (!signed) return build.ldxMem(size, dst.n, base, off);
    if (size === "dw") throw this.failure("ASM007", "s64 needs no sign extension: use u64", token);
    return build.ldxMemsx(size, dst.n, base, off);
  }

  #legacy(dst: Reg, size: Size, signed: boolean, type: Token): Insn {
    const skb = this.take();
    if (dst.n !== 0) throw this.failure("ASM007", "loads from skb write r0", skb);
    if (size === "dw" || signed) throw this.failure("ASM007", "loads from skb take u8, u16 or u32", type);
    this.punct("[");
    let insn: Insn;
    if (this.atReg()) {
      const src = this.wideReg();
      insn = build.ldInd(size, src, this.token.text === "]" ? 0 : this.displacement(s32));
    } else {
      insn = build.ldAbs(size, this.imm(s32));
    }
    this.punct("]");
    return insn;
  }

  #named(dst: Reg, token: Token): readonly Insn[] {
    const end = /^(le|be|bswap)(16|32|64)$/.exec(token.text);
    if (end !== null) {
      this.take();
      if (!dst.wide) throw this.failure("ASM007", `${token.text} works on \`r${dst.n}\``, token);
      this.sameReg(dst);
      const width = Number(end[2]) as 16 | 32 | 64;
      return [end[1] === "bswap" ? build.bswap(dst.n, width) : build.endian(end[1] as "le" | "be", dst.n, width)];
    }
    if (token.text.startsWith("atomic")) return [this.#fetch(dst, token)];
    if (token.text === "load_acquire") {
      this.take();
      this.punct("(");
      const { size, base, off } = this.#pointer();
      this.punct(")");
      if (!dst.wide && size === "dw") throw this.failure("ASM007", `this load needs \`r${dst.n}\``, token);
      return [build.loadAcquire(size, dst.n, base, off)];
    }
    if (dst.wide) {
      switch (token.text) {
        case "addr_space_cast":
          return [this.#addrSpaceCast(dst.n)];
        case "map":
          return this.#map(dst.n);
        case "subprog":
          return this.#subprogAddress(dst.n);
        case "btf":
          return this.#btf(dst.n);
      }
    }
    throw this.expected("a value", "a register, a number, a load, map[…]");
  }

  #addrSpaceCast(dst: number): Insn {
    this.take();
    this.punct("(");
    const src = this.wideReg();
    this.punct(",");
    const at = this.token;
    const to = this.imm(any32);
    this.punct(",");
    const from = this.imm(any32);
    this.punct(")");
    if (!((to === 0 && from === 1) || (to === 1 && from === 0))) {
      throw this.failure("ASM007", `expected a cast between address spaces 0 and 1, got ${to} and ${from}`, at);
    }
    return build.addrSpaceCast(dst, src, to, from);
  }

  #map(dst: number): readonly Insn[] {
    const word = this.take();
    const inner = this.bracket();
    const number = /^(id|fd|idx):(-?\d{1,10})$/.exec(inner.text);
    if (number !== null && number[1] === "idx") {
      const index = this.range(BigInt(number[2]!), any32, inner);
      if (this.token.kind !== "op" || this.token.text !== "+") return build.ldMapIdx(dst, index);
      return build.ldMapIdxValue(dst, index, this.#plusOffset());
    }
    let offset: number | undefined;
    if (this.token.kind === "op" && this.token.text === "[") {
      const entry = this.bracket();
      if (entry.text !== "0")
        throw this.failure("ASM001", `expected [0], got [${entry.text}]: only entry 0 has an address`, entry);
      offset = this.#plusOffset();
    }
    const fd = number === null ? 0 : this.range(BigInt(number[2]!), any32, inner);
    if (number === null) {
      if (inner.text === "" || inner.text.includes(":")) {
        throw this.failure("ASM001", `expected id:N, fd:N, idx:N or a name, got \`${inner.text}\``, inner);
      }
      this.#symbolic = {
        kind: "map",
        name: inner.text,
        offset: offset === undefined ? undefined : offset >>> 0,
        at: { ...word, end: inner.end + 1 },
      };
    }
    this.#llIgnored();
    return offset === undefined ? build.ldMapFd(dst, fd) : build.ldMapValue(dst, fd, offset);
  }

  #subprogAddress(dst: number): readonly Insn[] {
    this.take();
    const inner = this.bracket();
    const number = /^([+-]\d{1,10})(?:,(-?\d{1,10}))?$/.exec(inner.text);
    if (number !== null) {
      this.#symbolic = { kind: "offset", at: inner };
      const [first, second] = build.ldFunc(dst, this.range(BigInt(number[1]!), s32, inner));
      return [first, { ...second, imm: this.range(BigInt(number[2] ?? 0), s32, inner) }];
    }
    if (!/^[\w.$]+$/.test(inner.text))
      throw this.failure("ASM001", `expected +N, -N or a label, got \`${inner.text}\``, inner);
    this.#symbolic = { kind: "label", name: inner.text, field: "imm", at: inner };
    return build.ldFunc(dst, 0);
  }

  #btf(dst: number): readonly Insn[] {
    const word = this.take();
    const inner = this.bracket();
    const number = /^id:(-?\d{1,10})(?:,fd:(-?\d{1,10}))?$/.exec(inner.text);
    if (number !== null) {
      return build.ldBtfId(
        dst,
        this.range(BigInt(number[1]!), any32, inner),
        this.range(BigInt(number[2] ?? 0), any32, inner),
      );
    }
    if (inner.text === "" || inner.text.includes(":")) {
      throw this.failure("ASM001", `expected id:N or a name, got \`${inner.text}\``, inner);
    }
    this.#symbolic = { kind: "ksym", name: inner.text, at: { ...word, end: inner.end + 1 } };
    this.#llIgnored();
    return build.ldBtfId(dst, 0);
  }

  #llIgnored(): void {
    if (this.token.kind === "id" && this.token.text === "ll") this.take();
  }

  #plusOffset(): number {
    if (this.token.kind !== "op" || this.token.text !== "+") throw this.expected("`+` and an offset");
    this.take();
    return this.imm(any32);
  }

  // Memory

  #store(): Insn {
    this.punct("*");
    const { size, signed, token } = this.#type();
    if (signed) throw this.failure("ASM007", `stores take an unsigned type, got ${token.text}`, token);
    const { base, off } = this.#address();
    this.punct("=");
    if (!this.atReg()) return build.stMem(size, base, off, this.imm(size === "dw" ? s32 : any32));
    const at = this.token;
    const src = this.reg();
    if (!src.wide && size === "dw") throw this.failure("ASM007", `an 8-byte store needs \`r${src.n}\``, at);
    return build.stxMem(size, base, src.n, off);
  }

  #lock(): Insn {
    this.take();
    this.punct("*");
    const { size, base, off } = this.#atomicPointer();
    const token = this.take();
    const name = ATOMIC_OPS.get(token.text);
    if (name === undefined) throw this.failure("ASM001", `expected +=, |=, &= or ^=, got ${show(token)}`, token);
    return build.atomic(name, size, base, this.sized(size), off);
  }

  #fetch(dst: Reg, token: Token): Insn {
    const m = /^atomic(64)?_(?:fetch_(add|or|and|xor)|(xchg|cmpxchg))$/.exec(token.text);
    if (m === null) throw this.expected("atomic_fetch_add, _or, _and, _xor, atomic_xchg or atomic_cmpxchg");
    this.take();
    const name = (m[2] ?? m[3]) as AtomicOp;
    this.punct("(");
    const { size, base, off } = this.#atomicPointer();
    // clang says atomic_ for both sizes.
    if (m[1] === "64" && size !== "dw") throw this.failure("ASM007", `${token.text} takes a u64`, token);
    this.punct(",");
    if (name === "cmpxchg") {
      const at = this.token;
      if (this.sized(size) !== 0 || dst.n !== 0)
        throw this.failure("ASM007", "cmpxchg compares with r0 and writes r0", at);
      this.punct(",");
    }
    const at = this.token;
    const src = this.sized(size);
    this.punct(")");
    if (name !== "cmpxchg" && src !== dst.n) {
      throw this.failure("ASM007", `the old value goes to the operand's register: expected r${dst.n}, got r${src}`, at);
    }
    return build.atomic(name, size, base, src, off, true);
  }

  #storeRelease(): Insn {
    this.take();
    this.punct("(");
    const { size, base, off } = this.#pointer();
    this.punct(",");
    const src = this.sized(size);
    this.punct(")");
    return build.storeRelease(size, base, src, off);
  }

  /** `(u64 *)`. */
  #type(): { size: Size; signed: boolean; token: Token } {
    this.punct("(");
    const token = this.take();
    const type = TYPES.get(token.text);
    if (type === undefined)
      throw this.failure("ASM001", `expected u8, u16, u32, u64, s8, s16 or s32, got ${show(token)}`, token);
    this.punct("*");
    this.punct(")");
    return { ...type, token };
  }

  /** `(r6 +8)`. */
  #address(): { base: number; off: number } {
    this.punct("(");
    const base = this.wideReg();
    const off = this.token.text === ")" ? 0 : this.displacement(s16);
    this.punct(")");
    return { base, off };
  }

  #pointer(): { size: Size; base: number; off: number } {
    const { size, signed, token } = this.#type();
    if (signed) throw this.failure("ASM007", `expected an unsigned type, got ${token.text}`, token);
    return { size, ...this.#address() };
  }

  #atomicPointer(): { size: "w" | "dw"; base: number; off: number } {
    const at = this.token;
    const { size, base, off } = this.#pointer();
    if (size !== "w" && size !== "dw") throw this.failure("ASM007", "atomic operations take u32 or u64", at);
    return { size, base, off };
  }

  // Jumps

  #branch(): Insn {
    this.take();
    const dst = this.reg();
    const token = this.take();
    const name = token.kind === "op" ? JMP_OPS.get(token.text) : undefined;
    if (name === undefined) {
      throw this.failure(
        "ASM001",
        `expected a comparison (== != > >= < <= s> s>= s< s<= &), got ${show(token)}`,
        token,
      );
    }
    if (this.atReg()) {
      const src = this.sameWidth(dst, "operand");
      return this.#gotoOf((off) => (dst.wide ? build.jmpReg : build.jmp32Reg)(name, dst.n, src, off));
    }
    // The kernel prints the s32 immediate of 64-bit comparisons as 32 bits of hex.
    const hex = this.token.kind === "num" && /^0x/i.test(this.token.text);
    const imm = this.imm(dst.wide && !hex ? s32 : any32);
    return this.#gotoOf((off) => (dst.wide ? build.jmpImm : build.jmp32Imm)(name, dst.n, imm, off));
  }

  #gotoOf(make: (off: number) => Insn): Insn {
    if (this.token.text !== "goto") throw this.expected("`goto`");
    return this.#goto(make, s16, "off");
  }

  #goto(make: (off: number) => Insn, range: Range, field: "off" | "imm"): Insn {
    this.take();
    return make(this.#target(range, field));
  }

  /** `pc+5`, `+5` or a label. */
  #target(range: Range, field: "off" | "imm"): number {
    const token = this.token;
    if (token.kind === "id" && token.text !== "pc") {
      this.take();
      this.#symbolic = { kind: "label", name: token.text, field, at: token };
      return 0;
    }
    if (token.kind === "id") this.take();
    if (this.token.kind !== "op" || (this.token.text !== "+" && this.token.text !== "-")) {
      throw this.expected("a target", "pc+N, pc-N or a label");
    }
    return this.displacement(range);
  }

  #call(): Insn {
    this.take();
    const token = this.token;
    if (token.kind === "num" || token.kind === "hash" || (token.kind === "op" && token.text === "-")) {
      if (token.kind === "hash") this.take();
      return build.callHelper(token.kind === "hash" ? this.#hashNumber(token) : this.imm(s32));
    }
    if (token.kind === "op" && token.text === "+") return this.#subprogOffset(token);
    if (token.kind !== "id") throw this.expected("a function", "pc+N, a helper, a kernel function or a label");
    if (token.text === "pc") return this.#subprogOffset(token);
    this.take();
    let { text } = token;
    if (text === "kernel" && this.lexer.line.startsWith("-function", token.end)) {
      this.take();
      this.take();
      text = "kernel-function";
    }
    if (this.token.kind !== "hash") {
      if (text === "kernel-function") throw this.expected("`#` and a BTF id");
      this.#symbolic = { kind: "call", name: text, at: token };
      return build.callHelper(0);
    }
    const number = this.#hashNumber(this.take());
    if (text === "unknown" || this.#helperId(text) !== undefined) return build.callHelper(number);
    return build.callKfunc(number, this.#fdIndex());
  }

  #subprogOffset(at: Token): Insn {
    const off = this.#target(s32, "imm");
    // `pc+5#bpf_prog_…_name`: what bpftool knows of the target.
    if (this.token.kind === "hash") this.take();
    this.#symbolic = { kind: "offset", at: { ...at, end: this.lastEnd } };
    return build.callSubprog(off);
  }

  #fdIndex(): number {
    if (this.token.kind !== "id" || this.token.text !== "fd_idx") return 0;
    this.take();
    this.punct(":");
    return this.imm(s16);
  }

  #hashNumber(token: Token): number {
    if (!/^-?\d{1,10}$/.test(token.text))
      throw this.failure("ASM001", `expected # and a number, got \`#${token.text}\``, token);
    return this.range(BigInt(token.text), s32, token);
  }

  #rawInsn(): Insn {
    this.take();
    const opcode = this.imm({ min: 0n, max: 255n, what: "8-bit" });
    this.punct(",");
    const dst = this.imm({ min: 0n, max: 15n, what: "4-bit" });
    this.punct(",");
    const src = this.imm({ min: 0n, max: 15n, what: "4-bit" });
    this.punct(",");
    const off = this.imm(s16);
    this.punct(",");
    return { opcode, dst, src, off, imm: this.imm(any32) };
  }
}
