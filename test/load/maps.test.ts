import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import {
  type BloomMap,
  type BpfMap,
  type FdMap,
  type KvMap,
  type MapSchemas,
  PerCpuMap,
  type QueueMap,
  StackTraceMap,
  mapObject,
} from "../../src/load/index.ts";
import type { IntSchema, Schema } from "../../src/probe/schema-types.ts";
import { Fd, type Kernel, check, mapCreateRaw, possibleCpus, realKernel } from "../../src/syscall/index.ts";
import { BPF_F, BPF_MAP_TYPE } from "../../src/uapi/index.ts";

const test = suite("load maps");
const kernel = realKernel();

const u32: IntSchema = { kind: "int", name: "u32", bits: 32, signed: false, bigEndian: false, size: 4, align: 4 };
const u64: IntSchema = { kind: "int", name: "u64", bits: 64, signed: false, bigEndian: false, size: 8, align: 8 };
const pair: Schema = {
  kind: "struct",
  name: undefined,
  packed: false,
  size: 16,
  align: 8,
  fields: [
    { name: "a", offset: 0, schema: u32 },
    { name: "b", offset: 8, schema: u64 },
  ],
};

function make<T extends BpfMap>(
  type: number,
  keySize: number,
  valueSize: number,
  maxEntries: number,
  schemas: MapSchemas,
  options: { flags?: number; kernel?: Kernel; innerMapFd?: number } = {},
): T {
  const k = options.kernel ?? kernel;
  const result = mapCreateRaw(kernel, {
    type,
    keySize,
    valueSize,
    maxEntries,
    flags: options.flags ?? 0,
    ...(options.innerMapFd === undefined ? {} : { innerMapFd: options.innerMapFd }),
  });
  const fd = new Fd(kernel, check(kernel, result, "BPF_MAP_CREATE"), "map");
  return mapObject(k, fd, { name: "m", type, keySize, valueSize, maxEntries, flags: options.flags ?? 0 }, schemas) as T;
}

/** A kernel without batch commands, as before 5.6. */
const withoutBatch: Kernel = new Proxy(kernel, {
  get(target, name) {
    if (name === "bpf")
      return (cmd: number, attr: Uint8Array, size?: number) =>
        cmd >= 24 && cmd <= 27 ? -22 : target.bpf(cmd, attr, size);
    const value: unknown = Reflect.get(target, name, target);
    return typeof value === "function" ? (value as (...a: unknown[]) => unknown).bind(target) : value;
  },
});

