/** Names for a C header: BTF can have several types of one name, C cannot. */
import type { Btf } from "./btf.ts";
import { BTF_KIND } from "./kinds.ts";

const K = BTF_KIND;

/** Gives every tag and typedef a name of its own: the second `foo` is `foo___2`, a CO-RE flavour of the first. */
export class CNames {
  readonly #btf: Btf;
  /** Names of types that could not keep theirs. */
  readonly #renamed = new Map<number, string>();
  readonly #ordinary = new Set<string>();
  readonly #next = new Map<string, number>();
  /** First id of each tag, with its kind. */
  readonly #tags = new Map<string, number>();

  constructor(btf: Btf) {
    this.#btf = btf;
    const typedefs = new Set<string>();
    const again: { id: number; tag: boolean }[] = [];
    const forwards: number[] = [];
    for (let id = 1; id < btf.typeCount; id++) {
      switch (btf.kindOf(id)) {
        case K.STRUCT:
        case K.UNION:
        case K.ENUM:
        case K.ENUM64: {
          const name = btf.nameOf(id);
          if (name === "") break;
          if (this.#tags.has(name)) again.push({ id, tag: true });
          else this.#tags.set(name, id);
          break;
        }
        case K.FWD:
          forwards.push(id);
          break;
        case K.TYPEDEF: {
          const name = btf.nameOf(id);
          if (typedefs.has(name)) again.push({ id, tag: false });
          else typedefs.add(name);
          break;
        }
      }
    }
    for (const name of typedefs) this.#ordinary.add(name);
    for (const id of forwards) {
      const name = btf.nameOf(id);
      const same = this.#tags.get(name);
      if (same === undefined) this.#tags.set(name, id);
      else if (this.#tagWord(same) !== this.#tagWord(id)) again.push({ id, tag: true });
    }
    for (const { id, tag } of again) {
      const taken = tag ? this.#tags : this.#ordinary;
      const name = this.#unique(btf.nameOf(id), taken);
      this.#renamed.set(id, name);
      if (tag) this.#tags.set(name, id);
      else this.#ordinary.add(name);
    }
  }

  #tagWord(id: number): string {
    const btf = this.#btf;
    switch (btf.kindOf(id)) {
      case K.UNION:
        return "union";
      case K.FWD: {
        const owner = btf.owner(id);
        return owner.words[owner.wordOf(id) + 1]! >>> 31 === 1 ? "union" : "struct";
      }
      case K.STRUCT:
        return "struct";
      default:
        return "enum";
    }
  }

  /** The C name of a struct, union, enum, forward declaration or typedef. */
  of(id: number): string {
    return this.#renamed.get(id) ?? this.#btf.nameOf(id);
  }

  /** `struct`, `union` or `enum`. */
  tag(id: number): string {
    return this.#tagWord(id);
  }

  /** The name of an enumerator, made unique among enumerators and typedefs. */
  enumerator(name: string): string {
    const unique = this.#ordinary.has(name) ? this.#unique(name, this.#ordinary) : name;
    this.#ordinary.add(unique);
    return unique;
  }

  /** The first `name___N` that is free; N goes on where the last search for the name ended. */
  #unique(name: string, taken: { has(name: string): boolean }): string {
    let n = this.#next.get(name) ?? 2;
    while (taken.has(`${name}___${n}`)) n++;
    this.#next.set(name, n + 1);
    return `${name}___${n}`;
  }
}
