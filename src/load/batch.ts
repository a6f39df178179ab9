/** Batch commands of maps (Linux 5.6): thousands of entries in one system call. */
import { hostEndian } from "../core/bytes.ts";
import { check } from "../syscall/errors.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { BPF_CMD } from "../uapi/commands.ts";
import { ERRNO } from "../uapi/errno.ts";
import type { Decode, Encode } from "../values/codec.ts";

const LITTLE = hostEndian === "little";
/** Bytes of the batch attr: in_batch, out_batch, keys, values, count, map_fd, elem_flags, flags. */
const BATCH_ATTR = 56;
/** What one batch may take, in bytes of keys and values. */
const BATCH_BYTES = 1 << 20;

/** This map or kernel has no batch commands: go one by one. */
export const noBatch: unique symbol = Symbol("noBatch");

interface BatchShape<K, V> {
  readonly map: {
    readonly kernel: Kernel;
    readonly fd: number;
    readonly keySize: number;
    readonly maxEntries: number;
    readonly name: string;
  };
  /** Bytes of one value as the kernel copies it (all CPUs). */
  readonly valueBytes: number;
  keyDecoder(buffer: ArrayBuffer): Decode<K>;
  keyEncoder(buffer: ArrayBuffer): Encode<K>;
  valueDecoder(buffer: ArrayBuffer): Decode<V>;
  valueEncoder(buffer: ArrayBuffer): Encode<V>;
}

interface Buffers<K, V> {
  readonly capacity: number;
  readonly keys: ArrayBuffer;
  readonly values: ArrayBuffer;
  readonly keysAt: number;
  readonly valuesAt: number;
  readonly decodeKey: Decode<K>;
  readonly decodeValue: Decode<V>;
}

export interface Walk<K, V> {
  /** The next entries, appended to `into` (a new array by default). */
  next(into?: [K, V][]): [K, V][] | undefined | typeof noBatch;
  /** Memory whose address the kernel is given: it lives as long as the walk. */
  readonly token: Uint8Array;
}

export class Batch<K, V> {
  readonly #shape: BatchShape<K, V>;
  /** undefined: not tried yet. */
  #supported: { lookup?: boolean; drain?: boolean; update?: boolean } = {};
  /** Of the last iteration, for the next one; taken while in use. */
  #spare: Buffers<K, V> | undefined;
  /** Arrays whose addresses a running call has. */
  readonly #call: { arrays: unknown } = { arrays: undefined };

  constructor(shape: BatchShape<K, V>) {
    this.#shape = shape;
  }

  /** A walk over all entries: each `next()` gives some, undefined at the end, `noBatch` when it has to be done otherwise. */
  begin(): Walk<K, V> {
    return this.#walk(BPF_CMD.MAP_LOOKUP_BATCH, "lookup");
  }

  /** Reads and removes everything; undefined when the kernel cannot. */
  drain(): [K, V][] | undefined {
    const all: [K, V][] = [];
    const walk = this.#walk(BPF_CMD.MAP_LOOKUP_AND_DELETE_BATCH, "drain");
    for (;;) {
      const list = walk.next(all);
      if (list === noBatch) return undefined;
      if (list === undefined) return all;
    }
  }

  #walk(cmd: number, what: "lookup" | "drain"): Walk<K, V> {
    const { map } = this.#shape;
    const token = new Uint8Array(Math.max(map.keySize, 8));
    const attr = new Uint8Array(BATCH_ATTR);
    const view = new DataView(attr.buffer);
    const tokenAt = BigInt(map.kernel.address(token));
    let started = false;
    let done = false;
    let buffers: Buffers<K, V> | undefined;
    const finish = (): undefined => {
      done = true;
      if (buffers !== undefined) this.#spare = buffers;
      buffers = undefined;
      return undefined;
    };
    return {
      token,
      next: (into = []) => {
        if (this.#supported[what] === false) return noBatch;
        if (done) return undefined;
        for (;;) {
          buffers ??= this.#take();
          view.setBigUint64(0, started ? tokenAt : 0n, LITTLE);
          view.setBigUint64(8, tokenAt, LITTLE);
          view.setBigUint64(16, BigInt(buffers.keysAt), LITTLE);
          view.setBigUint64(24, BigInt(buffers.valuesAt), LITTLE);
          view.setUint32(32, buffers.capacity, LITTLE);
          view.setUint32(36, map.fd, LITTLE);
          const result = map.kernel.bpf(cmd, attr, BATCH_ATTR);
          const count = view.getUint32(32, LITTLE);
          if (result === -ERRNO.ENOSPC) {
            // One bucket holds more than fits.
            buffers = this.#make(buffers.capacity * 2);
            continue;
          }
          const last = result === -ERRNO.ENOENT;
          if (result < 0 && !last) {
            if (!started && unsupported(result)) {
              this.#supported[what] = false;
              return noBatch;
            }
            finish();
            check(map.kernel, result, what === "lookup" ? "BPF_MAP_LOOKUP_BATCH" : "BPF_MAP_LOOKUP_AND_DELETE_BATCH", {
              subject: `map ${map.name}`,
            });
          }
          started = true;
          this.#supported[what] = true;
          const got = Math.min(count, buffers.capacity);
          this.#decode(buffers, got, into);
          if (last) finish();
          if (got > 0 || last) return got > 0 ? into : undefined;
          // An empty batch that is not the last would loop for ever on a kernel that does that.
          return finish();
        }
      },
    };
  }

