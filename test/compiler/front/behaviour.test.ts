/** Whole programs on the running kernel: what a user would see in maps, globals and samples. */
import type { TestRunOptions } from "../../../src/syscall/index.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { loaded, runningBtf } from "../compile-text.ts";

const test = suite("compiler behaviour");
const needs = { root: true, capability: ["CAP_BPF", "CAP_NET_ADMIN"], kernel: "5.8" } as const;

/** Runs program `p` once on a packet and gives the collection to look at. */
function run(
  text: string,
  check: (c: ReturnType<typeof loaded>, result: number) => void,
  input: TestRunOptions = { data: new Uint8Array(64) },
): void {
  requires(needs);
  const c = loaded(text, { btf: runningBtf() });
  try {
    check(c, c.prog("p").testRun(input).returnValue);
  } finally {
    c.close();
  }
}

test("maps: set, get, has, delete, add, getOrInsert", () => {
  run(
    `import { hash, u32, u64, xdp, struct, global } from "bpfkit";
const V = struct({ n: u64, last: u32 });
export const m = hash(u32, u64);
export const s = hash(u32, V);
export const flags = global(u64, 0);
export const p = xdp(() => {
  m.set(1, 10);
  m.add(1, 5);
  m.add(2, 7);
  m.set(3, 1);
  if (m.delete(3)) flags.value |= 1;
  if (!m.has(3)) flags.value |= 2;
  const one = m.get(1);
  if (one === undefined) return 0;
  if (one === 15) flags.value |= 4;
  s.set(9, { n: 1, last: 2 });
  const v = s.get(9);
  if (!v) return 0;
  v.n += 41;
  v.last = one;
  let w = s.get(10);
  if (!w) {
    s.set(10, { n: 100, last: 0 });
    w = s.get(10);
    if (!w) return 0;
  }
  w.n++;
  const missing = m.get(77) ?? 5;
  if (missing === 5) flags.value |= 8;
  return 2;
});`,
    (c, result) => {
      assert.is(result, 2);
      assert.equal(
        c
          .map("m")
          .toArray()
          .sort((a, b) => Number(a[0]) - Number(b[0])),
        [
          [1, 15n],
          [2, 7n],
        ],
      );
      assert.equal(c.map("s").get(9), { n: 42n, last: 15 });
      assert.equal(c.map("s").get(10), { n: 101n, last: 0 });
      assert.is(c.variable<bigint>("flags").value, 15n);
    },
  );
});

test("a number read from a map is a copy", () => {
  run(
    `import { hash, u32, u64, xdp, global } from "bpfkit";
export const m = hash(u32, u64);
export const before = global(u64, 0);
export const p = xdp(() => {
  m.set(1, 10);
  const old = m.get(1);
  m.set(1, 99);
  if (old === undefined) return 1;
  before.value = old;
  return 2;
});`,
    (c) => assert.is(c.variable<bigint>("before").value, 10n),
  );
});

test("strings: comm, literals, compare, startsWith, struct copies", () => {
  run(
    `import { char, global, hash, rawTracepoint, struct, u32 } from "bpfkit";
const E = struct({ id: u32, name: char(16), kind: char(8) });
export const m = hash(u32, E);
export const bits = global(u32, 0);
export const p = rawTracepoint("sys_enter", (_ctx, bpf) => {
  const comm = bpf.comm();
  m.set(1, { id: 7, name: comm, kind: "abc" });
  const e = m.get(1);
  if (!e) return 0;
  if (e.name === comm) bits.value |= 1;
  if (e.kind === "abc") bits.value |= 2;
  if (e.kind !== "abd") bits.value |= 4;
  if (e.kind.startsWith("ab")) bits.value |= 8;
  if (!e.kind.startsWith("b")) bits.value |= 16;
  m.set(2, { ...e, id: 8 });
  m.set(3, e);
  switch (e.kind) {
    case "xyz": bits.value |= 32; break;
    case "abc": bits.value |= 64; break;
    default: bits.value |= 128;
  }
  return 2;
});`,
    (c) => {
      assert.is(c.variable<number>("bits").value, 1 + 2 + 4 + 8 + 16 + 64);
      const name = (c.map<number, { name: string }>("m").get(1) as { name: string }).name;
      assert.ok(name.length > 0);
      assert.equal(c.map("m").get(2), { id: 8, name, kind: "abc" });
      assert.equal(c.map("m").get(3), { id: 7, name, kind: "abc" });
    },
    { ctx: new Uint8Array(16) },
  );
});

