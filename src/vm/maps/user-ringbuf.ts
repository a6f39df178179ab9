/** BPF_MAP_TYPE_USER_RINGBUF: samples that user space (the test) puts in and programs drain. */
import type { MapSpec } from "../../elf/spec.ts";
import { ArgumentError } from "../../core/errors.ts";
import { ERRNO } from "../../uapi/index.ts";
import type { Block } from "../memory.ts";
import { type MapHost, VmMap } from "./map.ts";

const HEADER = 8;

export class UserRingBufMap extends VmMap {
  /** Where the sample that a program looks at lies: large enough for any. */
  readonly #block: Block;
  readonly #samples: Uint8Array[] = [];
  #used = 0;
  /** A program drains it now: nobody else may. */
  busy = false;

  constructor(host: MapHost, spec: MapSpec, id: number) {
    super(host, spec, id);
    const size = spec.maxEntries;
    if (size < 4096 || (size & (size - 1)) !== 0) {
      throw new ArgumentError(
        "maxEntries",
        `user ring buffer ${spec.name}: expected a power of two of at least 4096 bytes, got ${size}`,
      );
    }
    this.#block = this.memory.alloc(size, "ring buffer record", `a sample of user ring buffer ${spec.name}`);
  }

  /** Adds a sample: 0, -E2BIG for one larger than the ring, -ENOSPC when it is full. */
  submit(sample: Uint8Array): number {
    const length = Math.ceil(sample.length / 8) * 8 + HEADER;
    if (length > this.spec.maxEntries) return -ERRNO.E2BIG;
    if (this.#used + length > this.spec.maxEntries) return -ERRNO.ENOSPC;
    this.#used += length;
    this.#samples.push(sample.slice());
    return 0;
  }

  /** The next sample's address, size and region; undefined when there is none. */
  take(): { readonly address: number; readonly size: number; readonly region: number } | undefined {
    const sample = this.#samples.shift();
    if (sample === undefined) return undefined;
    this.#used -= Math.ceil(sample.length / 8) * 8 + HEADER;
    this.memory.u8.set(sample, this.#block.base);
    this.memory.moveRegion(this.#block.region, this.#block.base, sample.length);
    return { address: this.#block.base, size: sample.length, region: this.#block.region };
  }

  override lookupAt(_key: number): number {
    return 0;
  }
  override updateAt(_key: number, _value: number, _flags: number): number {
    return this.notSupported;
  }
  override deleteAt(_key: number): number {
    return this.notSupported;
  }
}
