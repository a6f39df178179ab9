/** Maps against the kernel's: the same random commands on both, by bpf(2) and by programs. `FUZZ_RUNS` sets how many sequences. */
import fc from "fast-check";
import type { MapSpec } from "../../src/elf/spec.ts";
import { bpf, possibleCpus, progTestRun } from "../../src/syscall/index.ts";
import { BPF_F, BPF_MAP_TYPE, ERRNO } from "../../src/uapi/index.ts";
import { Vm, type VmMap, collectionOf } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { createMap, kernel, mapSpec, mustLoad } from "./kernel-run.ts";
import { OPS, driver } from "./maps-driver.ts";

const test = suite("vm maps");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 40);
const hex = (bytes: Uint8Array | undefined): string =>
  bytes === undefined ? "none" : Buffer.from(bytes).toString("hex");

interface Command {
  readonly op: "lookup" | "update" | "delete" | "next" | "push" | "peek" | "pop";
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly flags: number;
}

/** What the command gives: the value or key in hex, or a (negative) errno. */
function onKernel(fd: number, map: VmMap, c: Command): string {
  const value = new Uint8Array(map.userValueSize);
  const nextKey = new Uint8Array(map.spec.keySize);
  const keyless = map.spec.keySize === 0;
  const key = keyless ? undefined : c.key;
  switch (c.op) {
    case "lookup":
    case "peek": {
      const result = bpf(kernel, "MAP_LOOKUP_ELEM", { map_fd: fd, key, value });
      return result < 0 ? (result === -ERRNO.ENOENT ? "none" : String(result)) : hex(value);
    }
    case "pop": {
      const result = bpf(kernel, "MAP_LOOKUP_AND_DELETE_ELEM", { map_fd: fd, key, value });
      return result < 0 ? (result === -ERRNO.ENOENT ? "none" : String(result)) : hex(value);
    }
    case "update":
    case "push":
      return String(bpf(kernel, "MAP_UPDATE_ELEM", { map_fd: fd, key, value: c.value, flags: BigInt(c.flags) }));
    case "delete":
      return String(bpf(kernel, "MAP_DELETE_ELEM", { map_fd: fd, key }));
    default: {
      const result = bpf(kernel, "MAP_GET_NEXT_KEY", { map_fd: fd, key, next_key: nextKey });
      return result < 0 ? (result === -ERRNO.ENOENT ? "none" : String(result)) : hex(nextKey);
    }
  }
}
function onVm(map: VmMap, c: Command): string {
  switch (c.op) {
    case "lookup":
      return hex(map.lookup(c.key));
    case "peek":
      return hex(map.peek());
    case "pop":
      return hex(map.pop());
    case "update":
      return String(map.update(c.key, c.value, c.flags));
    case "push":
      return String(map.push(c.value, c.flags));
    case "delete":
      return String(map.delete(c.key));
    default:
      return hex(map.nextKey(c.key));
  }
}

const bytesOf = (n: number, size: number): Uint8Array => {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = i < 4 ? (n >> (i * 8)) & 0xff : (n * 7 + i * 13) & 0xff;
  return bytes;
};

function keysOf(spec: MapSpec): fc.Arbitrary<Uint8Array> {
  if (spec.type === BPF_MAP_TYPE.LPM_TRIE) {
    const bits = (spec.keySize - 4) * 8;
    return fc
      .tuple(fc.nat(bits + 1), fc.constantFrom(0x0a, 0x0b, 0x80, 0xff), fc.nat(3), fc.nat(255))
      .map(([prefix, ...data]) => {
        const key = new Uint8Array(spec.keySize);
        new DataView(key.buffer).setUint32(0, prefix, true);
        key.set(data.slice(0, spec.keySize - 4), 4);
        return key;
      });
  }
  return fc.nat(9).map((n) => bytesOf(n, spec.keySize));
}

function commands(spec: MapSpec, valueSize: number, ops: readonly Command["op"][]): fc.Arbitrary<Command[]> {
  return fc.array(
    fc.record(
      {
        op: fc.constantFrom(...ops),
        key: keysOf(spec),
        value: fc.uint8Array({ minLength: valueSize, maxLength: valueSize }),
        flags: fc.constantFrom(0, 0, 0, 0, 1, 2, 3, 4, 5, 8),
      },
      { noNullPrototype: true },
    ),
    { maxLength: 60 },
  );
}

