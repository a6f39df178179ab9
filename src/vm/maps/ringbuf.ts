/** BPF_MAP_TYPE_RINGBUF: positions and limits are the kernel's (kernel/bpf/ringbuf.c). */
import type { MapSpec } from "../../elf/spec.ts";
import { ArgumentError } from "../../core/errors.ts";
import { ERRNO } from "../../uapi/index.ts";
import { type Block, READ, WRITE } from "../memory.ts";
import { EINVAL, type MapHost, VmMap } from "./map.ts";

const HEADER = 8;
const MAX_RECORD = 0x3fff_ffff;
const NO_WAKEUP = 1;
const FORCE_WAKEUP = 2;

interface Record {
  readonly address: number;
  readonly size: number;
  /** What it takes of the ring, header included. */
  readonly length: number;
  state: "reserved" | "submitted" | "discarded";
  region: number;
}

export class RingBufMap extends VmMap {
  readonly #block: Block;
  /** Not yet drained, oldest first. */
  readonly #records: Record[] = [];
  readonly #byAddress = new Map<number, Record>();
  /** Regions of records that were drained. */
  readonly #deadRegions: number[] = [];
  #producer = 0;
  #consumer = 0;
  /** Records that found no room. */
  dropped = 0;

  constructor(host: MapHost, spec: MapSpec, id: number) {
    super(host, spec, id);
    const size = spec.maxEntries;
    if (size < 4096 || (size & (size - 1)) !== 0) {
      throw new ArgumentError(
        "maxEntries",
        `ring buffer ${spec.name}: expected a power of two of at least 4096 bytes, got ${size}`,
      );
    }
    // Twice the size, so that a record that wraps round is in one piece. Each record is a region of its own.
    this.#block = this.memory.allocOwned(size * 2, "ring buffer record", `ring buffer ${spec.name}`, this);
  }

  override regionAt(address: number): number {
    for (const record of this.#records) {
      if (record.state === "reserved" && address >= record.address && address < record.address + record.size) {
        return record.region;
      }
    }
    return 0;
  }

  /** Address of a new record's `size` bytes, or 0 when there is no room. */
  reserve(size: number): number {
    const length = Math.ceil((size + HEADER) / 8) * 8;
    if (
      size >>> 0 > MAX_RECORD ||
      length > this.spec.maxEntries ||
      this.#producer + length - this.#consumer > this.spec.maxEntries - 1
    ) {
      this.dropped++;
      return 0;
    }
    const address = this.#block.base + (this.#producer & (this.spec.maxEntries - 1)) + HEADER;
    this.#producer += length;
    const name = `a record of ring buffer ${this.name}`;
    let region = this.#deadRegions.pop();
    if (region === undefined) region = this.memory.addRegion(address, size, "ring buffer record", name, READ | WRITE);
    else this.memory.reviveRegion(region, address, size, "ring buffer record", name, READ | WRITE);
    const record: Record = { address, size, length, state: "reserved", region };
    this.#records.push(record);
    this.#byAddress.set(address, record);
    return address;
  }
  /** Region of the record reserved at `address`. */
  recordRegion(address: number): number {
    return this.#byAddress.get(address)?.region ?? 0;
  }

  /** Submits or discards; false when no record is reserved at `address`. */
  commit(address: number, discard: boolean): boolean {
    const record = this.#byAddress.get(address);
    if (record === undefined) return false;
    this.#byAddress.delete(address);
    record.state = discard ? "discarded" : "submitted";
    this.memory.regFlags[record.region] = 0;
    return true;
  }

  /** bpf_ringbuf_output: 0 or -errno. */
  output(data: number, size: number, flags: number): number {
    if ((flags & ~(NO_WAKEUP | FORCE_WAKEUP)) !== 0) return EINVAL;
    const address = this.reserve(size);
    if (address === 0) return -ERRNO.EAGAIN;
    this.memory.u8.copyWithin(address, data, data + size);
    this.commit(address, false);
    return 0;
  }

  /** bpf_ringbuf_query. */
  query(what: number): number {
    switch (what) {
      case 0:
        return this.#producer - this.#consumer;
      case 1:
        return this.spec.maxEntries;
      case 2:
        return this.#consumer;
      case 3:
        return this.#producer;
      default:
        return 0;
    }
  }

  /** Takes every sample out, oldest first, up to the first that is still reserved. */
  drain(): Uint8Array[] {
    const samples: Uint8Array[] = [];
    while (this.#records.length > 0 && this.#records[0]!.state !== "reserved") {
      const record = this.#records.shift()!;
      this.#consumer += record.length;
      this.#deadRegions.push(record.region);
      if (record.state === "submitted") samples.push(this.memory.copy(record.address, record.size));
    }
    return samples;
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
