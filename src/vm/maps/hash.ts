/** Hash tables: kernel/bpf/hashtab.c without its locks. */
import type { MapSpec } from "../../elf/spec.ts";
import { BPF_F } from "../../uapi/index.ts";
import type { Block, BlockOwner } from "../memory.ts";
import { E2BIG, EINVAL, ENOENT, LazyRegions, type MapHost, VmMap, roundUp8 } from "./map.ts";

/** New elements beyond max_entries that a map without preallocation makes before it uses old memory again. */
const SLACK = 256;
const CHUNK_BYTES = 64 * 1024;
/** In front of every element: the address of the next one in its bucket, and its index. */
export const LINK = 8;

/**
 * Elements (key, then value) lie in chunks of the VM's memory and never move. An element that is replaced or
 * deleted keeps its bytes until it is used again, as in the kernel: old pointers read the old value.
 */
export class HashMap extends VmMap implements BlockOwner {
  readonly stride: number;
  readonly valueOffset: number;
  readonly #chunkShift: number;
  readonly #chunks: number[] = [];
  /** Two words that compiled code reads: the address of the buckets, and their number less 1. */
  readonly table: number;
  #buckets: Block;
  #mask = 15;
  protected live = new Uint8Array(16);
  #free: number[] = [];
  #fresh = 0;
  #count = 0;
  /** The spare element that a preallocated map swaps in on a replacement. */
  #extra = -1;
  readonly #prealloc: boolean;
  readonly #regions: LazyRegions;

