/** Names of the probe's own variables, block by block. */
import type { Sym } from "./value.ts";

export class Scope {
  readonly parent: Scope | undefined;
  readonly #names = new Map<string, Sym>();

  constructor(parent?: Scope) {
    this.parent = parent;
  }

  /** False when the name is already taken in this very block. */
  declare(sym: Sym): boolean {
    if (this.#names.has(sym.name)) return false;
    this.#names.set(sym.name, sym);
    return true;
  }

  find(name: string): Sym | undefined {
    let at: Scope | undefined = this;
    while (at !== undefined) {
      const sym = at.#names.get(name);
      if (sym !== undefined) return sym;
      at = at.parent;
    }
    return undefined;
  }

  *names(): Generator<string> {
    let at: Scope | undefined = this;
    while (at !== undefined) {
      yield* at.#names.keys();
      at = at.parent;
    }
  }
}
