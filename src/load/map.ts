/** A live map with typed keys and values: what every kind of map shares, and the keyed ones. */
import { hostEndian } from "../core/bytes.ts";
import { BpfkitError } from "../core/errors.ts";
import type { Schema } from "../probe/schema-types.ts";
import { bpf, cstring } from "../syscall/attr.ts";
import { check, syscallError } from "../syscall/errors.ts";
import type { Fd } from "../syscall/fd.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { BPF_CMD } from "../uapi/commands.ts";
import { ERRNO } from "../uapi/errno.ts";
import { BPF_MAP_TYPE, mapTypeName } from "../uapi/map-types.ts";
import { Batch, noBatch } from "./batch.ts";
import { type Decode, type Encode, codecOf } from "../values/codec.ts";

const LITTLE = hostEndian === "little";
/** Bytes of the element attr: map_fd, key, value, flags. */
const ELEM_ATTR = 32;
/** A delete knows no value: the kernel refuses an attr that has one. */
const DELETE_ATTR = 16;

/** Flags of an update (`BPF_ANY`, `BPF_NOEXIST`, `BPF_EXIST`). */
const MODES = { any: 0, create: 1, exist: 2 } as const;
/** "create" writes only where there was no entry, "exist" only where there was one. */
export type UpdateMode = keyof typeof MODES;

/** Facts of a live map. Sizes in bytes. */
export interface MapFacts {
  readonly name: string;
  /** `BPF_MAP_TYPE_*`. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export interface MapSchemas {
  readonly key?: Schema | undefined;
  readonly value?: Schema | undefined;
}

/** What every live map can do. */
export class BpfMap {
  readonly kernel: Kernel;
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly #fd: Fd;

  constructor(kernel: Kernel, fd: Fd, facts: MapFacts) {
    this.kernel = kernel;
    this.#fd = fd;
    this.name = facts.name;
    this.type = facts.type;
    this.keySize = facts.keySize;
    this.valueSize = facts.valueSize;
    this.maxEntries = facts.maxEntries;
    this.flags = facts.flags;
  }

  /** The descriptor; it belongs to this map. Throws code "CLOSED" after `close()`. */
  get fd(): number {
    return this.#fd.fd;
  }
  get closed(): boolean {
    return this.#fd.closed;
  }
  /** Type as the kernel names it, such as "percpu_hash". */
  get typeName(): string {
    return mapTypeName(this.type)?.toLowerCase() ?? `type ${this.type}`;
  }

  /**
   * Keeps the map alive in bpffs under `path` after this process ends. Needs a mounted bpffs.
   *
   * @throws SyscallError EEXIST when something is pinned there
   */
  pin(path: string): void {
    const result = bpf(this.kernel, "OBJ_PIN", { pathname: cstring(path), bpf_fd: this.fd });
    check(this.kernel, result, "BPF_OBJ_PIN", { subject: `map ${this.name} at ${path}`, reasons: pinReasons(result) });
  }

  /** Makes the map read-only for user space, for good. Linux 5.2. */
  freeze(): void {
    check(this.kernel, bpf(this.kernel, "MAP_FREEZE", { map_fd: this.fd }), "BPF_MAP_FREEZE", {
      subject: `map ${this.name}`,
    });
  }

  close(): void {
    this.#fd.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** @internal the explained error of a failed command on this map */
  protected fail(command: string, result: number): never {
    const errno = -result;
    const reasons: string[] = [];
    if (errno === ERRNO.E2BIG) reasons.push(`the map is full, or the index is beyond its ${this.maxEntries} entries`);
    if (errno === ERRNO.EPERM) reasons.push("the map is frozen or read-only");
    if (errno === ERRNO.EBUSY) reasons.push("another CPU is changing the same bucket; try again");
    throw syscallError(this.kernel, command, result, { subject: `map ${this.name} (${this.typeName})`, reasons });
  }
}

function pinReasons(result: number): readonly string[] {
  if (result === -ERRNO.ENOENT) return ["the directory does not exist"];
  if (result === -ERRNO.EPERM)
    return ["the path is not on a BPF file system (mount -t bpf bpf /sys/fs/bpf), or CAP_BPF is lacking"];
  return [];
}

/**
 * A map of keys to values: hash, array, LRU, LPM trie. Reading and writing speak
 * JavaScript's `Map`; nothing but the result is allocated on a call.
 *
 * @example
 * const counts = collection.map<number, bigint>("counts");
 * counts.set(1000, 1n);
 * for (const [uid, count] of counts) console.log(uid, count);
 */
export class KvMap<K = unknown, V = unknown> extends BpfMap {
  /** @internal */
  readonly memory: ArrayBuffer;
  readonly #attr: Uint8Array;
  readonly #view: DataView;
  readonly #attrAt: number;
  readonly #nextAttr: Uint8Array;
  readonly #nextView: DataView;
  readonly #nextAt: number;
  /** Offset of the value in `memory`; the key is at 0. */
  readonly #valueAt: number;
  readonly #nextKeyAt: number;
  readonly #bytes: Uint8Array;
  readonly #encodeKey: Encode<K>;
  readonly #decodeKey: Decode<K>;
  readonly #encodeValue: Encode<V>;
  readonly #decodeValue: Decode<V>;
  readonly #batch: Batch<K, V>;