test("samples that are entries already, zeros, and spread records", () => {
  run(
    `import { hash, ringbuf, struct, u32, u64, char, xdp } from "bpfkit";
const S = struct({ a: u32, b: u32, c: u64, name: char(16) });
export const m = hash(u32, S);
export const out = ringbuf(S);
export const p = xdp(() => {
  m.set(1, S());
  const e = m.getOrInsert(2, S());
  const z = m.get(1);
  if (!e || !z) return 0;
  const some = { b: 7, c: 9 };
  m.set(3, { a: 5, ...some, name: "xyz" });
  m.set(4, S({ ...some }));
  z.name = "one";
  e.a = 3;
  if (!out.emit(z) || !out.emit(e)) return 0;
  return 2;
});`,
    (c, result) => {
      assert.is(result, 2);
      assert.equal(c.map("m").get(1), { a: 0, b: 0, c: 0n, name: "one" });
      assert.equal(c.map("m").get(3), { a: 5, b: 7, c: 9n, name: "xyz" });
      assert.equal(c.map("m").get(4), { a: 0, b: 7, c: 9n, name: "" });
      const samples: unknown[] = [];
      c.events("out").drain((s) => samples.push(s));
      assert.equal(samples, [
        { a: 0, b: 0, c: 0n, name: "one" },
        { a: 3, b: 0, c: 0n, name: "" },
      ]);
    },
  );
});

test("functions: inlined, closures, several returns, destructuring, defaults", () => {
  run(
    `import { global, u64, xdp, struct, u32, hash } from "bpfkit";
const P = struct({ x: u32, y: u32 });
export const m = hash(u32, P);
export const out = global(u64, 0);
const table = [2, 3, 5, 7];
const settings = Object.freeze({ scale: 10, names: ["a", "b"] });
function clamp(v: number, low: number, high = 100) {
  if (v < low) return low;
  if (v > high) return high;
  return v;
}
const find = (k: number) => {
  const e = m.get(k);
  if (!e) return undefined;
  return e;
};
export const p = xdp(() => {
  let sum = u64(0);
  const add = (n: number) => { sum += n; };
  for (const t of table) add(t * settings.scale);
  add(clamp(u64(5000), 0));
  add(clamp(u64(3), 9));
  m.set(1, { x: 30, y: 4 });
  const e = find(1);
  if (e) { const { x, y } = e; add(x * y); }
  if (find(2)) add(1_000_000);
  const [q, r] = [sum / 7, sum % 7];
  out.value = q * 1000 + r;
  return 2;
});`,
    (c) => {
      const sum = 170n + 100n + 9n + 120n;
      assert.is(c.variable<bigint>("out").value, (sum / 7n) * 1000n + (sum % 7n));
    },
  );
});

test("arrays: index at run time, out of range reads 0 and writes nothing, for … of", () => {
  run(
    `import { array, global, u32, u64, xdp } from "bpfkit";
export const a = global(array(u32, 8), [1, 2, 3, 4, 5, 6, 7, 8]);
export const at = global(u32, 5);
export const far = global(u32, 50);
export const out = global(array(u64, 4), [0, 0, 0, 0]);
export const p = xdp(() => {
  out.value[0] = a.value[at.value];
  out.value[1] = a.value[far.value] + 7;
  a.value[far.value] = 99;
  a.value[at.value] += 10;
  let sum = u64(0);
  for (const x of a.value) sum += x;
  out.value[2] = sum;
  out.value[3] = a.value.length;
  return 2;
});`,
    (c) => assert.equal(c.variable("out").value, [6n, 7n, 46n, 8n]),
  );
});

test("ring buffer: emit and reserve", () => {
  requires(needs);
  const c = loaded(
    `import { char, ringbuf, struct, u32, u64, xdp } from "bpfkit";
const S = struct({ a: u32, b: u64, text: char(12) });
export const events = ringbuf(S);
export const p = xdp((_ctx, bpf) => {
  events.emit({ a: 1, b: bpf.nsecs() > 0 ? 22 : 0, text: "hi" });
  const s = events.reserve();
  if (!s) return 0;
  s.a = 3;
  s.b = 4;
  s.text = "there";
  events.submit(s);
  const t = events.reserve();
  if (!t) return 0;
  events.discard(t);
  return 2;
});`,
  );
  const seen: unknown[] = [];
  const reader = c.events("events");
  c.prog("p").testRun({ data: new Uint8Array(64) });
  reader.drain((e: unknown) => void seen.push({ ...(e as object) }));
  c.close();
  assert.equal(seen, [
    { a: 1, b: 22n, text: "hi" },
    { a: 3, b: 4n, text: "there" },
  ]);
});

