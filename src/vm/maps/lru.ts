/** LRU hash tables. BPF_F_NO_COMMON_LRU evicts as without the flag: its per-CPU order is left to the kernel. */
import type { MapSpec } from "../../elf/spec.ts";
import { HashMap, PerCpuHashMap } from "./hash.ts";
import { LruList } from "./lru-list.ts";
import { BPF_EXIST, ENOMEM, type MapHost } from "./map.ts";

/** BPF_MAP_TYPE_LRU_HASH. */
export class LruHashMap extends HashMap {
  readonly #lru: LruList;

  constructor(host: MapHost, spec: MapSpec, id: number) {
    super(host, spec, id);
    for (let i = 0; i < spec.maxEntries; i++) this.fresh();
    this.#lru = new LruList(spec.maxEntries, host.world.cpus, (node) => {
      if (this.live[node] === 0) return false;
      this.unlink(node);
      return true;
    });
  }

  /** A program's look-up counts as a use; one by bpf(2) does not. */
  override lookupAt(key: number): number {
    const index = this.find(key);
    if (index < 0) return 0;
    this.#lru.touch(index);
    return this.valueAddress(index);
  }
  override lookup(key: Uint8Array): Uint8Array | undefined {
    const index = this.find(this.key(key));
    return index < 0 ? undefined : this.memory.copy(this.valueAddress(index), this.spec.valueSize);
  }

  override updateAt(key: number, value: number, flags: number): number {
    const bad = this.badFlags(flags);
    if (bad !== 0) return bad;
    // The kernel takes the new element before it looks for the old one, and so may evict for nothing.
    const index = this.#lru.take(this.host.world.cpu);
    if (index < 0) return ENOMEM;
    const old = this.find(key);
    const error = this.checkFlags(flags, old >= 0);
    if (error !== 0) {
      this.#lru.giveBack(index);
      return error;
    }
    this.writeValue(index, value);
    if (old >= 0) {
      this.#lru.touch(index);
      this.unlink(old);
    }
    this.link(index, key);
    if (old >= 0) this.#lru.giveBack(old);
    return 0;
  }
  protected override giveBack(index: number): void {
    this.#lru.giveBack(index);
  }
}

/** BPF_MAP_TYPE_LRU_PERCPU_HASH. */
export class LruPerCpuHashMap extends PerCpuHashMap {
  readonly #lru: LruList;

  constructor(host: MapHost, spec: MapSpec, id: number) {
    super(host, spec, id);
    for (let i = 0; i < spec.maxEntries; i++) this.fresh();
    this.#lru = new LruList(spec.maxEntries, host.world.cpus, (node) => {
      if (this.live[node] === 0) return false;
      this.unlink(node);
      return true;
    });
  }

  override lookupAt(key: number): number {
    const index = this.find(key);
    if (index < 0) return 0;
    this.#lru.touch(index);
    return this.valueAddress(index);
  }
  override updateAt(key: number, value: number, flags: number): number {
    const bad = this.badFlags(flags);
    if (bad !== 0) return bad;
    const index = flags === BPF_EXIST ? -1 : this.#lru.take(this.host.world.cpu);
    if (flags !== BPF_EXIST && index < 0) return ENOMEM;
    const old = this.find(key);
    const error = this.checkFlags(flags, old >= 0);
    if (error === 0 && old < 0) {
      this.writeValue(index, value);
      this.link(index, key);
      return 0;
    }
    if (error === 0) {
      this.#lru.touch(old);
      this.memory.u8.copyWithin(this.valueAddress(old), value, value + this.spec.valueSize);
    }
    if (index >= 0) this.#lru.giveBack(index);
    return error;
  }
  protected override giveBack(index: number): void {
    this.#lru.giveBack(index);
  }
}
