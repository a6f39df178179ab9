/** A map of the VM, spoken to with values of its schemas. */
import { ArgumentError, BpfkitError } from "../core/errors.ts";
import type { Schema } from "../probe/schema-types.ts";
import { ERRNO, errnoName } from "../uapi/errno.ts";
import { type Decode, type Encode, codecOf } from "../values/codec.ts";
import { ObjectArrayMap } from "../vm/maps/array.ts";
import { HashOfMaps, PerfEventArrayMap } from "../vm/maps/objects.ts";
import { RingBufMap } from "../vm/maps/ringbuf.ts";
import { UserRingBufMap } from "../vm/maps/user-ringbuf.ts";
import type { VmMap } from "../vm/maps/map.ts";
import { shown } from "./world/values.ts";

const ENOENT = -2;
const EEXIST = -17;

export type UpdateMode = "any" | "create" | "exist";
const MODES: Readonly<Record<UpdateMode, number>> = { any: 0, create: 1, exist: 2 };

const bytesSchema = (size: number): Schema => ({ kind: "bytes", length: size, size, align: 1 });

interface Side {
  readonly bytes: Uint8Array;
  readonly encode: Encode<unknown>;
  readonly decode: Decode<unknown>;
}

/** Buffer and codec of keys or values; without a schema of the right size they are bytes. */
function side(schema: Schema | undefined, size: number, what: string): Side {
  const used = schema?.size === size ? schema : bytesSchema(size);
  const bytes = new Uint8Array(Math.ceil(size / 8) * 8 + 8);
  const codec = codecOf(used);
  return {
    bytes: bytes.subarray(0, size),
    encode: codec.encoder(bytes.buffer, what) as Encode<unknown>,
    decode: codec.decoder(bytes.buffer) as Decode<unknown>,
  };
}

export class TypedMap {
  readonly map: VmMap;
  readonly #key: Side;
  readonly #value: Side;
  readonly #sample: Schema | undefined;

  constructor(map: VmMap, key: Schema | undefined, value: Schema | undefined) {
    this.map = map;
    this.#key = side(key, map.spec.keySize, "key");
    this.#value = side(value, map.spec.valueSize, "value");
    this.#sample = value;
  }

  /** Does it hold samples for user space? */
  get isBuffer(): boolean {
    return this.map instanceof RingBufMap || this.map instanceof PerfEventArrayMap;
  }
  /** Has it keys and values of the programs' own? */
  get hasEntries(): boolean {
    return this.#key.bytes.length > 0 && !(this.map instanceof ObjectArrayMap) && !(this.map instanceof HashOfMaps);
  }
  get perCpu(): boolean {
    return this.map.isPerCpu;
  }

  key(key: unknown): Uint8Array {
    this.#key.encode(key, 0);
    return this.#key.bytes;
  }

  get(key: unknown): unknown {
    const value = this.map.lookup(this.key(key));
    return value === undefined ? undefined : this.#decode(value);
  }

  has(key: unknown): boolean {
    return this.map.lookup(this.key(key)) !== undefined;
  }

  set(key: unknown, value: unknown, mode: UpdateMode): boolean {
    const result = this.map.update(this.key(key), this.#encode(value), MODES[mode]);
    if (result === 0) return true;
    if ((mode === "create" && result === EEXIST) || (mode === "exist" && result === ENOENT)) return false;
    throw this.#failed("cannot be written", result);
  }

  delete(key: unknown): boolean {
    const result = this.map.delete(this.key(key));
    if (result === 0) return true;
    if (result === ENOENT) return false;
    throw this.#failed("cannot lose an entry", result);
  }

  /** Entries in the map's own order. */
  entries(): [unknown, unknown][] {
    return this.map.entries().map(([key, value]) => {
      this.#key.bytes.set(key);
      return [this.#key.decode(0), this.#decode(value)];
    });
  }

  push(value: unknown, replace: boolean): void {
    const result = this.map.push(this.#encode(value), replace ? 2 : 0);
    if (result !== 0) throw this.#failed("takes no more", result);
  }
  pop(): unknown {
    const value = this.map.pop();
    return value === undefined ? undefined : this.#decode(value);
  }
  peek(): unknown {
    const value = this.map.peek();
    return value === undefined ? undefined : this.#decode(value);
  }
  /** Bloom filter: may the value be in it? */
  mayHave(value: unknown): boolean {
    return this.map.has(this.#encode(value));
  }

  /** Samples of a ring buffer or perf event array since the last time. */
  drain(): unknown[] {
    const { map } = this;
    if (map instanceof RingBufMap) return map.drain().map((sample) => this.#decodeSample(sample));
    if (map instanceof PerfEventArrayMap) return map.drain().map(({ data }) => this.#decodeSample(data));
    throw new BpfkitError("MAP_TYPE", `map ${map.name} is ${map.typeName}, not a ring buffer or perf event array`);
  }

  /** Puts a sample into a user ring buffer; false when it is full. */
  send(sample: unknown): boolean {
    const { map } = this;
    if (!(map instanceof UserRingBufMap))
      throw new BpfkitError("MAP_TYPE", `map ${map.name} is ${map.typeName}, not a user ring buffer`);
    const schema = this.#sample;
    let bytes: Uint8Array;
    if (schema === undefined) {
      if (!(sample instanceof Uint8Array)) throw new ArgumentError("sample", `expected bytes, got ${shown(sample)}`);
      bytes = sample;
    } else {
      bytes = new Uint8Array(schema.size);
      codecOf(schema).encoder(bytes.buffer, "sample")(sample as never, 0);
    }
    const result = map.submit(bytes);
    if (result === 0) return true;
    if (result === -ERRNO.ENOSPC) return false;
    throw this.#failed("takes no sample of this size", result);
  }

  /** Samples may be longer than their schema (perf records are padded); shorter ones stay bytes. */
  #decodeSample(sample: Uint8Array): unknown {
    const schema = this.#sample;
    if (schema === undefined || schema.size > sample.length) return sample;
    return codecOf(schema).decoder(sample.buffer)(sample.byteOffset);
  }

  #decode(value: Uint8Array): unknown {
    const { bytes, decode } = this.#value;
    if (!this.perCpu) {
      bytes.set(value);
      return decode(0);
    }
    const stride = Math.ceil(bytes.length / 8) * 8;
    return Array.from({ length: value.length / stride }, (_, cpu) => {
      bytes.set(value.subarray(cpu * stride, cpu * stride + bytes.length));
      return decode(0);
    });
  }

  #encode(value: unknown): Uint8Array {
    const { bytes, encode } = this.#value;
    if (!this.perCpu) {
      encode(value, 0);
      return bytes;
    }
    const stride = Math.ceil(bytes.length / 8) * 8;
    const all = new Uint8Array(this.map.userValueSize);
    const cpus = all.length / stride;
    if (!Array.isArray(value) || value.length !== cpus) {
      throw new BpfkitError(
        "ARGUMENT",
        `map ${this.map.name}: expected an array with a value for each of ${cpus} CPUs`,
      );
    }
    value.forEach((one: unknown, cpu) => {
      encode(one, 0);
      all.set(bytes, cpu * stride);
    });
    return all;
  }

  #failed(what: string, result: number): BpfkitError {
    const { map } = this;
    const name = errnoName(-result);
    const why = name === "E2BIG" ? `: it holds ${map.spec.maxEntries} entries` : "";
    return new BpfkitError(name, `map ${map.name} (${map.typeName}) ${what}${why} (${name})`);
  }
}