test("packets: bounds, network byte order, writing", () => {
  const packet = new Uint8Array(64);
  packet.set([0x08, 0x00], 12);
  packet.set([0x45, 0, 0x12, 0x34], 14);
  packet[23] = 17;
  run(
    `import { XDP, array, be16, be32, global, packed, struct, u16, u32, u8, xdp } from "bpfkit";
const Ethernet = packed({ destination: array(u8, 6), source: array(u8, 6), type: be16 });
const Ipv4 = struct({ vl: u8, tos: u8, length: be16, id: be16, fragment: be16, ttl: u8, protocol: u8, checksum: u16, source: be32, destination: be32 });
const Udp = packed({ source: be16, destination: be16, length: be16, checksum: u16 });
export const out = global(array(u32, 4), [0, 0, 0, 0]);
export const p = xdp((ctx) => {
  const eth = ctx.packet(Ethernet);
  if (!eth || eth.type !== 0x800) return XDP.ABORTED;
  const ip = ctx.packet(Ipv4, Ethernet.size);
  if (!ip) return XDP.DROP;
  out.value[0] = ip.length;
  out.value[1] = ip.protocol;
  const udp = ctx.packet(Udp, Ethernet.size + (ip.vl & 15) * 4);
  if (udp) { udp.destination = 0x1234; out.value[2] = udp.destination; }
  if (!ctx.packet(Ipv4, 60)) out.value[3] = 1;
  return XDP.PASS;
});`,
    (c, result) => {
      assert.is(result, 2);
      assert.equal(c.variable("out").value, [0x1234, 17, 0x1234, 1]);
    },
    { data: packet },
  );
});

test("histograms count in the right bucket", () => {
  requires(needs);
  const values = [
    0n,
    1n,
    2n,
    3n,
    4n,
    255n,
    256n,
    65535n,
    65536n,
    (1n << 40n) + 1n,
    (1n << 63n) - 1n,
    1n << 63n,
    (1n << 64n) - 1n,
  ];
  const c = loaded(
    `import { array, global, histogram, u32, u64, xdp } from "bpfkit";
export const h = histogram();
export const lin = histogram({ min: 10, max: 50, step: 10 });
export const by = histogram(u32);
export const v = global(u64, 0);
export const p = xdp(() => { h.increment(v.value); lin.increment(v.value); by.increment(5, v.value); return 2; });`,
  );
  const seen: number[] = [];
  const linear: number[] = [];
  const count = (map: string): number[] =>
    c
      .perCpu<number, bigint>(map)
      .toArray()
      .map(([, cpus]) => Number(cpus.reduce((a, b) => a + b, 0n)));
  for (const v of values) {
    c.variable<bigint>("v").value = v;
    const [before, linBefore] = [count("h"), count("lin")];
    c.prog("p").testRun({ data: new Uint8Array(64) });
    seen.push(count("h").findIndex((n, i) => n !== before[i]));
    linear.push(count("lin").findIndex((n, i) => n !== linBefore[i]));
  }
  const keyed = c
    .perCpu<{ key: number; bucket: number }, bigint>("by")
    .toArray()
    .map(([k]) => k.bucket)
    .sort((a, b) => a - b);
  c.close();
  const bucket = (v: bigint): number => (v === 0n ? 0 : v.toString(2).length);
  assert.equal(seen, values.map(bucket));
  assert.equal(
    linear,
    values.map((v) => (v < 10n ? 0 : v >= 50n ? 5 : Number((v - 10n) / 10n) + 1)),
  );
  assert.equal(
    keyed,
    [...new Set(values.map(bucket))].sort((a, b) => a - b),
  );
});

test("configuration is read-only and can be set at load", () => {
  requires(needs);
  const text = `import { config, u32, xdp } from "bpfkit";
export const limit = config(u32, 5);
export const p = xdp(() => limit.value + 1);`;
  const c = loaded(text, { config: { limit: 41 } });
  assert.is(c.prog("p").testRun({ data: new Uint8Array(64) }).returnValue, 42);
  c.close();
});