for (const [label, k] of [
  ["batch", kernel],
  ["one by one", withoutBatch],
] as const) {
  test(`a hash map behaves like a JavaScript Map (${label})`, () => {
    requires({ root: true });
    const map = make<KvMap<number, { a: number; b: bigint }>>(
      BPF_MAP_TYPE.HASH,
      4,
      16,
      100,
      { key: u32, value: pair },
      { kernel: k },
    );
    const model = new Map<number, { a: number; b: bigint }>();
    for (let i = 0; i < 60; i++) {
      const value = { a: i, b: BigInt(i) << 40n };
      assert.is(map.set(i * 7, value), true);
      model.set(i * 7, value);
    }
    assert.is(map.size, 60);
    assert.equal(map.get(21), { a: 3, b: 3n << 40n });
    assert.is(map.get(22), undefined);
    assert.is(map.has(21), true);
    assert.is(map.has(22), false);
    assert.equal(new Map(map), model);
    assert.equal(new Map(map.toArray()), model);
    assert.equal(
      [...map.keys()].toSorted((a, b) => a - b),
      [...model.keys()],
    );
    assert.equal(
      [...map.values()].map((v) => v.a).toSorted((a, b) => a - b),
      [...model.values()].map((v) => v.a),
    );
    assert.is(map.set(21, { a: 9, b: 9n }, "create"), false);
    assert.is(map.set(22, { a: 9, b: 9n }, "exist"), false);
    assert.is(map.set(21, { a: 9, b: 9n }, "exist"), true);
    assert.equal(map.lookupAndDelete(21), { a: 9, b: 9n });
    assert.is(map.lookupAndDelete(21), undefined);
    assert.is(map.delete(21), false);
    // Deleting what is being iterated visits every entry once.
    const seen: number[] = [];
    for (const [key] of map) {
      seen.push(key);
      assert.is(map.delete(key), true);
    }
    assert.is(new Set(seen).size, 59);
    assert.is(seen.length, 59);
    assert.is(map.size, 0);
    map.update([
      [1, { a: 1, b: 1n }],
      [2, { a: 2, b: 2n }],
    ]);
    assert.equal(
      map.drain().toSorted((x, y) => x[0] - y[0]),
      [
        [1, { a: 1, b: 1n }],
        [2, { a: 2, b: 2n }],
      ],
    );
    assert.is(map.size, 0);
    map.update(Array.from({ length: 50 }, (_, i) => [i, { a: i, b: 0n }]));
    assert.is(map.deleteMany([1, 2, 3, 1000]), 3);
    map.clear();
    assert.equal(map.toArray(), []);
    map.close();
    map.close();
    assert.throwsCode(() => map.get(1), "CLOSED", /^map is closed/);
  });

  test(`an array has all its entries (${label})`, () => {
    requires({ root: true });
    const map = make<KvMap<number, bigint>>(BPF_MAP_TYPE.ARRAY, 4, 8, 5, { key: u32, value: u64 }, { kernel: k });
    map.set(3, 33n);
    assert.equal(map.toArray(), [
      [0, 0n],
      [1, 0n],
      [2, 0n],
      [3, 33n],
      [4, 0n],
    ]);
    assert.is(map.size, 5);
    assert.throwsCode(() => map.set(5, 1n), "SYSCALL", /E2BIG .*beyond its 5 entries/);
    assert.is(map.get(5), undefined);
    assert.throwsCode(() => map.delete(3), "SYSCALL", /EINVAL/);
    map.clear();
    assert.is(map.get(3), 0n);
    map.close();
  });

  for (const type of ["PERCPU_HASH", "PERCPU_ARRAY", "LRU_PERCPU_HASH"] as const) {
    test(`${type}: one value for each possible CPU (${label})`, () => {
      requires({ root: true });
      const map = make<PerCpuMap<number, number>>(
        BPF_MAP_TYPE[type],
        4,
        4,
        16,
        { key: u32, value: u32 },
        { kernel: k },
      );
      assert.ok(map instanceof PerCpuMap);
      const cpus = possibleCpus(kernel);
      const values = Array.from({ length: cpus }, (_, cpu) => cpu + 100);
      map.set(7, values);
      assert.equal(map.get(7), values);
      assert.equal(
        map.toArray().filter(([, v]) => v[0] !== 0),
        [[7, values]],
      );
      assert.throwsCode(
        () => map.set(7, [1, 2, 3, 4, 5, 6, 7, 8, 9].slice(0, cpus + 1)),
        "ARGUMENT",
        /each of the \d+ possible CPUs/,
      );
      map.close();
    });
  }

  test(`an LRU map drops old entries instead of refusing new ones (${label})`, () => {
    requires({ root: true });
    const map = make<KvMap<number, bigint>>(BPF_MAP_TYPE.LRU_HASH, 4, 8, 64, { key: u32, value: u64 }, { kernel: k });
    for (let i = 0; i < 1000; i++) map.set(i, BigInt(i));
    const entries = map.toArray();
    assert.ok(entries.length > 0 && entries.length <= 64, `${entries.length} entries`);
    for (const [key, value] of entries) assert.is(value, BigInt(key));
    map.close();
  });
}

test("a batch grows when one bucket holds more than fits; 20,000 entries come back", () => {
  requires({ root: true, kernel: "5.6" });
  const map = make<KvMap<number, bigint>>(BPF_MAP_TYPE.HASH, 4, 8, 20_000, { key: u32, value: u64 });
  map.update(Array.from({ length: 20_000 }, (_, i) => [i, BigInt(i) * 3n]));
  const all = map.toArray();
  assert.is(all.length, 20_000);
  assert.ok(all.every(([key, value]) => value === BigInt(key) * 3n));
  assert.throwsCode(() => map.set(20_001, 1n), "SYSCALL", /E2BIG.*the map is full/);
  map.close();
});

