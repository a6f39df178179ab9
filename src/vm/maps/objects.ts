/** Maps of things that only the kernel has: programs, perf events, stacks, storages, redirect targets. */
import type { MapSpec } from "../../elf/spec.ts";
import { ERRNO } from "../../uapi/index.ts";
import type { Image } from "../image.ts";
import { ArrayMap, ObjectArrayMap } from "./array.ts";
import { HashMap } from "./hash.ts";
import { jhash2 } from "./jhash.ts";
import { E2BIG, EINVAL, ENOENT, type MapHost, VmMap } from "./map.ts";

/** BPF_MAP_TYPE_PROG_ARRAY: `set(index, program)` fills it. */
export class ProgArrayMap extends ObjectArrayMap<Image> {}

/** One record of a perf buffer. */
export interface PerfSample {
  readonly cpu: number;
  readonly data: Uint8Array;
}

/** BPF_MAP_TYPE_PERF_EVENT_ARRAY with an event open on every CPU. */
export class PerfEventArrayMap extends ObjectArrayMap<"event"> {
  #samples: PerfSample[] = [];

  constructor(host: MapHost, spec: MapSpec, id: number) {
    super(host, { ...spec, maxEntries: spec.maxEntries === 0 ? host.world.cpus : spec.maxEntries }, id);
    for (let cpu = 0; cpu < Math.min(host.world.cpus, this.spec.maxEntries); cpu++) this.slots[cpu] = "event";
  }

  /** bpf_perf_event_output: 0 or -errno. `index` -1 is the current CPU. */
  output(index: number, data: Uint8Array): number {
    const { cpu } = this.host.world;
    const slot = index === -1 ? cpu : index >>> 0;
    if (slot >= this.spec.maxEntries) return E2BIG;
    if (this.slots[slot] === undefined) return ENOENT;
    if (slot !== cpu) return -ERRNO.EOPNOTSUPP;
    this.#samples.push({ cpu, data });
    return 0;
  }
  drain(): PerfSample[] {
    const samples = this.#samples;
    this.#samples = [];
    return samples;
  }
}

/** BPF_MAP_TYPE_STACK_TRACE. */
export class StackTraceMap extends VmMap {
  readonly #stacks = new Map<number, readonly bigint[]>();
  readonly #buckets: number;

  constructor(host: MapHost, spec: MapSpec, id: number) {
    super(host, spec, id);
    let buckets = 1;
    while (buckets < spec.maxEntries) buckets *= 2;
    this.#buckets = buckets;
  }

  /** bpf_get_stackid: the id or -errno. `flags`: low byte frames to skip, 0x200 compare by hash only, 0x400 replace. */
  stackId(stack: readonly bigint[], flags: number): number {
    const depth = Math.min(this.spec.valueSize / 8, 127);
    const skip = flags & 0xff;
    const ips = stack.slice(skip, skip + depth);
    if (ips.length === 0) return -ERRNO.EFAULT;
    const words = new BigUint64Array(ips.map((ip) => BigInt.asUintN(64, ip)));
    const id = jhash2(new DataView(words.buffer), 0, ips.length * 2, 0) & (this.#buckets - 1);
    const old = this.#stacks.get(id);
    const same = old !== undefined && old.length === ips.length && old.every((ip, i) => ip === ips[i]);
    if (same || (old !== undefined && (flags & 0x200) !== 0)) return id;
    if (old !== undefined && (flags & 0x400) === 0) return -ERRNO.EEXIST;
    this.#stacks.set(id, ips);
    return id;
  }

  override lookupAt(_key: number): number {
    return 0;
  }
  override lookup(key: Uint8Array): Uint8Array | undefined {
    const stack = this.#stacks.get(this.memory.view.getUint32(this.key(key), true));
    if (stack === undefined) return undefined;
    const value = new BigUint64Array(this.spec.valueSize / 8);
    value.set(stack.map((ip) => BigInt.asUintN(64, ip)));
    return new Uint8Array(value.buffer);
  }
  override updateAt(_key: number, _value: number, _flags: number): number {
    return EINVAL;
  }
  override deleteAt(key: number): number {
    const id = this.memory.view.getUint32(key, true);
    if (id >= this.#buckets) return E2BIG;
    return this.#stacks.delete(id) ? 0 : ENOENT;
  }
  override nextKey(key?: Uint8Array): Uint8Array | undefined {
    const from = key === undefined ? -1 : this.memory.view.getUint32(this.key(key), true);
    const next = [...this.#stacks.keys()].sort((a, b) => a - b).find((id) => id > from);
    if (next === undefined) return undefined;
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, next, true);
    return bytes;
  }
}

/** Task, socket, inode and cgroup storages: a value for each object, found by the object's address. */
export class StorageMap extends HashMap {
  constructor(host: MapHost, spec: MapSpec, id: number) {
    super(host, { ...spec, keySize: 8, maxEntries: 0x10_0000 }, id);
  }
}

/** BPF_MAP_TYPE_HASH_OF_MAPS. */
export class HashOfMaps extends VmMap {
  readonly #maps = new Map<string, { readonly key: Uint8Array; readonly map: VmMap }>();

  #id(key: number): string {
    return this.memory.copy(key, this.spec.keySize).join(",");
  }
  /** Puts a map in: 0 or -E2BIG. */
  set(key: Uint8Array, map: VmMap): number {
    const id = this.#id(this.key(key));
    if (!this.#maps.has(id) && this.#maps.size >= this.spec.maxEntries) return E2BIG;
    this.#maps.set(id, { key: key.slice(), map });
    return 0;
  }
  override lookupAt(key: number): number {
    return this.#maps.get(this.#id(key))?.map.pointer ?? 0;
  }
  override updateAt(_key: number, _value: number, _flags: number): number {
    return EINVAL;
  }
  override deleteAt(key: number): number {
    return this.#maps.delete(this.#id(key)) ? 0 : ENOENT;
  }
  override nextKey(key?: Uint8Array): Uint8Array | undefined {
    const all = [...this.#maps.keys()];
    const from = key === undefined ? -1 : all.indexOf(this.#id(this.key(key)));
    return this.#maps.get(all[from + 1] ?? "")?.key;
  }
}

/** DEVMAP, CPUMAP and XSKMAP: targets of bpf_redirect_map, kept as the test wrote them. */
export class RedirectMap extends ArrayMap {
  readonly #set = new Set<number>();

  override lookupAt(key: number): number {
    const index = this.index(key);
    return this.#set.has(index) ? this.addressOf(index) : 0;
  }
  override updateAt(key: number, value: number, flags: number): number {
    if (flags >>> 0 > 2) return EINVAL;
    if (this.index(key) >= this.spec.maxEntries) return E2BIG;
    if (flags === 1) return -ERRNO.EEXIST;
    this.#set.add(this.index(key));
    return super.updateAt(key, value, 0);
  }
  override deleteAt(key: number): number {
    if (this.index(key) >= this.spec.maxEntries) return EINVAL;
    this.#set.delete(this.index(key));
    return 0;
  }
}