test("kernel memory: field chains, text, exists, sizeof, enum values", () => {
  requires({ ...needs, kernel: "5.11" });
  const c = loaded(
    `import { char, global, rawTracepoint, u32, u64 } from "bpfkit";
export const out = global(u64, 0);
export const tgid = global(u32, 0);
export const parent = global(u32, 0);
export const name = global(char(16), "");
export const p = rawTracepoint("sys_enter", (_ctx, bpf) => {
  const t = bpf.task();
  tgid.value = t.tgid;
  parent.value = t.real_parent.tgid;
  name.value = t.comm;
  if (bpf.exists(t.comm)) out.value |= 1;
  if (!bpf.exists(t.no_such_field)) out.value |= 2;
  if (bpf.exists("struct task_struct")) out.value |= 4;
  if (bpf.sizeOf("struct task_struct") > 1000) out.value |= 8;
  if (bpf.enumValue("pid_type", "PIDTYPE_TGID") === 1) out.value |= 16;
  if (t.pid === bpf.tid()) out.value |= 0;
});`.replace("if (t.pid === bpf.tid()) out.value |= 0;", "if (u32(t.pid) === bpf.tid()) out.value |= 32;"),
    { btf: runningBtf() },
  );
  c.prog("p").testRun({ ctx: new Uint8Array(16) });
  assert.is(c.variable<number>("tgid").value, process.pid);
  assert.is(c.variable<number>("parent").value, process.ppid);
  assert.ok(c.variable<string>("name").value.length > 0);
  assert.is(c.variable<bigint>("out").value, 63n);
  c.close();
});

test("a reservation is discarded on every way out that did not submit it", () => {
  requires(needs);
  const c = loaded(
    `import { ringbuf, struct, u32, range, xdp, global } from "bpfkit";
const S = struct({ n: u32 });
export const events = ringbuf(S);
export const stop = global(u32, 1);
export const p = xdp(() => {
  if (stop.value === 9) return 0;
  const s = events.reserve();
  if (!s) return 1;
  s.n = 5;
  if (stop.value === 1) return 7;
  if (stop.value === 2) events.submit(s);
  for (const i of range(4)) {
    const t = events.reserve();
    if (!t) break;
    t.n = i;
    if (i === 1) continue;
    if (i === 3) return 8;
    events.submit(t);
  }
  return 2;
});`,
  );
  const reader = c.events<{ n: number }>("events");
  const seen: number[] = [];
  const run = (stop: number): number => {
    c.variable<number>("stop").value = stop;
    const { returnValue } = c.prog("p").testRun({ data: new Uint8Array(64) });
    reader.drain((e) => void seen.push(e.n));
    return returnValue;
  };
  assert.equal([run(9), run(1), run(2), run(3)], [0, 7, 8, 8]);
  c.close();
  assert.equal(seen, [5, 0, 2, 0, 2]);
});

test("range without a bound, and maps, are looped by the kernel", () => {
  requires({ ...needs, kernel: "5.17" });
  run(
    `import { array, global, hash, range, struct, u32, u64, xdp } from "bpfkit";
const V = struct({ n: u64, seen: u32 });
export const m = hash(u32, V);
export const plain = hash(u32, u64);
export const n = global(u32, 1000);
export const out = global(array(u64, 8), []);
export const p = xdp((ctx) => {
  let sum = u64(0);
  let last = u64(0);
  for (const i of range(n.value)) {
    if (i === 3) continue;
    if (i === 500) break;
    sum += i;
    last = i;
  }
  out.value[0] = sum;
  out.value[1] = last;
  for (const k of range(5)) {
    m.set(k, { n: k * 10, seen: 0 });
    plain.set(k, k);
  }
  let total = u64(0);
  const add = (x: number) => { total += x; };
  for (const [key, value] of m) {
    if (key === 4) continue;
    value.seen = key + 1;
    add(value.n);
  }
  out.value[2] = total;
  let found = u64(0);
  plain.forEach((value, key) => { if (key === 2) found = value + 100; });
  out.value[3] = found;
  const first = (limit: number) => {
    for (const i of range(n.value)) { if (i * i > limit) return i; }
    return 0;
  };
  out.value[4] = first(2000);
  out.value[5] = ctx.ingress_ifindex;
  for (const i of range(n.value)) {
    for (const j of range(n.value)) { if (j > i) break; out.value[6] += 1; if (i > 10) return 5; }
  }
  return 2;
});`,
    (c, result) => {
      assert.is(result, 5);
      const sum = Array.from({ length: 500 }, (_, i) => i)
        .filter((i) => i !== 3)
        .reduce((a, b) => a + b, 0);
      const out = c.variable<bigint[]>("out").value;
      assert.equal(out.slice(0, 5), [BigInt(sum), 499n, 60n, 102n, 45n]);
      assert.equal(out[6], 67n);
      assert.equal(
        (c.map<number, { seen: number }>("m").toArray() as [number, { seen: number }][])
          .sort((a, b) => a[0] - b[0])
          .map(([, v]) => v.seen),
        [1, 2, 3, 4, 0],
      );
    },
  );
});