  constructor(kernel: Kernel, fd: Fd, facts: MapFacts, schemas: MapSchemas = {}, slots = 1) {
    super(kernel, fd, facts);
    const key = sized(schemas.key, facts.keySize, `${facts.name} key`);
    const value = sized(schemas.value, facts.valueSize, `${facts.name} value`);
    const up = (n: number): number => Math.ceil(n / 8) * 8;
    // A per-CPU value is one slot of whole 8-byte words for every possible CPU.
    const slotSize = slots === 1 ? facts.valueSize : up(facts.valueSize);
    this.#valueAt = up(facts.keySize);
    this.#nextKeyAt = this.#valueAt + up(slotSize * slots);
    this.memory = new ArrayBuffer(this.#nextKeyAt + up(facts.keySize) + 8);
    this.#bytes = new Uint8Array(this.memory);

    const memoryAt = kernel.address(this.#bytes);
    this.#attr = new Uint8Array(ELEM_ATTR);
    this.#view = new DataView(this.#attr.buffer);
    this.#view.setBigUint64(8, BigInt(memoryAt), LITTLE);
    this.#view.setBigUint64(16, BigInt(memoryAt + this.#valueAt), LITTLE);
    this.#attrAt = kernel.address(this.#attr);
    this.#nextAttr = new Uint8Array(ELEM_ATTR);
    this.#nextView = new DataView(this.#nextAttr.buffer);
    this.#nextView.setBigUint64(16, BigInt(memoryAt + this.#nextKeyAt), LITTLE);
    this.#nextAt = kernel.address(this.#nextAttr);

    this.#encodeKey = codecOf(key).encoder(this.memory, "key") as Encode<K>;
    this.#decodeKey = codecOf(key).decoder(this.memory) as Decode<K>;
    const values = codecOf(value);
    const shape = { slots, slotSize, what: facts.name };
    this.#encodeValue = (
      slots === 1 ? values.encoder(this.memory, "value") : perCpuEncoder(values.encoder(this.memory, "value"), shape)
    ) as Encode<V>;
    this.#decodeValue = (
      slots === 1 ? values.decoder(this.memory) : perCpuDecoder(values.decoder(this.memory), shape)
    ) as Decode<V>;
    this.#batch = new Batch<K, V>({
      map: this,
      valueBytes: slotSize * slots,
      keyDecoder: (b) => codecOf(key).decoder(b) as Decode<K>,
      keyEncoder: (b) => codecOf(key).encoder(b, "key") as Encode<K>,
      valueDecoder: (b) => (slots === 1 ? values.decoder(b) : perCpuDecoder(values.decoder(b), shape)) as Decode<V>,
      valueEncoder: (b) =>
        (slots === 1 ? values.encoder(b, "value") : perCpuEncoder(values.encoder(b, "value"), shape)) as Encode<V>,
    });
  }

  #elem(cmd: number, size = ELEM_ATTR): number {
    this.#view.setUint32(0, this.fd, LITTLE);
    return this.kernel.bpfAt(cmd, this.#attrAt, size);
  }

  /** The value, or undefined when there is no such key. Throws `ArgumentError` for a wrong key. */
  get(key: K): V | undefined {
    this.#encodeKey(key, 0);
    const result = this.#elem(BPF_CMD.MAP_LOOKUP_ELEM);
    if (result === 0) return this.#decodeValue(this.#valueAt);
    return result === -ERRNO.ENOENT ? undefined : this.fail("BPF_MAP_LOOKUP_ELEM", result);
  }

