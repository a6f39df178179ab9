/** Unions of string literals: a value that is one of a few texts known at compile time is a number in a register. */
import type { Fn } from "./context.ts";
import type { Ast } from "./ast.ts";
import type { LiteralType } from "./types.ts";
import type { ScalarVal } from "./value.ts";

/** The texts that a value may be; those of values that meet become one set. */
export class Texts {
  readonly #set: Set<string>;
  #closed = false;
  #parent: Texts | undefined;

  constructor(texts: Iterable<string> = []) {
    this.#set = new Set(texts);
  }

  #root(): Texts {
    return this.#parent === undefined ? this : this.#parent.#root();
  }

  /** Makes both the same set; false when one of them was written out already and would get more. */
  merge(other: Texts): boolean {
    const a = this.#root();
    const b = other.#root();
    if (a === b) return true;
    const fits = (open: Texts, more: Texts): boolean =>
      !open.#closed || [...more.#set].every((text) => open.#set.has(text));
    if (!fits(a, b) || !fits(b, a)) return false;
    for (const text of b.#set) a.#set.add(text);
    a.#closed ||= b.#closed;
    b.#parent = a;
    return true;
  }

  get list(): readonly string[] {
    return [...this.#root().#set];
  }

  /** Every text, of which there must be no more from now on. */
  close(): readonly string[] {
    const root = this.#root();
    root.#closed = true;
    return this.list;
  }
}

/** A text known at compile time as a value of a union. */
export function literal(fn: Fn, text: string): ScalarVal {
  const type: LiteralType = { k: "literal", texts: new Texts([text]) };
  return { k: "scalar", type, v: fn.b.int(fn.module.textNumber(text)) };
}

/** Runs `use` for the text that `v` is. */
export function eachText(
  fn: Fn,
  v: ScalarVal & { readonly type: LiteralType },
  node: Ast,
  use: (text: string) => void,
): void {
  const { b } = fn;
  const texts = v.type.texts.close();
  const end = b.block("text");
  for (const [i, text] of texts.entries()) {
    if (i < texts.length - 1) {
      const it = b.block("text");
      const next = b.block("text");
      b.br("eq", v.v, fn.module.textNumber(text), it, next);
      b.at(it);
      use(text);
      b.jmp(end);
      b.at(next);
    } else {
      use(text);
      b.jmp(end);
    }
  }
  fn.mark(node);
  b.at(end);
}
