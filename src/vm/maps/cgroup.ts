/** Maps of cgroups: storages of the one that a program is attached to, and arrays of cgroups. */
import type { MapSpec } from "../../elf/spec.ts";
import { BPF_MAP_TYPE, ERRNO } from "../../uapi/index.ts";
import type { Block } from "../memory.ts";
import { RedirectMap } from "./objects.ts";
import { EINVAL, type MapHost, VmMap, roundUp8 } from "./map.ts";

/** BPF_MAP_TYPE_CGROUP_STORAGE and its per-CPU kind: the value of the cgroup of the test's programs. */
export class CgroupStorageMap extends VmMap {
  readonly #perCpu: boolean;
  readonly #stride: number;
  readonly #values: Block[];

  constructor(host: MapHost, spec: MapSpec, id: number, perCpu: boolean) {
    super(host, spec, id);
    this.#perCpu = perCpu;
    this.#stride = roundUp8(spec.valueSize);
    const count = perCpu ? host.world.cpus : 1;
    this.#values = Array.from({ length: count }, () =>
      this.memory.alloc(this.#stride, "map value", `the value of cgroup storage ${spec.name}`),
    );
    for (const block of this.#values) this.memory.moveRegion(block.region, block.base, spec.valueSize);
  }
  override get isPerCpu(): boolean {
    return this.#perCpu;
  }
  override get userValueSize(): number {
    // The constructor of the base class asks before the fields are there.
    return this.spec.type === BPF_MAP_TYPE.PERCPU_CGROUP_STORAGE
      ? roundUp8(this.spec.valueSize) * this.host.world.cpus
      : this.spec.valueSize;
  }

  /** bpf_get_local_storage. */
  current(): number {
    return this.#values[this.#perCpu ? this.host.world.cpu : 0]!.base;
  }
  override regionAt(address: number): number {
    return this.#values.find((b) => address >= b.base && address < b.base + b.size)?.region ?? 0;
  }
  /** Every key is that of the one cgroup there is. */
  override lookup(_key: Uint8Array): Uint8Array | undefined {
    if (!this.#perCpu) return this.memory.copy(this.#values[0]!.base, this.spec.valueSize);
    const out = new Uint8Array(this.#stride * this.#values.length);
    this.#values.forEach((b, cpu) => out.set(this.memory.bytes(b.base, this.spec.valueSize), cpu * this.#stride));
    return out;
  }
  override lookupAt(_key: number): number {
    return 0;
  }
  override updateAt(_key: number, value: number, flags: number): number {
    if (flags !== 0 && flags !== 2) return EINVAL;
    this.memory.u8.copyWithin(this.#values[0]!.base, value, value + this.spec.valueSize);
    return 0;
  }
  override deleteAt(_key: number): number {
    return EINVAL;
  }
}

/** SOCKMAP, CGROUP_ARRAY and REUSEPORT_SOCKARRAY: what the test put in; programs see no value. */
export class ReferenceMap extends RedirectMap {
  override lookupAt(_key: number): number {
    return 0;
  }
  override lookup(key: Uint8Array): Uint8Array | undefined {
    const at = super.lookupAt(this.key(key));
    return at === 0 ? undefined : this.memory.copy(at, this.spec.valueSize);
  }
  override deleteAt(key: number): number {
    if (this.index(key) >= this.spec.maxEntries) return EINVAL;
    return super.lookupAt(key) === 0 ? -ERRNO.EINVAL : super.deleteAt(key);
  }
}
