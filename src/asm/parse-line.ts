/** Tokens, registers and numbers of a line of assembler text, with the errors about them. */
import type { Size } from "./build.ts";
import { Lexer } from "./lexer.ts";
import type { Token } from "./lexer.ts";

/** Carries code and columns (from 0) to the caller, who knows the line. */
export class SyntaxFailure extends Error {
  readonly code: string;
  readonly start: number;
  readonly end: number;
  readonly help: string | undefined;

  constructor(code: string, message: string, at: { start: number; end: number }, help?: string) {
    super(message);
    this.code = code;
    this.start = at.start;
    this.end = at.end;
    this.help = help;
  }
}

/** A register as written: `wide` is r, else w. */
export interface Reg {
  readonly n: number;
  readonly wide: boolean;
}

export const REGISTER = /^([rw])(\d{1,2})$/;
/** `12: (b7) ` in front of an instruction, as dumps have it. */
const PREFIX = /^\s*(?:\d{1,9}:\s*)?(?:\([0-9a-f]{2}\)\s*)?/;

/** What a number may be, and what to call that. */
export interface Range {
  readonly min: bigint;
  readonly max: bigint;
  readonly what: string;
}
export const s16: Range = { min: -0x8000n, max: 0x7fffn, what: "16-bit signed" };
export const s32: Range = { min: -0x8000_0000n, max: 0x7fff_ffffn, what: "32-bit signed" };
/** For operations on 32 bits and number fields that the kernel prints unsigned. */
export const any32: Range = { min: -0x8000_0000n, max: 0xffff_ffffn, what: "32-bit" };

/** A line, its current token, and what every statement is made of. */
export class LineParser {
  protected readonly lexer: Lexer;
  /** End of the last token taken, from 0. */
  lastEnd = 0;

  constructor(line: string) {
    const trimmed = line.trim();
    // `int prog(struct xdp_md * ctx):` in bpftool's dumps, and `# comment`.
    const skip = trimmed.startsWith("#") || (trimmed.endsWith("):") && trimmed.indexOf("(") > 0);
    this.lexer = new Lexer(line, skip ? line.length : PREFIX.exec(line)![0].length);
  }

  get token(): Token {
    return this.lexer.token;
  }
  get atEnd(): boolean {
    return this.token.kind === "end";
  }

  /** The label in front, if there is one. */
  label(): Token | undefined {
    const { token } = this;
    if (token.kind !== "id" || !/^\s*:/.test(this.lexer.line.slice(token.end, token.end + 64))) return undefined;
    if (REGISTER.test(token.text) || token.text === "pc") {
      throw this.failure("ASM001", `\`${token.text}\` cannot be a label`, token);
    }
    this.take();
    this.take();
    return token;
  }

  // Tokens

  protected take(): Token {
    const token = this.lexer.next();
    if (token.kind !== "end") this.lastEnd = token.end;
    return token;
  }

  protected bracket(): Token {
    if (this.token.kind !== "op" || this.token.text !== "[") throw this.expected("`[`");
    const open = this.token;
    const inner = this.lexer.bracket();
    if (inner === undefined) throw this.failure("ASM001", "expected a `]` to this `[`", open);
    this.lastEnd = inner.end + 1;
    return inner;
  }

  protected punct(text: string): void {
    if (this.token.kind !== "op" || this.token.text !== text) throw this.expected(`\`${text}\``);
    this.take();
  }

  protected atReg(): boolean {
    return this.token.kind === "id" && REGISTER.test(this.token.text);
  }

  protected reg(): Reg {
    const m = this.token.kind === "id" ? REGISTER.exec(this.token.text) : null;
    if (m === null || Number(m[2]) > 10 || String(Number(m[2])) !== m[2]) {
      throw this.expected("a register", "r0-r10 for 64 bits, w0-w10 for the low 32");
    }
    this.take();
    return { n: Number(m[2]), wide: m[1] === "r" };
  }

