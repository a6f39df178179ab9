/** Arrays: one value for each index, there from the start. */
import type { MapSpec } from "../../elf/spec.ts";
import type { Block } from "../memory.ts";
import {
  BPF_EXIST,
  BPF_F_LOCK,
  BPF_NOEXIST,
  E2BIG,
  EEXIST,
  EINVAL,
  LazyRegions,
  type MapHost,
  VmMap,
  roundUp8,
} from "./map.ts";

/** BPF_MAP_TYPE_ARRAY, and the base of every type whose key is an index. */
export class ArrayMap extends VmMap {
  readonly block: Block;
  /** Bytes from one value to the next. */
  readonly stride: number;
  readonly #regions: LazyRegions;

  constructor(host: MapHost, spec: MapSpec, id: number) {
    super(host, spec, id);
    this.stride = roundUp8(spec.valueSize);
    this.#regions = new LazyRegions(this.memory);
    this.block = this.memory.allocOwned(
      this.stride * spec.maxEntries * this.copies,
      "map value",
      `map ${spec.name}`,
      this,
    );
  }

  /** Values kept for each index. */
  protected get copies(): number {
    return 1;
  }
  index(key: number): number {
    return this.memory.view.getUint32(key, true);
  }
  /** Address of the value at `index`, for the current CPU. */
  addressOf(index: number): number {
    return this.block.base + index * this.stride;
  }

  override regionAt(address: number): number {
    const slot = Math.floor((address - this.block.base) / this.stride);
    const base = this.block.base + slot * this.stride;
    if (address >= base + this.spec.valueSize) return 0;
    return this.#regions.get(slot, base, this.spec.valueSize, () => this.valueName(slot), this.access);
  }
  protected valueName(slot: number): string {
    return this.spec.section !== undefined && this.spec.section !== ".maps" && this.spec.maxEntries === 1
      ? this.spec.section
      : `the value at index ${slot} of map ${this.name}`;
  }

  override lookupAt(key: number): number {
    const index = this.index(key);
    return index < this.spec.maxEntries ? this.addressOf(index) : 0;
  }
  override updateAt(key: number, value: number, flags: number): number {
    if ((flags & ~BPF_F_LOCK) >>> 0 > BPF_EXIST) return EINVAL;
    const index = this.index(key);
    if (index >= this.spec.maxEntries) return E2BIG;
    if ((flags & BPF_NOEXIST) !== 0) return EEXIST;
    const bad = this.badFlags(flags);
    if (bad !== 0) return bad;
    this.write(index, value);
    return 0;
  }
  protected write(index: number, value: number): void {
    this.memory.u8.copyWithin(this.addressOf(index), value, value + this.spec.valueSize);
  }
  override deleteAt(_key: number): number {
    return EINVAL;
  }
  override nextKey(key?: Uint8Array): Uint8Array | undefined {
    const index = key === undefined ? this.spec.maxEntries : this.index(this.key(key));
    if (index === this.spec.maxEntries - 1) return undefined;
    const next = new Uint8Array(4);
    new DataView(next.buffer).setUint32(0, index >= this.spec.maxEntries ? 0 : index + 1, true);
    return next;
  }
  override *entriesAt(): Iterator<readonly [number, number]> {
    for (let i = 0; i < this.spec.maxEntries; i++) {
      this.memory.view.setUint32(this.keyScratch, i, true);
      yield [this.keyScratch, this.addressOf(i)];
    }
  }
}

/** BPF_MAP_TYPE_PERCPU_ARRAY. */
export class PerCpuArrayMap extends ArrayMap {
  protected override get copies(): number {
    return this.host.world.cpus;
  }
  override get isPerCpu(): boolean {
    return true;
  }
  override get userValueSize(): number {
    return roundUp8(this.spec.valueSize) * this.host.world.cpus;
  }
  override addressOf(index: number): number {
    return this.block.base + (index * this.host.world.cpus + this.host.world.cpu) * this.stride;
  }
  protected override valueName(slot: number): string {
    const { cpus } = this.host.world;
    return `the value at index ${Math.floor(slot / cpus)} of map ${this.name} on CPU ${slot % cpus}`;
  }
  override lookupPerCpuAt(key: number, cpu: number): number {
    const index = this.index(key);
    if (index >= this.spec.maxEntries || cpu >= this.host.world.cpus) return 0;
    return this.block.base + (index * this.host.world.cpus + cpu) * this.stride;
  }
  override lookup(key: Uint8Array): Uint8Array | undefined {
    const at = this.lookupPerCpuAt(this.key(key), 0);
    return at === 0 ? undefined : this.memory.copy(at, this.userValueSize);
  }
  override update(key: Uint8Array, value: Uint8Array, flags = 0): number {
    if (flags >>> 0 > BPF_EXIST) return EINVAL;
    const index = this.index(this.key(key));
    if (index >= this.spec.maxEntries) return E2BIG;
    if (flags === BPF_NOEXIST) return EEXIST;
    const from = this.value(value);
    this.memory.u8.copyWithin(this.lookupPerCpuAt(this.keyScratch, 0), from, from + this.userValueSize);
    return 0;
  }
}

/** Arrays whose programs never see the values: they hold objects of the kernel (or of the test). */
export class ObjectArrayMap<T> extends VmMap {
  readonly slots: (T | undefined)[] = [];

  index(key: number): number {
    return this.memory.view.getUint32(key, true);
  }
  /** The object at `index`; undefined when the slot is empty or does not exist. */
  at(index: number): T | undefined {
    return index < this.spec.maxEntries ? this.slots[index] : undefined;
  }
  /** Puts an object into slot `index`: 0 or -E2BIG. */
  set(index: number, object: T | undefined): number {
    if (index >>> 0 >= this.spec.maxEntries) return E2BIG;
    this.slots[index] = object;
    return 0;
  }
  override lookupAt(_key: number): number {
    return 0;
  }
  override updateAt(_key: number, _value: number, _flags: number): number {
    return EINVAL;
  }
  override deleteAt(key: number): number {
    const index = this.index(key);
    if (index >= this.spec.maxEntries) return E2BIG;
    if (this.slots[index] === undefined) return -2;
    this.slots[index] = undefined;
    return 0;
  }
}

/** BPF_MAP_TYPE_ARRAY_OF_MAPS. */
export class ArrayOfMaps extends ObjectArrayMap<VmMap> {
  override lookupAt(key: number): number {
    return this.at(this.index(key))?.pointer ?? 0;
  }
}
