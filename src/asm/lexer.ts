/** Tokens of one line of assembler text. Linear in the line's length whatever it holds. */

/** "end" is the end of the line (or a comment). "hash" is `#` with the word behind it. */
export interface Token {
  readonly kind: "id" | "num" | "op" | "hash" | "end" | "bad";
  readonly text: string;
  /** Columns from 0, the end exclusive. */
  readonly start: number;
  readonly end: number;
}

// Longest first where one begins another.
const OPS = [
  "s>>=",
  "s>=",
  "s<=",
  "s/=",
  "s%=",
  ">>=",
  "<<=",
  "s>",
  "s<",
  "+=",
  "-=",
  "*=",
  "/=",
  "|=",
  "&=",
  "%=",
  "^=",
  "==",
  "!=",
  ">=",
  "<=",
];
const SINGLE = "=+-*&<>()[],:";

const isDigit = (c: number): boolean => c >= 48 && c <= 57;
const isIdStart = (c: number): boolean =>
  (c >= 97 && c <= 122) || (c >= 65 && c <= 90) || c === 95 || c === 36 || c === 46;
const isId = (c: number): boolean => isIdStart(c) || isDigit(c);
const isSpace = (c: number): boolean => c === 32 || c === 9 || c === 13 || c === 12 || c === 11;

/** A cursor over a line. `token` is the current token. */
export class Lexer {
  readonly line: string;
  token: Token;
  #pos: number;

  constructor(line: string, start = 0) {
    this.line = line;
    this.#pos = start;
    this.token = this.#scan();
  }

  /** Moves to the next token and returns the one left behind. */
  next(): Token {
    const token = this.token;
    this.token = this.#scan();
    return token;
  }

  /** With `[` as the current token: the text up to `]`, past which the cursor moves; undefined when there is none. */
  bracket(): Token | undefined {
    const start = this.token.end;
    const end = this.line.indexOf("]", start);
    if (end < 0) return undefined;
    this.#pos = end + 1;
    this.token = this.#scan();
    return { kind: "id", text: this.line.slice(start, end).trim(), start, end };
  }

  #scan(): Token {
    const { line } = this;
    let at = this.#pos;
    while (at < line.length && isSpace(line.charCodeAt(at))) at++;
    const c = line.charCodeAt(at);
    if (at >= line.length || c === 59 || (c === 47 && line.charCodeAt(at + 1) === 47)) {
      this.#pos = line.length;
      return { kind: "end", text: "", start: at, end: Math.max(at, Math.min(at + 1, line.length)) };
    }
    if (isDigit(c)) return this.#word("num", at, at + 1);
    if (c === 35) return this.#hash(at);
    for (const text of OPS) {
      if (line.startsWith(text, at)) return this.#take("op", text, at);
    }
    if (isIdStart(c)) return this.#word("id", at, at + 1);
    if (SINGLE.includes(line[at]!)) return this.#take("op", line[at]!, at);
    // A whole code point, so that a message shows a character and not half of one.
    return this.#take("bad", String.fromCodePoint(line.codePointAt(at)!), at);
  }

  #take(kind: Token["kind"], text: string, start: number): Token {
    this.#pos = start + text.length;
    return { kind, text, start, end: this.#pos };
  }

  #word(kind: "id" | "num", start: number, from: number): Token {
    let end = from;
    while (end < this.line.length && isId(this.line.charCodeAt(end))) end++;
    return this.#take(kind, this.line.slice(start, end), start);
  }

  #hash(start: number): Token {
    let end = start + 1;
    while (end < this.line.length && !isSpace(this.line.charCodeAt(end)) && this.line.charCodeAt(end) !== 59) end++;
    this.#pos = end;
    return { kind: "hash", text: this.line.slice(start + 1, end), start, end };
  }
}