  constructor(host: MapHost, spec: MapSpec, id: number) {
    super(host, spec, id);
    this.valueOffset = roundUp8(spec.keySize);
    this.stride = LINK + this.valueOffset + roundUp8(spec.valueSize) * this.copies;
    this.#chunkShift = Math.max(
      0,
      31 - Math.clz32(Math.max(1, Math.min(CHUNK_BYTES / this.stride, 2 * spec.maxEntries))),
    );
    this.#prealloc = (spec.flags & BPF_F.NO_PREALLOC) === 0;
    this.#regions = new LazyRegions(this.memory);
    this.table = this.memory.alloc(8, "mem", `map ${spec.name}`, 0).base;
    this.#buckets = this.memory.alloc((this.#mask + 1) * 4, "mem", `the buckets of map ${spec.name}`, 0);
    this.#showTable();
  }

  #showTable(): void {
    this.memory.view.setUint32(this.table, this.#buckets.base, true);
    this.memory.view.setUint32(this.table + 4, this.#mask, true);
  }

  protected get copies(): number {
    return 1;
  }
  /** How many entries it has. */
  get size(): number {
    return this.#count;
  }

  /** Address of an element: its key. */
  element(index: number): number {
    return this.#chunks[index >> this.#chunkShift]! + (index & ((1 << this.#chunkShift) - 1)) * this.stride + LINK;
  }
  /** Address of an element's value for the current CPU. */
  valueAddress(index: number): number {
    return this.element(index) + this.valueOffset;
  }

  override regionAt(address: number): number {
    const chunk = this.#chunks.findIndex(
      (base) => address >= base && address < base + (this.stride << this.#chunkShift),
    );
    if (chunk < 0) return 0;
    const within = Math.floor((address - this.#chunks[chunk]!) / this.stride);
    const index = (chunk << this.#chunkShift) + within;
    const size = roundUp8(this.spec.valueSize);
    const first = this.element(index) + this.valueOffset;
    const copy = Math.floor((address - first) / size);
    if (copy < 0 || address >= first + copy * size + this.spec.valueSize) return 0;
    return this.#regions.get(
      index * this.copies + copy,
      first + copy * size,
      this.spec.valueSize,
      () => `a value of map ${this.name}${this.copies > 1 ? ` on CPU ${copy}` : ""}`,
      this.access,
    );
  }

  /** Compiled code computes the same. */
  #hash(key: number): number {
    const { view, u8 } = this.memory;
    const { keySize } = this.spec;
    let h = keySize;
    let i = 0;
    for (; i + 4 <= keySize; i += 4) {
      h = Math.imul(h ^ view.getInt32(key + i, true), 0x9e37_79b1);
      h ^= h >>> 15;
    }
    for (; i < keySize; i++) h = Math.imul(h ^ u8[key + i]!, 0x0100_0193);
    h = Math.imul(h ^ (h >>> 13), 0x85eb_ca6b);
    return h ^ (h >>> 16);
  }

  /** Index of the element with the key at `key`, or -1. */
  find(key: number): number {
    const { view, u8 } = this.memory;
    const { keySize } = this.spec;
    let at = view.getUint32(this.#buckets.base + (this.#hash(key) & this.#mask) * 4, true);
    // A program that compiled code does not check may have destroyed the links: then it ends at some point.
    search: for (let steps = 0; at !== 0 && steps <= this.#fresh; steps++) {
      let i = 0;
      for (; i + 4 <= keySize; i += 4) {
        if (view.getInt32(at + i, true) !== view.getInt32(key + i, true)) {
          at = view.getUint32(at - LINK, true);
          continue search;
        }
      }
      for (; i < keySize; i++) {
        if (u8[at + i] !== u8[key + i]) {
          at = view.getUint32(at - LINK, true);
          continue search;
        }
      }
      return view.getInt32(at - LINK + 4, true);
    }
    return -1;
  }

  /** A new element index whose memory exists. */
  protected fresh(): number {
    const index = this.#fresh++;
    if (index >> this.#chunkShift === this.#chunks.length) {
      const block = this.memory.allocOwned(this.stride << this.#chunkShift, "map value", `map ${this.name}`, this);
      this.#chunks.push(block.base);
    }
    this.memory.view.setInt32(this.element(index) - LINK + 4, index, true);
    if (index >= this.live.length) {
      const live = new Uint8Array(this.live.length * 2);
      live.set(this.live);
      this.live = live;
    }
    return index;
  }

  #take(): number {
    if (this.#prealloc || this.#fresh >= this.spec.maxEntries + SLACK) {
      const used = this.#prealloc ? this.#free.pop() : this.#free.shift();
      if (used !== undefined) return used;
    }
    return this.fresh();
  }

  /** Writes the key and puts the element into its bucket. */
  protected link(index: number, key: number): void {
    const element = this.element(index);
    this.memory.u8.copyWithin(element, key, key + this.spec.keySize);
    if (this.#count > this.#mask) this.#rehash();
    this.#intoBucket(element);
    this.live[index] = 1;
    this.#count++;
  }

  /** Address of the word that has the first element of the bucket of this one. */
  #bucketOf(element: number): number {
    return this.#buckets.base + (this.#hash(element) & this.#mask) * 4;
  }
  #intoBucket(element: number): void {
    const { view } = this.memory;
    const bucket = this.#bucketOf(element);
    view.setUint32(element - LINK, view.getUint32(bucket, true), true);
    view.setUint32(bucket, element, true);
  }

  protected unlink(index: number): void {
    const { view } = this.memory;
    const element = this.element(index);
    let link = this.#bucketOf(element);
    for (let at = view.getUint32(link, true); at !== element && at !== 0; at = view.getUint32(link, true)) {
      link = at - LINK;
    }
    view.setUint32(link, view.getUint32(element - LINK, true), true);
    this.live[index] = 0;
    this.#count--;
  }

  #rehash(): void {
    this.memory.release(this.#buckets);
    this.#mask = this.#mask * 4 + 3;
    this.#buckets = this.memory.alloc((this.#mask + 1) * 4, "mem", `the buckets of map ${this.name}`, 0);
    this.#showTable();
    for (let i = 0; i < this.#fresh; i++) if (this.live[i] === 1) this.#intoBucket(this.element(i));
  }

  protected writeValue(index: number, value: number): void {
    const at = this.valueAddress(index);
    this.memory.u8.copyWithin(at, value, value + this.spec.valueSize);
  }

  override lookupAt(key: number): number {
    const index = this.find(key);
    return index < 0 ? 0 : this.valueAddress(index);
  }

  override updateAt(key: number, value: number, flags: number): number {
    const bad = this.badFlags(flags);
    if (bad !== 0) return bad;
    const old = this.find(key);
    const error = this.checkFlags(flags, old >= 0);
    if (error !== 0) return error;
    if (old < 0) {
      if (this.#count >= this.spec.maxEntries) return E2BIG;
      const index = this.#take();
      this.writeValue(index, value);
      this.link(index, key);
      return 0;
    }
    let index: number;
    if (this.#prealloc) {
      index = this.#extra < 0 ? this.fresh() : this.#extra;
      this.#extra = old;
    } else {
      index = this.#take();
      this.#free.push(old);
    }
    // The value may lie in the element that is replaced.
    this.writeValue(index, value);
    const saved = this.element(index);
    this.memory.u8.copyWithin(saved, key, key + this.spec.keySize);
    this.unlink(old);
    this.link(index, saved);
    return 0;
  }

  override deleteAt(key: number): number {
    const index = this.find(key);
    if (index < 0) return ENOENT;
    this.unlink(index);
    this.giveBack(index);
    return 0;
  }
  protected giveBack(index: number): void {
    this.#free.push(index);
  }

  override nextKey(key?: Uint8Array): Uint8Array | undefined {
    const from = key === undefined ? -1 : this.find(this.key(key));
    for (let i = from + 1; i < this.#fresh; i++) {
      if (this.live[i] === 1) return this.memory.copy(this.element(i), this.spec.keySize);
    }
    return undefined;
  }
  override *entriesAt(): Iterator<readonly [number, number]> {
    for (let i = 0; i < this.#fresh; i++) if (this.live[i] === 1) yield [this.element(i), this.valueAddress(i)];
  }
}

/** BPF_MAP_TYPE_PERCPU_HASH: a replacement writes in place, and only the current CPU's value. */
export class PerCpuHashMap extends HashMap {
  protected override get copies(): number {
    return this.host.world.cpus;
  }
  override get isPerCpu(): boolean {
    return true;
  }
  override get userValueSize(): number {
    return roundUp8(this.spec.valueSize) * this.host.world.cpus;
  }
  override valueAddress(index: number): number {
    return this.element(index) + this.valueOffset + this.host.world.cpu * roundUp8(this.spec.valueSize);
  }
  override lookupPerCpuAt(key: number, cpu: number): number {
    const index = this.find(key);
    if (index < 0 || cpu >= this.host.world.cpus) return 0;
    return this.element(index) + this.valueOffset + cpu * roundUp8(this.spec.valueSize);
  }
  /** Writes the value of a new element: zeros for the other CPUs. */
  protected override writeValue(index: number, value: number): void {
    const first = this.element(index) + this.valueOffset;
    this.memory.u8.fill(0, first, first + this.userValueSize);
    super.writeValue(index, value);
  }
  override updateAt(key: number, value: number, flags: number): number {
    const index = this.find(key);
    if (index < 0 || this.checkFlags(flags, true) !== 0) return super.updateAt(key, value, flags);
    this.memory.u8.copyWithin(this.valueAddress(index), value, value + this.spec.valueSize);
    return 0;
  }
  override lookup(key: Uint8Array): Uint8Array | undefined {
    const at = this.lookupPerCpuAt(this.key(key), 0);
    return at === 0 ? undefined : this.memory.copy(at, this.userValueSize);
  }
  override update(key: Uint8Array, value: Uint8Array, flags = 0): number {
    if (this.lockless(flags)) return EINVAL;
    const at = this.key(key);
    const from = this.value(value);
    const error = this.updateAt(at, from, flags);
    if (error !== 0) return error;
    const first = this.lookupPerCpuAt(at, 0);
    this.memory.u8.copyWithin(first, from, from + this.userValueSize);
    return 0;
  }
}
