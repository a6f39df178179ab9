/** What every map has: the kernel's operations on addresses (for programs) and on bytes (for tests). */
import { ArgumentError } from "../../core/errors.ts";
import type { MapSpec } from "../../elf/spec.ts";
import { BPF_F, ERRNO, MAP_TYPES } from "../../uapi/index.ts";
import { type Block, MAP_BASE, MAP_STRIDE, READ, type VmMemory, WRITE } from "../memory.ts";
import type { World } from "../world.ts";

export interface MapHost {
  readonly memory: VmMemory;
  readonly world: World;
}

export const EINVAL = -ERRNO.EINVAL;
export const E2BIG = -ERRNO.E2BIG;
export const EEXIST = -ERRNO.EEXIST;
export const ENOENT = -ERRNO.ENOENT;
export const ENOSPC = -ERRNO.ENOSPC;
export const ENOMEM = -ERRNO.ENOMEM;
export const EOPNOTSUPP = -ERRNO.EOPNOTSUPP;
const ENOTSUPP = -524;

export const BPF_NOEXIST = 1;
export const BPF_EXIST = 2;
export const BPF_F_LOCK = 4;

export const roundUp8 = (n: number): number => Math.ceil(n / 8) * 8;

/**
 * A map. Programs use the methods that end in `At`: keys and values are addresses in the VM's memory, results
 * an address (0 for NULL) or a negative errno, as the kernel's. Tests use those that take bytes; `lookup` of a
 * per-CPU map gives all CPUs' values one after the other, each padded to a multiple of 8, as bpf(2) does.
 */
export abstract class VmMap {
  readonly spec: MapSpec;
  readonly host: MapHost;
  readonly memory: VmMemory;
  readonly id: number;
  readonly #scratch: Block;