  has(key: K): boolean {
    this.#encodeKey(key, 0);
    const result = this.#elem(BPF_CMD.MAP_LOOKUP_ELEM);
    if (result === 0) return true;
    return result === -ERRNO.ENOENT ? false : this.fail("BPF_MAP_LOOKUP_ELEM", result);
  }

  /**
   * Writes an entry. False when `mode` forbids it ("create" and the key is there,
   * "exist" and it is not); throws `SyscallError` E2BIG when the map is full.
   */
  set(key: K, value: V, mode: UpdateMode = "any"): boolean {
    this.#encodeKey(key, 0);
    this.#encodeValue(value, this.#valueAt);
    this.#view.setUint32(LITTLE ? 24 : 28, MODES[mode], LITTLE);
    const result = this.#elem(BPF_CMD.MAP_UPDATE_ELEM);
    this.#view.setBigUint64(24, 0n, LITTLE);
    if (result === 0) return true;
    if (mode === "create" && result === -ERRNO.EEXIST) return false;
    if (mode === "exist" && result === -ERRNO.ENOENT) return false;
    return this.fail("BPF_MAP_UPDATE_ELEM", result);
  }

  /** Removes an entry; false when there was none. Arrays cannot (EINVAL). */
  delete(key: K): boolean {
    this.#encodeKey(key, 0);
    const result = this.#elem(BPF_CMD.MAP_DELETE_ELEM, DELETE_ATTR);
    if (result === 0) return true;
    return result === -ERRNO.ENOENT ? false : this.fail("BPF_MAP_DELETE_ELEM", result);
  }

  /** Reads and removes an entry in one step. Hash maps since Linux 5.14. */
  lookupAndDelete(key: K): V | undefined {
    this.#encodeKey(key, 0);
    const result = this.#elem(BPF_CMD.MAP_LOOKUP_AND_DELETE_ELEM);
    if (result === 0) return this.#decodeValue(this.#valueAt);
    return result === -ERRNO.ENOENT ? undefined : this.fail("BPF_MAP_LOOKUP_AND_DELETE_ELEM", result);
  }

  /**
   * Entries, read in batches where the kernel can (Linux 5.6), one by one else. Deleting
   * while iterating is safe; entries that a program adds meanwhile may or may not come.
   */
  *entries(): Generator<[K, V], void, undefined> {
    const cursor = this.#batch.begin();
    for (;;) {
      const list = cursor.next();
      if (list === noBatch) break;
      if (list === undefined) return;
      yield* list;
    }
    for (const key of this.#snapshotKeys()) {
      this.#bytes.set(key, 0);
      const k = this.#decodeKey(0);
      const value = this.get(k);
      if (value !== undefined) yield [k, value];
    }
  }

  /** All entries at once: the fastest way to read a whole map. */
  toArray(): [K, V][] {
    const all: [K, V][] = [];
    const cursor = this.#batch.begin();
    for (;;) {
      const list = cursor.next(all);
      if (list === noBatch) return [...this.entries()];
      if (list === undefined) return all;
    }
  }

  [Symbol.iterator](): Generator<[K, V], void, undefined> {
    return this.entries();
  }

  *keys(): Generator<K, void, undefined> {
    for (const key of this.#snapshotKeys()) {
      this.#bytes.set(key, 0);
      yield this.#decodeKey(0);
    }
  }

  *values(): Generator<V, void, undefined> {
    for (const [, value] of this.entries()) yield value;
  }

  forEach(callback: (value: V, key: K) => void): void {
    for (const [key, value] of this.entries()) callback(value, key);
  }

  /** How many entries there are now. Counts them: a map does not keep count. */
  get size(): number {
    return isArray(this.type) ? this.maxEntries : this.#snapshotKeys().length;
  }

