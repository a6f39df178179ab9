/** Names for a C header: BTF can have several types of one name, C cannot. */
import { decodeUtf8 } from "../core/bytes.ts";
import type { Btf } from "./btf.ts";
import { BTF_KIND } from "./kinds.ts";

const K = BTF_KIND;

/** Gives every tag and typedef a name of its own: the second `foo` is `foo___2`, a CO-RE flavour of the first. */
export class CNames {
  readonly #btf: Btf;
  /** Names of types that could not keep theirs. */
  readonly #renamed = new Map<number, string>();
  readonly #ordinary = new Set<string>();
  /** By string offset: 1 when a typedef or an enumerator has the name. */
  #used: Uint8Array | undefined;
  /** Strings of the table that look like made-up names. */
  #suffixed: Set<string> | undefined;
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

  /**
   * Whether the name at `offset` is used for the first time, by an enumerator or a typedef. Each string
   * is in the table once, so its offset stands for it.
   */
  firstEnumerator(owner: Btf, offset: number): boolean {
    if (this.#used === undefined) {
      this.#used = new Uint8Array(this.#btf.strings.end);
      for (let id = 1; id < this.#btf.typeCount; id++) {
        if (this.#btf.kindOf(id) !== K.TYPEDEF) continue;
        const typedef = this.#btf.owner(id);
        this.#used[typedef.words[typedef.wordOf(id)]!] = 1;
      }
    }
    if (offset >= owner.strings.end) return true;
    if (this.#used[offset] === 1) return false;
    this.#used[offset] = 1;
    return true;
  }

  /** A name for an enumerator whose own is taken. */
  enumerator(name: string): string {
    for (;;) {
      const unique = this.#unique(name, this.#ordinary);
      this.#ordinary.add(unique);
      // Another type's own name could be the one that was made up.
      this.#suffixed ??= suffixedStrings(this.#btf);
      if (!this.#suffixed.has(unique)) return unique;
    }
  }

  /** The first `name___N` that is free; N goes on where the last search for the name ended. */
  #unique(name: string, taken: { has(name: string): boolean }): string {
    let n = this.#next.get(name) ?? 2;
    while (taken.has(`${name}___${n}`)) n++;
    this.#next.set(name, n + 1);
    return `${name}___${n}`;
  }
}

/** Strings with `___` in them: only they can be what `unique` makes. */
function suffixedStrings(btf: Btf): Set<string> {
  const found = new Set<string>();
  for (let owner: Btf | undefined = btf; owner !== undefined; owner = owner.base) {
    const text = owner.strings.text() ?? decodeUtf8(owner.strings.bytes);
    for (let at = text.indexOf("___"); at >= 0;) {
      const end = text.indexOf("\0", at);
      found.add(text.slice(text.lastIndexOf("\0", at) + 1, end));
      at = text.indexOf("___", end);
    }
  }
  return found;
}