  constructor(host: MapHost, spec: MapSpec, id: number) {
    this.host = host;
    this.memory = host.memory;
    this.spec = spec;
    this.id = id;
    this.#scratch = this.memory.alloc(
      roundUp8(spec.keySize) + roundUp8(this.userValueSize) + 16,
      "mem",
      `a buffer of map ${spec.name}`,
    );
  }

  get name(): string {
    return this.spec.name;
  }
  get typeName(): string {
    return MAP_TYPES.find((row) => row.id === this.spec.type)?.name ?? String(this.spec.type);
  }
  /** What a pointer to this map looks like to a program. */
  get pointer(): number {
    return MAP_BASE + this.id * MAP_STRIDE;
  }
  /** Bytes of a value for user space. */
  get userValueSize(): number {
    return this.spec.valueSize;
  }
  get isPerCpu(): boolean {
    return false;
  }
  /** How programs may access values. */
  get access(): number {
    if ((this.spec.flags & BPF_F.RDONLY_PROG) !== 0) return READ;
    return (this.spec.flags & BPF_F.WRONLY_PROG) !== 0 ? WRITE : READ | WRITE;
  }

  /** Address of the value of the key at `key`, or 0. */
  abstract lookupAt(key: number): number;
  abstract updateAt(key: number, value: number, flags: number): number;
  abstract deleteAt(key: number): number;
  /** Region of the value at `address`: what a pointer to it may reach. */
  regionAt(address: number): number {
    return this.memory.regionAt(address);
  }
  pushAt(_value: number, _flags: number): number {
    return ENOTSUPP;
  }
  popAt(_value: number): number {
    return ENOTSUPP;
  }
  peekAt(_value: number): number {
    return ENOTSUPP;
  }
  /** Address of CPU `cpu`'s value, or 0. */
  lookupPerCpuAt(_key: number, _cpu: number): number {
    return 0;
  }
  /** Writes the first 8 bytes of the key of the value at `value` to `to`. */
  keyOfValue(value: number, to: number): void {
    for (const [key, at] of { [Symbol.iterator]: () => this.entriesAt() ?? [][Symbol.iterator]() }) {
      if (at === value) return void this.memory.u8.copyWithin(to, key, key + Math.min(8, this.spec.keySize));
    }
  }
  /** Key and value addresses of every entry, for `bpf_for_each_map_elem`; undefined when the type has none. */
  entriesAt(): Iterator<readonly [key: number, value: number]> | undefined {
    return undefined;
  }

  // For tests.

  protected key(key: Uint8Array): number {
    if (key.length !== this.spec.keySize) {
      throw new ArgumentError("key", `map ${this.name}: expected ${this.spec.keySize} bytes, got ${key.length}`);
    }
    this.memory.u8.set(key, this.#scratch.base);
    return this.#scratch.base;
  }
  protected value(value: Uint8Array): number {
    if (value.length !== this.userValueSize) {
      throw new ArgumentError("value", `map ${this.name}: expected ${this.userValueSize} bytes, got ${value.length}`);
    }
    const at = this.valueScratch;
    this.memory.u8.set(value, at);
    return at;
  }
  protected get valueScratch(): number {
    return this.#scratch.base + roundUp8(this.spec.keySize);
  }
  protected get keyScratch(): number {
    return this.#scratch.base;
  }

  /** BPF_MAP_LOOKUP_ELEM: a copy of the value; undefined when there is none. */
  lookup(key: Uint8Array): Uint8Array | undefined {
    const at = this.lookupAt(this.key(key));
    return at === 0 ? undefined : this.memory.copy(at, this.spec.valueSize);
  }
  /** BPF_MAP_UPDATE_ELEM: 0 or -errno. `flags`: 0 any, 1 must not exist, 2 must exist. */
  update(key: Uint8Array, value: Uint8Array, flags = 0): number {
    if (this.lockless(flags)) return EINVAL;
    return this.updateAt(this.key(key), this.value(value), flags);
  }
  /** BPF_MAP_DELETE_ELEM: 0 or -errno. */
  delete(key: Uint8Array): number {
    return this.deleteAt(this.key(key));
  }
  /** BPF_MAP_GET_NEXT_KEY: undefined after the last. */
  nextKey(_key?: Uint8Array): Uint8Array | undefined {
    return undefined;
  }
  /** Keys in order. Deleting the current one is allowed. */
  keys(): Uint8Array[] {
    const keys: Uint8Array[] = [];
    for (let key = this.nextKey(); key !== undefined; key = this.nextKey(key)) keys.push(key);
    return keys;
  }
  /** Every key with its value. */
  entries(): [key: Uint8Array, value: Uint8Array][] {
    return this.keys().flatMap((key) => {
      const value = this.lookup(key);
      return value === undefined ? [] : [[key, value] as [Uint8Array, Uint8Array]];
    });
  }
  /** Adds to a queue, stack or Bloom filter: 0 or -errno. `flags` 2 replaces the oldest when full. */
  push(value: Uint8Array, flags = 0): number {
    return this.pushAt(this.value(value), flags);
  }
  pop(): Uint8Array | undefined {
    return this.popAt(this.valueScratch) === 0 ? this.memory.copy(this.valueScratch, this.spec.valueSize) : undefined;
  }
  peek(): Uint8Array | undefined {
    return this.peekAt(this.valueScratch) === 0 ? this.memory.copy(this.valueScratch, this.spec.valueSize) : undefined;
  }
  /** Bloom filter: may the value be in it? */
  has(value: Uint8Array): boolean {
    return this.peekAt(this.value(value)) === 0;
  }

  /** Flags of an update, and whether the entry exists: 0 or -errno. */
  protected checkFlags(flags: number, exists: boolean): number {
    const bad = this.badFlags(flags);
    if (bad !== 0) return bad;
    if (exists && (flags & ~BPF_F_LOCK) === BPF_NOEXIST) return EEXIST;
    return !exists && (flags & ~BPF_F_LOCK) === BPF_EXIST ? ENOENT : 0;
  }
  protected badFlags(flags: number): number {
    if ((flags & ~BPF_F_LOCK) >>> 0 > BPF_EXIST) return EINVAL;
    return this.lockless(flags) ? EINVAL : 0;
  }

  /** Only values with a bpf_spin_lock can be updated under it, and only BTF shows that they have one. */
  protected lockless(flags: number): boolean {
    return (flags & BPF_F_LOCK) !== 0 && this.spec.btfValueTypeId === 0;
  }

  /** The kernel refuses this operation for the type. */
  protected get notSupported(): number {
    return ENOTSUPP;
  }
}

/** A fresh id for each region of many values in one block, made when first asked for. */
export class LazyRegions {
  readonly #ids = new Map<number, number>();
  readonly #memory: VmMemory;
  constructor(memory: VmMemory) {
    this.#memory = memory;
  }
  get(index: number, base: number, size: number, name: () => string, access: number): number {
    let id = this.#ids.get(index);
    if (id === undefined) {
      id = this.#memory.addRegion(base, size, "map value", name(), access);
      this.#ids.set(index, id);
    }
    return id;
  }
}
