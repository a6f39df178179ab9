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
    return this.#names.get(name) ?? this.parent?.find(name);
  }

  *names(): Generator<string> {
    yield* this.#names.keys();
    if (this.parent !== undefined) yield* this.parent.names();
  }
}
