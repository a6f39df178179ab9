/** BPF_MAP_TYPE_LPM_TRIE: a binary trie, one node a bit. */
import type { MapSpec } from "../../elf/spec.ts";
import type { Block, BlockOwner } from "../memory.ts";
import { EINVAL, ENOENT, ENOSPC, LazyRegions, type MapHost, VmMap, roundUp8 } from "./map.ts";

export class LpmTrieMap extends VmMap implements BlockOwner {
  /** Children by bit (0 = none), and the entry at the node plus 1. Node 1 is the root. */
  #children = new Int32Array(128);
  #entry = new Int32Array(64);
  #nodes = 2;
  readonly #maxPrefix: number;
  readonly #stride: number;
  /** Address of each entry: key, then value. */
  readonly #at: number[] = [];
  readonly #blocks: Block[] = [];
  #free: number[] = [];
  #count = 0;
  readonly #regions: LazyRegions;

  constructor(host: MapHost, spec: MapSpec, id: number) {
    super(host, spec, id);
    this.#maxPrefix = (spec.keySize - 4) * 8;
    this.#stride = roundUp8(spec.keySize) + roundUp8(spec.valueSize);
    this.#regions = new LazyRegions(this.memory);
  }
  get size(): number {
    return this.#count;
  }

  override regionAt(address: number): number {
    const index = this.#blocks.findIndex((b) => address >= b.base && address < b.base + b.size);
    const value = index < 0 ? 0 : this.#at[index]! + roundUp8(this.spec.keySize);
    if (index < 0 || address < value || address >= value + this.spec.valueSize) return 0;
    return this.#regions.get(index, value, this.spec.valueSize, () => `a value of map ${this.name}`, this.access);
  }

  #bit(key: number, i: number): number {
    return (this.memory.u8[key + 4 + (i >> 3)]! >> (7 - (i & 7))) & 1;
  }
  #prefix(key: number): number {
    return this.memory.view.getUint32(key, true);
  }

  override lookupAt(key: number): number {
    const length = this.#prefix(key);
    if (length > this.#maxPrefix) return 0;
    let found = 0;
    let node = 1;
    for (let i = 0; node !== 0; i++) {
      if (this.#entry[node] !== 0) found = this.#entry[node]!;
      if (i === length) break;
      node = this.#children[node * 2 + this.#bit(key, i)]!;
    }
    return found === 0 ? 0 : this.#at[found - 1]! + roundUp8(this.spec.keySize);
  }

  /** The node of exactly this prefix; makes the way to it when `make`. 0 when there is none. */
  #node(key: number, length: number, make: boolean): number {
    let node = 1;
    for (let i = 0; i < length; i++) {
      const slot = node * 2 + this.#bit(key, i);
      let next = this.#children[slot]!;
      if (next === 0) {
        if (!make) return 0;
        next = this.#newNode();
        this.#children[slot] = next;
      }
      node = next;
    }
    return node;
  }
  #newNode(): number {
    const node = this.#nodes++;
    if (node >= this.#entry.length) {
      const entry = new Int32Array(this.#entry.length * 2);
      entry.set(this.#entry);
      this.#entry = entry;
      const children = new Int32Array(entry.length * 2);
      children.set(this.#children);
      this.#children = children;
    }
    return node;
  }

  override updateAt(key: number, value: number, flags: number): number {
    if (flags >>> 0 > 2) return EINVAL;
    const length = this.#prefix(key);
    if (length > this.#maxPrefix) return EINVAL;
    const old = this.#node(key, length, false);
    const exists = old !== 0 && this.#entry[old] !== 0;
    const error = this.checkFlags(flags, exists);
    if (error !== 0) return error;
    if (!exists && this.#count >= this.spec.maxEntries) return ENOSPC;
    // A replacement is a new entry; pointers to the old one read the old value.
    let index = this.#free.length > 64 ? this.#free.shift() : undefined;
    if (index === undefined) {
      const block = this.memory.allocOwned(this.#stride, "map value", `map ${this.name}`, this);
      index = this.#blocks.push(block) - 1;
      this.#at[index] = block.base;
    }
    const at = this.#at[index]!;
    this.memory.u8.copyWithin(at, key, key + this.spec.keySize);
    this.memory.u8.copyWithin(at + roundUp8(this.spec.keySize), value, value + this.spec.valueSize);
    const node = this.#node(key, length, true);
    if (exists) this.#free.push(this.#entry[node]! - 1);
    else this.#count++;
    this.#entry[node] = index + 1;
    return 0;
  }

  override deleteAt(key: number): number {
    const length = this.#prefix(key);
    if (length > this.#maxPrefix) return EINVAL;
    const node = this.#node(key, length, false);
    if (node === 0 || this.#entry[node] === 0) return ENOENT;
    this.#free.push(this.#entry[node]! - 1);
    this.#entry[node] = 0;
    this.#count--;
    return 0;
  }

  /** Entries in the kernel's order: longer prefixes before the shorter ones that hold them. */
  *#walk(node: number): Generator<number> {
    for (const bit of [0, 1]) {
      const child = this.#children[node * 2 + bit]!;
      if (child !== 0) yield* this.#walk(child);
    }
    if (this.#entry[node] !== 0) yield this.#at[this.#entry[node]! - 1]!;
  }

  override nextKey(key?: Uint8Array): Uint8Array | undefined {
    const all = [...this.#walk(1)];
    let from = -1;
    if (key !== undefined) {
      const at = this.key(key);
      const node = this.#prefix(at) > this.#maxPrefix ? 0 : this.#node(at, this.#prefix(at), false);
      if (node !== 0 && this.#entry[node] !== 0) from = all.indexOf(this.#at[this.#entry[node]! - 1]!);
    }
    const next = all[from + 1];
    return next === undefined ? undefined : this.memory.copy(next, this.spec.keySize);
  }
  override keys(): Uint8Array[] {
    return [...this.#walk(1)].map((at) => this.memory.copy(at, this.spec.keySize));
  }
}