const KEYED: readonly Command["op"][] = ["lookup", "update", "update", "delete", "next"];
const SPECS: readonly {
  readonly spec: MapSpec;
  readonly ops: readonly Command["op"][];
  readonly since: string;
  readonly anyOrder?: boolean;
}[] = [
  { spec: mapSpec("hash", BPF_MAP_TYPE.HASH, 4, 8, 6), ops: KEYED, since: "5.4", anyOrder: true },
  { spec: mapSpec("hash7", BPF_MAP_TYPE.HASH, 7, 3, 5), ops: KEYED, since: "5.4", anyOrder: true },
  {
    spec: mapSpec("lazy", BPF_MAP_TYPE.HASH, 12, 5, 6, { flags: BPF_F.NO_PREALLOC }),
    ops: KEYED,
    since: "5.4",
    anyOrder: true,
  },
  { spec: mapSpec("array", BPF_MAP_TYPE.ARRAY, 4, 5, 6), ops: KEYED, since: "5.4" },
  { spec: mapSpec("percpu", BPF_MAP_TYPE.PERCPU_HASH, 4, 8, 6), ops: KEYED, since: "5.4", anyOrder: true },
  { spec: mapSpec("percpua", BPF_MAP_TYPE.PERCPU_ARRAY, 4, 6, 6), ops: KEYED, since: "5.4" },
  { spec: mapSpec("lpm", BPF_MAP_TYPE.LPM_TRIE, 6, 4, 6, { flags: BPF_F.NO_PREALLOC }), ops: KEYED, since: "6.13" },
  { spec: mapSpec("queue", BPF_MAP_TYPE.QUEUE, 0, 6, 4), ops: ["push", "push", "peek", "pop"], since: "5.4" },
  { spec: mapSpec("stack", BPF_MAP_TYPE.STACK, 0, 6, 4), ops: ["push", "push", "peek", "pop"], since: "5.4" },
];

for (const { spec, ops, since, anyOrder } of SPECS) {
  test(`${spec.name}: bpf(2)`, () => {
    requires({ root: true, kernel: since });
    const cpus = possibleCpus(kernel);
    const size = new Vm(collectionOf([], [spec]), { world: { cpus } }).map(spec.name).userValueSize;
    fc.assert(
      fc.property(commands(spec, size, ops), (list) => {
        const map = new Vm(collectionOf([], [spec]), { world: { cpus } }).map(spec.name);
        const fd = createMap(spec);
        try {
          list.forEach((c, i) => {
            if (c.op === "next" && anyOrder === true) {
              assert.equal(map.keys().map(hex).sort(), kernelKeys(fd, spec).sort(), `command ${i}: keys`);
            } else assert.is(onVm(map, c), onKernel(fd, map, c), `command ${i}: ${c.op} ${hex(c.key)} ${c.flags}`);
          });
        } finally {
          kernel.close(fd);
        }
      }),
      { numRuns: RUNS },
    );
  });
}

function kernelKeys(fd: number, spec: MapSpec): string[] {
  const keys: string[] = [];
  let key: Uint8Array | undefined;
  for (;;) {
    const next = new Uint8Array(spec.keySize);
    if (bpf(kernel, "MAP_GET_NEXT_KEY", { map_fd: fd, key, next_key: next }) < 0) return keys;
    keys.push(hex(next));
    key = next;
  }
}