test("structs: nested, arrays, unions, enumerations, copies, struct keys", () => {
  run(
    `import { array, be32, bool, enumOf, global, hash, range, s64, struct, u16, u32, u64, u8, union, xdp } from "bpfkit";
const State = enumOf({ CLOSED: 0, OPEN: 1, BUSY: 7 });
const Inner = struct({ x: u16, y: u8 });
const U = union({ v4: be32, v6: array(be32, 4) });
const S = struct({ state: State, on: bool, inner: Inner, list: array(Inner, 3), addr: U, tail: u8 });
export const m = hash(u32, S);
export const byInner = hash(Inner, u64);
export const out = global(array(u64, 16), []);
export const sg = global(s64, -5);
export const p = xdp((ctx, bpf) => {
  m.set(1, { state: "OPEN", on: true, inner: { x: 1, y: 2 }, list: [{ x: 3, y: 4 }, { x: 5, y: 6 }], addr: { v4: 0x01020304 }, tail: 9 });
  const s = m.get(1);
  if (!s) return 0;
  if (s.state === State.OPEN && s.state === "OPEN" && s.state !== "BUSY") out.value[0] = 1;
  s.state = State.BUSY;
  if (s.on) out.value[1] = s.list[1].x * 10 + s.list[1].y;
  for (const [i, v] of [[0, 7], [2, 9]]) s.list[i].y = v;
  s.inner = s.list[0];
  out.value[2] = s.inner.x * 100 + s.inner.y;
  let n = u64(0);
  for (const e of s.list) n += e.y;
  out.value[3] = n;
  byInner.add({ x: 5, y: 6 }, 3);
  byInner.add(s.list[1], 4);
  out.value[4] = byInner.get({ x: 5, y: 6 }) ?? 0;
  out.value[5] = s.addr.v4;
  out.value[6] = u64(sg.value >> 1);
  const copy = { ...s, tail: 3 };
  m.set(2, copy);
  const t = m.get(2);
  out.value[7] = t?.tail ?? 55;
  out.value[8] = m.get(3)?.tail ?? 55;
  const flip = s.on ? !s.on : s.on;
  if (!flip) out.value[9] = 1;
  const { x, y } = s.list[1];
  out.value[10] = x + y;
  s.list[2] = { x: 1000, y: 200 };
  out.value[11] = s.list[2].x + s.list[2].y;
  const i = ctx.rx_queue_index;
  out.value[12] = s.list[i].x;
  s.list[i + 100].x = 5;
  outer: for (const a of range(4)) { for (const b of range(4)) { if (a * b === 6) { out.value[13] = a * 10 + b; break outer; } if (b > a) continue outer; out.value[14] += 1; } }
  return 2;
});
`,
    (c, result) => {
      assert.is(result, 2);
      const expected = [1, 56, 307, 22, 7, 0x01020304, 0, 3, 55, 1, 11, 1200, 3, 23, 6, 0].map(BigInt);
      expected[6] = (1n << 64n) - 3n;
      assert.equal(c.variable<bigint[]>("out").value, expected);
    },
  );
});