  /** Writes many entries; in one call where the kernel can (Linux 5.6). */
  update(entries: Iterable<readonly [K, V]>, mode: UpdateMode = "any"): void {
    const list = [...entries];
    // The kernel stops a batch at the first entry that `mode` forbids: conditional writes go one by one.
    if (mode === "any" && this.#batch.update(list)) return;
    for (const [key, value] of list) this.set(key, value, mode);
  }

  /** Removes many entries; returns how many there were. */
  deleteMany(keys: Iterable<K>): number {
    let count = 0;
    for (const key of keys) if (this.delete(key)) count++;
    return count;
  }

  /** Reads and removes all entries: what programs counted since the last time. One call a batch where the kernel can. */
  drain(): [K, V][] {
    const drained = this.#batch.drain();
    if (drained !== undefined) return drained;
    const all: [K, V][] = [];
    for (const key of this.#snapshotKeys()) {
      this.#bytes.set(key, 0);
      const k = this.#decodeKey(0);
      const value = this.get(k);
      if (value !== undefined && this.delete(k)) all.push([k, value]);
    }
    return all;
  }

  /** Removes every entry; sets every value of an array to zeros. */
  clear(): void {
    if (!isArray(this.type)) {
      for (const key of this.#snapshotKeys()) {
        this.#bytes.set(key, 0);
        const result = this.#elem(BPF_CMD.MAP_DELETE_ELEM, DELETE_ATTR);
        if (result < 0 && result !== -ERRNO.ENOENT) this.fail("BPF_MAP_DELETE_ELEM", result);
      }
      return;
    }
    const keys = new DataView(this.memory);
    this.#bytes.fill(0, this.#valueAt, this.#nextKeyAt);
    for (let i = 0; i < this.maxEntries; i++) {
      keys.setUint32(0, i, LITTLE);
      const result = this.#elem(BPF_CMD.MAP_UPDATE_ELEM);
      if (result < 0) this.fail("BPF_MAP_UPDATE_ELEM", result);
    }
  }

  /** @internal raw bytes of every key now, each once even when entries vanish meanwhile (the kernel then starts over). */
  #snapshotKeys(): Uint8Array[] {
    const keys: Uint8Array[] = [];
    const seen = new Set<string>();
    this.#nextView.setUint32(0, this.fd, LITTLE);
    this.#nextView.setBigUint64(8, 0n, LITTLE);
    const keyAt = this.#view.getBigUint64(8, LITTLE);
    const budget = this.maxEntries * 2 + 1024;
    for (let step = 0; step < budget; step++) {
      const result = this.kernel.bpfAt(BPF_CMD.MAP_GET_NEXT_KEY, this.#nextAt, 24);
      if (result === -ERRNO.ENOENT) break;
      if (result < 0) this.fail("BPF_MAP_GET_NEXT_KEY", result);
      const key = this.#bytes.slice(this.#nextKeyAt, this.#nextKeyAt + this.keySize);
      const text = Buffer.from(key).toString("latin1");
      if (!seen.has(text)) {
        seen.add(text);
        keys.push(key);
      }
      this.#bytes.set(key, 0);
      this.#nextView.setBigUint64(8, keyAt, LITTLE);
    }
    return keys;
  }
}

/** A map whose value has one slot for each possible CPU: values are arrays, index = CPU. */
export class PerCpuMap<K = unknown, V = unknown> extends KvMap<K, V[]> {}

function isArray(type: number): boolean {
  return type === BPF_MAP_TYPE.ARRAY || type === BPF_MAP_TYPE.PERCPU_ARRAY;
}

/** The schema, or plain bytes where there is none; its size must be the map's. */
export function sized(schema: Schema | undefined, size: number, what: string): Schema {
  if (schema === undefined) return { kind: "bytes", length: size, size, align: 1 };
  if (schema.size !== size) {
    throw new BpfkitError("SCHEMA_SIZE", `${what}: the schema has ${schema.size} bytes, the map ${size}`);
  }
  return schema;
}

interface PerCpuShape {
  readonly slots: number;
  readonly slotSize: number;
  readonly what: string;
}

function perCpuDecoder(decode: Decode<unknown>, { slots, slotSize }: PerCpuShape): Decode<unknown[]> {
  return (offset) => {
    const values: unknown[] = [];
    for (let cpu = 0; cpu < slots; cpu++) values.push(decode(offset + cpu * slotSize));
    return values;
  };
}

function perCpuEncoder(encode: Encode<unknown>, { slots, slotSize, what }: PerCpuShape): Encode<unknown[]> {
  return (values, offset) => {
    if (!Array.isArray(values) || values.length !== slots) {
      throw new BpfkitError(
        "ARGUMENT",
        `${what}: expected an array with a value for each of the ${slots} possible CPUs`,
      );
    }
    for (let cpu = 0; cpu < slots; cpu++) encode(values[cpu], offset + cpu * slotSize);
  };
}
