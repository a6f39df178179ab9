/** Queues, stacks and Bloom filters: maps without keys. */
import type { MapSpec } from "../../elf/spec.ts";
import { BPF_F } from "../../uapi/index.ts";
import type { Block } from "../memory.ts";
import { jhash, jhash2 } from "./jhash.ts";
import { BPF_EXIST, BPF_NOEXIST, E2BIG, EINVAL, ENOENT, EOPNOTSUPP, type MapHost, VmMap } from "./map.ts";

abstract class KeylessMap extends VmMap {
  override lookupAt(_key: number): number {
    return 0;
  }
  override updateAt(_key: number, _value: number, _flags: number): number {
    return EINVAL;
  }
  override deleteAt(_key: number): number {
    return EINVAL;
  }
}

/** BPF_MAP_TYPE_QUEUE and BPF_MAP_TYPE_STACK. */
export class QueueStackMap extends KeylessMap {
  readonly #block: Block;
  readonly #stack: boolean;
  #first = 0;
  #count = 0;

  constructor(host: MapHost, spec: MapSpec, id: number, stack: boolean) {
    super(host, spec, id);
    this.#stack = stack;
    this.#block = this.memory.alloc(spec.valueSize * spec.maxEntries, "mem", `map ${spec.name}`, 0);
  }
  get size(): number {
    return this.#count;
  }

  #slot(i: number): number {
    return this.#block.base + ((this.#first + i) % this.spec.maxEntries) * this.spec.valueSize;
  }

  override pushAt(value: number, flags: number): number {
    if ((flags & BPF_NOEXIST) !== 0 || flags >>> 0 > BPF_EXIST) return EINVAL;
    if (this.#count === this.spec.maxEntries) {
      if (flags !== BPF_EXIST) return E2BIG;
      this.#first = (this.#first + 1) % this.spec.maxEntries;
      this.#count--;
    }
    this.memory.u8.copyWithin(this.#slot(this.#count), value, value + this.spec.valueSize);
    this.#count++;
    return 0;
  }
  override peekAt(value: number): number {
    if (this.#count === 0) {
      this.memory.u8.fill(0, value, value + this.spec.valueSize);
      return ENOENT;
    }
    const from = this.#slot(this.#stack ? this.#count - 1 : 0);
    this.memory.u8.copyWithin(value, from, from + this.spec.valueSize);
    return 0;
  }
  override popAt(value: number): number {
    const error = this.peekAt(value);
    if (error !== 0) return error;
    this.#count--;
    if (!this.#stack) this.#first = (this.#first + 1) % this.spec.maxEntries;
    return 0;
  }
}

/** BPF_MAP_TYPE_BLOOM_FILTER. The kernel's hashes: with BPF_F_ZERO_SEED the false positives are the kernel's, too. */
export class BloomFilterMap extends KeylessMap {
  readonly #bits: Uint32Array;
  readonly #mask: number;
  readonly #hashes: number;
  readonly #seed: number;

  constructor(host: MapHost, spec: MapSpec, id: number) {
    super(host, spec, id);
    this.#hashes = Number(spec.mapExtra & 0xfn) || 5;
    // k = m/n × ln 2, with 7/5 for 1/ln 2, and a power of two of bits.
    const wanted =
      Math.floor((spec.maxEntries * this.#hashes) / 5) * 7 +
      Math.floor((((spec.maxEntries * this.#hashes) % 5) * 7) / 5);
    let bits = 64;
    while (bits < wanted) bits *= 2;
    this.#mask = bits - 1;
    this.#bits = new Uint32Array(bits / 32);
    this.#seed = (spec.flags & BPF_F.ZERO_SEED) !== 0 ? 0 : 0x5eed;
  }

  #hash(value: number, i: number): number {
    const { valueSize } = this.spec;
    const { view } = this.memory;
    const hash =
      valueSize % 4 === 0
        ? jhash2(view, value, valueSize / 4, (this.#seed + i) | 0)
        : jhash(view, value, valueSize, (this.#seed + i) | 0);
    return (hash & this.#mask) >>> 0;
  }
  override pushAt(value: number, flags: number): number {
    if (flags !== 0) return EINVAL;
    for (let i = 0; i < this.#hashes; i++) {
      const h = this.#hash(value, i);
      this.#bits[h >>> 5]! |= 1 << (h & 31);
    }
    return 0;
  }
  override peekAt(value: number): number {
    for (let i = 0; i < this.#hashes; i++) {
      const h = this.#hash(value, i);
      if ((this.#bits[h >>> 5]! & (1 << (h & 31))) === 0) return ENOENT;
    }
    return 0;
  }
  override popAt(_value: number): number {
    return EOPNOTSUPP;
  }
}