test("LPM tries match the longest prefix", () => {
  requires({ root: true });
  const key: Schema = {
    kind: "struct",
    name: undefined,
    packed: false,
    size: 8,
    align: 4,
    fields: [
      { name: "prefix", offset: 0, schema: u32 },
      { name: "addr", offset: 4, schema: { ...u32, bigEndian: true } },
    ],
  };
  const map = make<KvMap<{ prefix: number; addr: number }, number>>(
    BPF_MAP_TYPE.LPM_TRIE,
    8,
    4,
    10,
    { key, value: u32 },
    { flags: BPF_F.NO_PREALLOC },
  );
  map.set({ prefix: 8, addr: 0x0a00_0000 }, 1);
  map.set({ prefix: 24, addr: 0x0a01_0200 }, 2);
  assert.is(map.get({ prefix: 32, addr: 0x0a01_0203 }), 2);
  assert.is(map.get({ prefix: 32, addr: 0x0aff_0203 }), 1);
  assert.is(map.get({ prefix: 32, addr: 0x0b00_0001 }), undefined);
  assert.is(map.toArray().length, 2);
  map.close();
});

test("queues, stacks and Bloom filters", () => {
  requires({ root: true, kernel: "5.16" });
  const queue = make<QueueMap<number>>(BPF_MAP_TYPE.QUEUE, 0, 4, 2, { value: u32 });
  assert.equal(
    [queue.push(1), queue.push(2), queue.push(3), queue.push(4, { overwrite: true })],
    [true, true, false, true],
  );
  assert.equal([queue.peek(), queue.pop(), queue.pop(), queue.pop()], [2, 2, 4, undefined]);
  const stack = make<QueueMap<number>>(BPF_MAP_TYPE.STACK, 0, 4, 2, { value: u32 });
  stack.push(1);
  stack.push(2);
  assert.equal([stack.pop(), stack.pop(), stack.pop()], [2, 1, undefined]);
  const bloom = make<BloomMap<number>>(BPF_MAP_TYPE.BLOOM_FILTER, 0, 4, 100, { value: u32 });
  bloom.add(5);
  assert.is(bloom.has(5), true);
  assert.is(bloom.has(123_456), false);
  for (const map of [queue, stack, bloom]) map.close();
});

test("maps of maps are written as descriptors and read as ids; a stack-trace map is empty", () => {
  requires({ root: true });
  const inner = make<KvMap>(BPF_MAP_TYPE.ARRAY, 4, 4, 1, {});
  const outer = make<FdMap>(BPF_MAP_TYPE.ARRAY_OF_MAPS, 4, 4, 3, {}, { innerMapFd: inner.fd });
  outer.set(1, inner);
  assert.ok((outer.get(1) ?? 0) > 0);
  assert.is(outer.get(0), undefined);
  assert.is(outer.delete(1), true);
  assert.is(outer.get(1), undefined);
  const stacks = make<StackTraceMap>(BPF_MAP_TYPE.STACK_TRACE, 4, 8 * 20, 16, {});
  assert.ok(stacks instanceof StackTraceMap);
  assert.is(stacks.get(3), undefined);
  for (const map of [inner, outer, stacks]) map.close();
});

test("maps without a schema take and give bytes; a schema of another size is refused", () => {
  requires({ root: true });
  const map = make<KvMap<Uint8Array, Uint8Array>>(BPF_MAP_TYPE.HASH, 3, 5, 4, {});
  map.set(Uint8Array.of(1, 2, 3), Uint8Array.of(5, 4, 3, 2, 1));
  assert.bytes(map.get(Uint8Array.of(1, 2, 3)) ?? new Uint8Array(0), Uint8Array.of(5, 4, 3, 2, 1));
  assert.throwsCode(() => map.get(Uint8Array.of(1)), "ARGUMENT", /^key: expected a Uint8Array of 3 bytes/);
  map.close();
  assert.throwsCode(
    () => make(BPF_MAP_TYPE.HASH, 4, 8, 4, { key: u32, value: u32 }),
    "SCHEMA_SIZE",
    /the schema has 4 bytes, the map 8/,
  );
});