test("a large function called again is a subprogram that computes the same", () => {
  run(
    `import { array, global, range, u64, xdp } from "bpfkit";
export const out = global(array(u64, 8), []);
export const g = global(u64, 12345);
function mix(a: number, b: number, rounds: number) {
  let h = u64(a) ^ 0x9e3779b97f4a7c15n;
  for (const i of range(rounds)) {
    h = (h << 13) ^ (h >> 7) ^ (h << 17);
    h += u64(b) * 31 + i;
    if ((h & 1) === 1) h ^= 0x5bd1e995; else h += 0x1234567;
    if (h % 3 === 0) h = h / 3; else if (h % 5 === 0) h = h / 5 + 1;
    if (h % 7 === 0) h = h / 7 + a; else if (h % 8 === 2) h = h / 5 + 7;
    if (h % 8 === 0) h = h / 8 + a; else if (h % 9 === 2) h = h / 5 + 8;
    if (h % 9 === 0) h = h / 9 + a; else if (h % 10 === 2) h = h / 5 + 9;
    if (h % 10 === 0) h = h / 10 + a; else if (h % 11 === 2) h = h / 5 + 10;
    if (h % 11 === 0) h = h / 11 + a; else if (h % 12 === 2) h = h / 5 + 11;
    if (h % 12 === 0) h = h / 12 + a; else if (h % 13 === 2) h = h / 5 + 12;
    if (h % 13 === 0) h = h / 13 + a; else if (h % 14 === 2) h = h / 5 + 13;
    if (h % 14 === 0) h = h / 14 + a; else if (h % 15 === 2) h = h / 5 + 14;
    if (h % 15 === 0) h = h / 15 + a; else if (h % 16 === 2) h = h / 5 + 15;
    if (h % 16 === 0) h = h / 16 + a; else if (h % 17 === 2) h = h / 5 + 16;
    if (h % 17 === 0) h = h / 17 + a; else if (h % 18 === 2) h = h / 5 + 17;
    if (h % 18 === 0) h = h / 18 + a; else if (h % 19 === 2) h = h / 5 + 18;
    if (h % 19 === 0) h = h / 19 + a; else if (h % 20 === 2) h = h / 5 + 19;
    if (h % 20 === 0) h = h / 20 + a; else if (h % 21 === 2) h = h / 5 + 20;
    if (h % 21 === 0) h = h / 21 + a; else if (h % 22 === 2) h = h / 5 + 21;
    if (h % 22 === 0) h = h / 22 + a; else if (h % 23 === 2) h = h / 5 + 22;
    if (h % 23 === 0) h = h / 23 + a; else if (h % 24 === 2) h = h / 5 + 23;
    if (h % 24 === 0) h = h / 24 + a; else if (h % 25 === 2) h = h / 5 + 24;
    if (h % 25 === 0) h = h / 25 + a; else if (h % 26 === 2) h = h / 5 + 25;
    if (h % 26 === 0) h = h / 26 + a; else if (h % 27 === 2) h = h / 5 + 26;
    if (h % 27 === 0) h = h / 27 + a; else if (h % 28 === 2) h = h / 5 + 27;
    if (h % 28 === 0) h = h / 28 + a; else if (h % 29 === 2) h = h / 5 + 28;
    if (h % 29 === 0) h = h / 29 + a; else if (h % 30 === 2) h = h / 5 + 29;
    h = (h * 2654435761) ^ (h >> 15);
  }
  if (h === 0) return u64(1);
  return h;
}
export const p = xdp((ctx, bpf) => {
  out.value[0] = mix(g.value, 5, 4);
  out.value[1] = mix(g.value + 1, 5, 4);
  out.value[2] = mix(g.value, 5, 4);
  out.value[3] = mix(g.value, g.value, 4);
  return 2;
});
`,
    (c) => {
      const [first, , third] = c.variable<bigint[]>("out").value;
      assert.is(third, first);
      assert.ok(first !== 0n);
    },
  );
});

test("kernel functions are called by name, typed by BTF", () => {
  requires({ ...needs, kernel: "6.2" });
  const c = loaded(
    `import { global, tpBtf, u32 } from "bpfkit";
export const seen = global(u32, 0);
export const p = tpBtf("sched_process_exit", (_ctx, bpf) => {
  bpf.rcuReadLock();
  const t = bpf.taskFromPid(1);
  if (t) {
    seen.value = t.tgid;
    bpf.taskRelease(t);
  }
  bpf.rcuReadUnlock();
});`,
    { btf: runningBtf() },
  );
  c.close();
});