  #decode(buffers: Buffers<K, V>, count: number, list: [K, V][]): void {
    const { decodeKey, decodeValue } = buffers;
    const keySize = this.#shape.map.keySize;
    const valueSize = this.#shape.valueBytes;
    for (let i = 0; i < count; i++) list.push([decodeKey(i * keySize), decodeValue(i * valueSize)]);
  }

  #take(): Buffers<K, V> {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare !== undefined) return spare;
    const fits = Math.floor(BATCH_BYTES / Math.max(1, this.#shape.map.keySize + this.#shape.valueBytes));
    return this.#make(Math.max(16, Math.min(this.#shape.map.maxEntries, fits)));
  }

  #make(capacity: number): Buffers<K, V> {
    const { map, valueBytes } = this.#shape;
    const keys = new ArrayBuffer(Math.ceil((capacity * map.keySize) / 8) * 8 + 8);
    const values = new ArrayBuffer(Math.ceil((capacity * valueBytes) / 8) * 8 + 8);
    return {
      capacity,
      keys,
      values,
      keysAt: map.kernel.address(new Uint8Array(keys)),
      valuesAt: map.kernel.address(new Uint8Array(values)),
      decodeKey: this.#shape.keyDecoder(keys),
      decodeValue: this.#shape.valueDecoder(values),
    };
  }

  /** BPF_MAP_UPDATE_BATCH; false when the kernel cannot. */
  update(entries: readonly (readonly [K, V])[]): boolean {
    if (this.#supported.update === false) return false;
    if (entries.length === 0) return true;
    const { map, valueBytes } = this.#shape;
    const keys = new ArrayBuffer(entries.length * map.keySize);
    const values = new ArrayBuffer(entries.length * valueBytes);
    const encodeKey = this.#shape.keyEncoder(keys);
    const encodeValue = this.#shape.valueEncoder(values);
    entries.forEach(([key, value], i) => {
      encodeKey(key, i * map.keySize);
      encodeValue(value, i * valueBytes);
    });
    this.#call.arrays = [keys, values];
    const attr = new Uint8Array(BATCH_ATTR);
    const view = new DataView(attr.buffer);
    view.setBigUint64(16, BigInt(map.kernel.address(new Uint8Array(keys))), LITTLE);
    view.setBigUint64(24, BigInt(map.kernel.address(new Uint8Array(values))), LITTLE);
    view.setUint32(32, entries.length, LITTLE);
    view.setUint32(36, map.fd, LITTLE);
    const result = map.kernel.bpf(BPF_CMD.MAP_UPDATE_BATCH, attr, BATCH_ATTR);
    this.#call.arrays = undefined;
    if (result < 0 && unsupported(result)) {
      this.#supported.update = false;
      return false;
    }
    check(map.kernel, result, "BPF_MAP_UPDATE_BATCH", {
      subject: `map ${map.name}`,
      reasons: result === -ERRNO.E2BIG ? ["the map is full"] : [],
    });
    this.#supported.update = true;
    return true;
  }
}

/** Before 5.6 the command is unknown (EINVAL); a map type without the operation says ENOTSUPP. */
function unsupported(result: number): boolean {
  return result === -ERRNO.EINVAL || result === -ERRNO.ENOTSUPP || result === -ERRNO.EOPNOTSUPP;
}