  protected wideReg(): number {
    const at = this.token;
    const reg = this.reg();
    if (!reg.wide) throw this.failure("ASM007", `expected \`r${reg.n}\`, got \`w${reg.n}\``, at);
    return reg.n;
  }

  /** r or w for 4 bytes (clang prints w), r for 8. */
  protected sized(size: Size): number {
    return size === "dw" ? this.wideReg() : this.reg().n;
  }

  protected sameWidth(dst: Reg, what: string): number {
    const at = this.token;
    const reg = this.reg();
    if (reg.wide !== dst.wide) {
      throw this.failure(
        "ASM007",
        `the ${what} must be as wide as the first register: expected \`${dst.wide ? "r" : "w"}${reg.n}\``,
        at,
      );
    }
    return reg.n;
  }

  protected sameReg(dst: Reg): void {
    const at = this.token;
    if (this.sameWidth(dst, "operand") !== dst.n) {
      throw this.failure("ASM007", `this instruction works in place: expected \`${dst.wide ? "r" : "w"}${dst.n}\``, at);
    }
  }

  protected number(token: Token): bigint {
    if (!/^(?:\d{1,20}|0[xX][0-9a-fA-F]{1,16})$/.test(token.text)) {
      const at = token.text.length > 40 ? `${token.text.slice(0, 40)}…` : token.text;
      throw this.failure("ASM002", `expected a number (decimal or 0x hex, at most 64 bits), got \`${at}\``, token);
    }
    return BigInt(token.text);
  }

  /** `5`, `-5`, `+5`, `0x5`: as s32, so that any32 wraps. */
  protected imm(range: Range): number {
    const sign = this.token;
    const signed = sign.kind === "op" && (sign.text === "-" || sign.text === "+");
    if (signed) this.take();
    if (this.token.kind !== "num") throw this.expected("a number");
    const token = this.take();
    const magnitude = this.number(token);
    const at = signed ? { ...token, start: sign.start } : token;
    const help =
      range === s32 && magnitude > s32.max && magnitude <= any32.max
        ? "an immediate is sign-extended from 32 bits: load it with `rN = 0x…` first"
        : undefined;
    return this.range(sign.text === "-" ? -magnitude : magnitude, range, at, help);
  }

  /** A number with its sign: `+8`, `- 8`. */
  protected displacement(range: Range): number {
    if (this.token.kind !== "op" || (this.token.text !== "+" && this.token.text !== "-")) {
      throw this.expected("`+` or `-` and an offset");
    }
    // `skb[r6 + -5]`: the kernel prints the sign of the number behind its own plus.
    const plus = this.token;
    const line = this.lexer.line;
    if (plus.text === "+" && /^\s*-/.test(line.slice(plus.end, plus.end + 8))) this.take();
    return this.imm(range);
  }

  protected range(value: bigint, range: Range, at: { start: number; end: number }, help?: string): number {
    if (value < range.min || value > range.max) {
      throw this.failure(
        "ASM002",
        `expected a ${range.what} number (${range.min} to ${range.max}), got ${value}`,
        at,
        help,
      );
    }
    return Number(BigInt.asIntN(32, value));
  }

  protected expected(what: string, detail?: string): SyntaxFailure {
    const more = detail === undefined ? "" : ` (${detail})`;
    return this.failure("ASM001", `expected ${what}${more}, got ${show(this.token)}`, this.token);
  }

  protected failure(code: string, message: string, at: { start: number; end: number }, help?: string): SyntaxFailure {
    return new SyntaxFailure(code, message, at, help);
  }
}

/** A token as messages quote it. */
export function show(token: Token): string {
  if (token.kind === "end") return "the end of the line";
  const text = token.text.length > 40 ? `${token.text.slice(0, 40)}…` : token.text;
  return `\`${token.kind === "hash" ? "#" : ""}${text}\``;
}