test("contexts of many program types", () => {
  requires(needs);
  const c = loaded(
    `import { cgroupArray, cgroupSockAddr, iter, kprobe, kretprobe, perfEventArray, char, reuseportSockarray, skLookup, skMsg, skReuseport, sockOps, sockhash, sockmap, struct, tc, TC, u32, uprobe, interval, rawTracepoint } from "bpfkit";
const K = struct({ ip: u32, port: u32 });
export const sm = sockmap();
export const sh = sockhash(K);
export const rs = reuseportSockarray();
export const cg = cgroupArray();
const Big = struct({ pid: u32, a: char(256), b: char(200) });
export const big = perfEventArray(Big);
export const a = skMsg((ctx) => sh.redirect(ctx, { ip: ctx.remote_ip4, port: ctx.local_port }));
export const b = sockOps((ctx) => { if (ctx.op === 4 && sm.set(ctx, 3)) ctx.reply = 1; return 1; });
export const d = skReuseport((ctx) => (rs.select(ctx, 0) ? 1 : 0));
export const e = tc((ctx, bpf) => {
  ctx.mark = 5;
  ctx.cb[0] = 7;
  const x = ctx.packet(K, 4);
  if (x && x.ip === 5) return TC.SHOT;
  return bpf.skbStoreBytes(ctx, 4, K({ ip: 1 }), 8, 0) < 0 ? TC.SHOT : TC.OK;
});
export const f = kprobe("do_exit", (_ctx, bpf) => {
  const t = bpf.cast(bpf.arg(0), "task_struct");
  return t.pid > 5 && t.real_parent.comm === "bash" ? 1 : 0;
});
export const g = kretprobe("do_exit", (_ctx, bpf) => (bpf.ret() === 5 ? 1 : 0));
export const h = uprobe({ binary: "bash", symbol: "readline" }, (_ctx, bpf) => (bpf.str(bpf.arg(0), 32) === "x" && cg.hasCurrentTask(0) ? 1 : 0));
export const i = skLookup((ctx) => (ctx.local_port === 7 ? 0 : 1));
export const j = cgroupSockAddr("connect4", (ctx) => { ctx.user_ip4 = 0x7f000001; return 1; });
export const k = iter("task", (ctx) => { const t = ctx.task; if (!t) return 0; return t.pid === 1 ? 0 : 0; });
export const l = interval({ ms: 100 }, (ctx) => (ctx.sample_period > 4 && ctx.regs.ip > 5 ? 1 : 0));
export const m = rawTracepoint("sys_enter", (ctx, bpf) => {
  big.emit({ pid: bpf.pid(), a: bpf.comm(), b: "x" });
  return ctx.args[1] === 5 ? 1 : 0;
});`,
    { btf: runningBtf() },
  );
  c.close();
});

test("maps of maps", () => {
  run(
    `import { array, arrayMap, arrayOfMaps, global, u64, xdp } from "bpfkit";
export const one = arrayMap(u64, 4);
export const two = arrayMap(u64, 4);
export const outer = arrayOfMaps(arrayMap(u64, 4), { slots: [one, two] });
export const out = global(array(u64, 3), []);
export const p = xdp(() => {
  const m = outer.get(1);
  if (!m) return 1;
  m.add(2, 5);
  m.add(2, 6);
  const v = m.get(2);
  if (v === undefined) return 3;
  out.value[0] = v;
  out.value[1] = two.get(2) ?? 99;
  out.value[2] = one.get(2) ?? 99;
  return 2;
});`,
    (c, result) => {
      assert.is(result, 2);
      assert.equal(c.variable("out").value, [11n, 11n, 0n]);
    },
  );
});

test("the same statement many times runs as often as it is written", () => {
  run(
    `import { global, range, s8, u32, xdp } from "bpfkit";
export const n = global(s8, 14);
export const c = global(u32, 1);
export const p = xdp(() => {
  if (c.value < 5) { for (const i of range(5)) n.value--; } else { n.value--; }
  return 2;
});`,
    (c) => assert.is(c.variable<number>("n").value, 9),
  );
});