test("a Bloom filter without a seed has the kernel's false positives", () => {
  requires({ root: true, kernel: "5.16" });
  for (const [valueSize, hashes] of [
    [4, 0],
    [8, 2],
    [5, 3],
    [16, 9],
    [13, 1],
    [24, 5],
  ] as const) {
    const spec = mapSpec("bloom", BPF_MAP_TYPE.BLOOM_FILTER, 0, valueSize, 20, {
      flags: BPF_F.ZERO_SEED,
      mapExtra: BigInt(hashes),
    });
    const map = new Vm(collectionOf([], [spec])).map("bloom");
    const fd = createMap(spec);
    for (let n = 0; n < 40; n++) {
      const value = bytesOf(n * 1001, valueSize);
      assert.is(map.push(value), bpf(kernel, "MAP_UPDATE_ELEM", { map_fd: fd, value, flags: 0n }));
    }
    let positives = 0;
    for (let n = 0; n < 600; n++) {
      const value = bytesOf(n * 77, valueSize);
      const want = bpf(kernel, "MAP_LOOKUP_ELEM", { map_fd: fd, value });
      assert.is(map.has(value), want === 0, `value size ${valueSize}, ${n}`);
      if (want === 0) positives++;
    }
    assert.ok(positives > 0 && positives < 600, `${positives} positives`);
    kernel.close(fd);
  }
});

const DRIVEN: readonly { readonly spec: MapSpec; readonly keys: number; readonly length: number }[] = [
  { spec: mapSpec("hash", BPF_MAP_TYPE.HASH, 4, 4, 6), keys: 9, length: 60 },
  { spec: mapSpec("array", BPF_MAP_TYPE.ARRAY, 4, 4, 6), keys: 9, length: 60 },
  { spec: mapSpec("percpu", BPF_MAP_TYPE.PERCPU_HASH, 4, 4, 6), keys: 9, length: 60 },
  { spec: mapSpec("percpua", BPF_MAP_TYPE.PERCPU_ARRAY, 4, 4, 6), keys: 9, length: 60 },
  { spec: mapSpec("lru", BPF_MAP_TYPE.LRU_HASH, 4, 4, 8), keys: 14, length: 150 },
  { spec: mapSpec("lru200", BPF_MAP_TYPE.LRU_HASH, 4, 4, 200), keys: 300, length: 1500 },
  { spec: mapSpec("lru700", BPF_MAP_TYPE.LRU_HASH, 4, 4, 700), keys: 1000, length: 4000 },
  { spec: mapSpec("lrupercpu", BPF_MAP_TYPE.LRU_PERCPU_HASH, 4, 4, 40), keys: 60, length: 500 },
];

for (const { spec, keys, length } of DRIVEN) {
  test(
    `${spec.name} of ${spec.maxEntries}: a program on CPU 0`,
    () => {
      // The share of the free list that a CPU takes at once has depended on the map's size since 6.16.
      requires({ root: true, kernel: spec.name.startsWith("lru") ? "6.16" : "5.10" });
      const cpus = possibleCpus(kernel);
      const prog = driver(spec);
      const ops = fc.array(
        fc.tuple(
          fc.constantFrom<keyof typeof OPS>("lookup", "lookup", "update", "update", "update", "delete"),
          fc.nat(keys),
          fc.nat(0xffff),
          fc.constantFrom(0, 0, 0, 0, 0, 1, 2, 3, 4),
        ),
        { maxLength: length, size: "max" },
      );
      fc.assert(
        fc.property(ops, (list) => {
          const vm = new Vm(collectionOf([prog], [spec]), { world: { cpus } });
          const mapFd = createMap(spec);
          const fd = mustLoad(prog, { [spec.name]: mapFd });
          try {
            list.forEach(([op, key, value, flags], i) => {
              const ctx = new Uint8Array(
                new BigUint64Array([BigInt(OPS[op]), BigInt(key), BigInt(value), BigInt(flags)]).buffer,
              );
              const want = progTestRun(kernel, fd, { ctx, flags: 1, cpu: 0 }).returnValue;
              const got = vm.run(prog.name, { ctx }).returnValue;
              assert.is(got | 0, want | 0, `command ${i}: ${op} ${key} flags ${flags}`);
            });
            assert.equal(vm.map(spec.name).keys().map(hex).sort(), kernelKeys(mapFd, spec).sort(), "keys at the end");
          } finally {
            kernel.close(fd);
            kernel.close(mapFd);
          }
        }),
        { numRuns: Math.max(3, Math.ceil((RUNS * 30) / length)) },
      );
    },
    { timeoutMs: 60_000 + RUNS * 500 },
  );
}