test("??=, ||= and &&= assign where the old value asks for it", () => {
  run(
    `import { global, hash, struct, u32, u64, xdp } from "bpfkit";
const V = struct({ n: u64 });
export const m = hash(u32, u64);
export const s = hash(u32, V);
export const out = global(u64, 0);
export const calls = global(u32, 0);
const count = () => { calls.value++; return 7; };
export const p = xdp(() => {
  m.set(1, 5);
  let a = m.get(1);
  a ??= count();
  let b = m.get(2);
  b ??= count();
  out.value = a * 100 + b;
  out.value ||= count();
  out.value &&= out.value + 1000;
  let zero = 0;
  zero &&= count();
  zero ||= 3;
  s.set(9, { n: 40 });
  let v = s.get(8);
  v ??= s.get(9);
  if (!v) return 0;
  v.n += zero;
  return 2;
});`,
    (c, result) => {
      assert.is(result, 2);
      assert.is(c.variable<bigint>("out").value, 1507n);
      assert.is(c.variable<number>("calls").value, 1);
      assert.equal(c.map("s").get(9), { n: 43n });
    },
  );
});

test("endsWith looks before the NUL", () => {
  run(
    `import { char, global, hash, struct, u32, xdp } from "bpfkit";
const V = struct({ name: char(16) });
export const m = hash(u32, V);
export const bits = global(u32, 0);
export const p = xdp(() => {
  m.set(1, { name: "libc.so.6" });
  const v = m.get(1);
  if (!v) return 0;
  if (v.name.endsWith(".so.6")) bits.value |= 1;
  if (v.name.endsWith(".so")) bits.value |= 2;
  if (v.name.endsWith("libc.so.6")) bits.value |= 4;
  if (v.name.endsWith("xlibc.so.6")) bits.value |= 8;
  if (v.name.endsWith("")) bits.value |= 16;
  v.name = "a.so";
  if (v.name.endsWith("so.6")) bits.value |= 32;
  if (v.name.endsWith("a.so")) bits.value |= 64;
  v.name = "";
  if (v.name.endsWith("o")) bits.value |= 128;
  v.name = "123456789012.so";
  if (v.name.endsWith(".so")) bits.value |= 256;
  return 2;
});`,
    (c, result) => {
      assert.is(result, 2);
      assert.is(c.variable<number>("bits").value, 1 + 4 + 16 + 64 + 256);
    },
  );
});

test("structs compare by their fields, whatever lies between and behind them", () => {
  run(
    `import { array, char, global, hash, struct, u16, u32, u64, u8, xdp } from "bpfkit";
const In = struct({ a: u8, b: u32 });
const V = struct({ id: u16, inner: array(In, 2), name: char(8), raw: array(u8, 11), at: u64 });
export const m = hash(u32, V);
export const bits = global(u32, 0);
export const p = xdp(() => {
  const one = { id: 1, inner: [{ a: 1, b: 2 }, { a: 3, b: 4 }], name: "abcdef", raw: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], at: 5 };
  m.set(1, one);
  m.set(2, one);
  const x = m.get(1);
  const y = m.get(2);
  if (!x || !y) return 0;
  if (x === y) bits.value |= 1;
  if (x !== y) bits.value |= 2;
  x.name = "ab";
  y.name = "ab";
  if (x === y) bits.value |= 4;
  y.inner[1].a = 9;
  if (x === y) bits.value |= 8;
  if (x.inner[0] === y.inner[0]) bits.value |= 16;
  if (x.inner === y.inner) bits.value |= 32;
  y.inner[1] = x.inner[1];
  y.raw[10] = 0;
  const different = x !== y;
  if (different) bits.value |= 64;
  y.raw = x.raw;
  y.name = "abc";
  if (x === y) bits.value |= 128;
  return 2;
});`,
    (c, result) => {
      assert.is(result, 2);
      assert.is(c.variable<number>("bits").value, 1 + 4 + 16 + 64);
    },
  );
});

test("a subprogram made for a narrow argument is not used for a wide one", () => {
  // Called twice and large: a subprogram. In the one for u8 the cast is no instruction.
  const terms = Array.from({ length: 24 }, (_, i) => `sum.value += seed.value >> ${i};`).join(" ");
  run(
    `import { global, u16, u64, u8, xdp } from "bpfkit";
export const narrow = global(u8, 0x12);
export const wide = global(u16, 0xff69);
export const seed = global(u64, 0);
export const sum = global(u64, 0);
const f = (x: number) => { ${terms} sum.value += u8(x); };
export const p = xdp(() => { f(narrow.value); f(narrow.value); f(wide.value); f(wide.value); return 2; });`,
    (c) => assert.is(c.variable("sum").value, BigInt(0x12 * 2 + 0x69 * 2)),
  );
});
