/** Locks, timers, iterators, samples from user space, reservations in functions of their own: on the running kernel. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Collection } from "../../../src/load/index.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { loaded, runningBtf } from "../compile-text.ts";

const test = suite("compiler kernel objects");
const packet = { data: new Uint8Array(64) };

function load(text: string, kernel: string): Collection {
  requires({ root: true, capability: ["CAP_BPF", "CAP_NET_ADMIN"], kernel });
  return loaded(text, { btf: runningBtf() });
}

test("a spin lock is held for the scope of a function, which may return early", () => {
  using c = load(
    `import { global, hash, spinLock, struct, u32, u64, xdp } from "bpfkit";
const Total = struct({ packets: u64, lock: spinLock, bytes: u64 });
export const totals = hash(u32, Total);
export const out = global(u64, 0);
export const p = xdp((ctx, bpf) => {
  totals.insert(1, { packets: 0, bytes: 0 });
  const t = totals.get(1);
  if (!t) return 0;
  const size = ctx.data_end - ctx.data;
  out.value = bpf.locked(t.lock, () => {
    t.packets++;
    if (t.packets > 2) return 100;
    t.bytes += size;
    return t.bytes;
  });
  return 2;
});`,
    "5.1",
  );
  const seen: bigint[] = [];
  for (let i = 0; i < 3; i++) {
    assert.is(c.prog("p").testRun(packet).returnValue, 2);
    seen.push(c.variable<bigint>("out").value);
  }
  assert.equal(seen, [64n, 128n, 100n]);
  // User space sees no lock, and gives none.
  assert.equal(c.map("totals").get(1), { packets: 3n, bytes: 128n });
  c.map("totals").set(2, { packets: 1n, bytes: 2n });
  assert.equal(c.map("totals").get(2), { packets: 1n, bytes: 2n });
});

test("a timer's callback sees its entry, maps and globals", async () => {
  using c = load(
    `import { arrayMap, global, struct, timer, u32, u64, xdp } from "bpfkit";
const Job = struct({ timer, runs: u64, key: u32 });
export const jobs = arrayMap(Job, 4);
export const fired = global(u32, 0);
const STEP = 10;
export const p = xdp((ctx, bpf) => {
  const job = jobs.get(2);
  if (!job) return 0;
  const started = jobs.startTimer(job.timer, 1_000_000, (value, key) => {
    value.runs += STEP;
    value.key = key;
    fired.value++;
  });
  return started ? 2 : 1;
});`,
    "5.15",
  );
  assert.is(c.prog("p").testRun(packet).returnValue, 2);
  for (let i = 0; i < 200 && c.variable<number>("fired").value === 0; i++) await sleep(5);
  assert.is(c.variable<number>("fired").value, 1);
  const job = c.map("jobs").get(2) as { runs: bigint; key: number };
  assert.equal([job.runs, job.key], [10n, 2]);
});

test("tasks are iterated, left early, returned from", () => {
  using c = load(
    `import { global, s32, u32, xdp } from "bpfkit";
export const total = global(u32, 0);
export const own = global(u32, 0);
export const few = global(u32, 0);
export const threads = global(u32, 0);
export const wanted = global(s32, ${process.pid});
export const p = xdp((ctx, bpf) => {
  for (const t of bpf.tasks()) {
    total.value++;
    if (t.tgid === wanted.value) own.value++;
  }
  for (const t of bpf.threads()) if (t.tgid === wanted.value) threads.value++;
  let n = 0;
  for (const t of bpf.tasks()) {
    if (t.tgid === 0) continue;
    n++;
    if (n === 3) break;
  }
  few.value = n;
  outer: for (const i of [1, 2]) {
    for (const t of bpf.tasks()) {
      if (t.tgid === 0) continue outer;
      if (t.tgid === wanted.value) return 7;
    }
  }
  for (const t of bpf.tasks()) if (t.tgid === wanted.value) return 2;
  return 0;
});`,
    "6.7",
  );
  assert.is(c.prog("p").testRun(packet).returnValue, 2);
  const value = (name: string): number => c.variable<number>(name).value;
  assert.is(value("own"), 1);
  assert.is(value("few"), 3);
  assert.ok(value("total") > 3);
  assert.ok(value("threads") > 4, "node has more threads than one");
});

test("room is given back by every function that reserved it", () => {
  using c = load(
    `import { config, range, ringbuf, struct, u32, u64, xdp } from "bpfkit";
const S = struct({ n: u32, at: u64 });
export const events = ringbuf(S);
export const count = config(u32, 20);
export const p = xdp(() => {
  for (const i of range(count.value)) {
    const s = events.reserve();
    if (!s) break;
    s.n = i;
    s.at = 5;
    if (i % 3 === 0) continue;
    if (i === 10) return 9;
    if (i % 2 === 0) events.submit(s);
  }
  return 2;
});`,
    "5.17",
  );
  const reader = c.events<{ n: number }>("events");
  assert.is(c.prog("p").testRun(packet).returnValue, 9);
  const seen: number[] = [];
  reader.drain((e) => void seen.push(e.n));
  assert.equal(seen, [2, 4, 8]);
});

test("dynptrs: of a map value and of the packet", () => {
  const c = load(
    `import { array, arrayMap, be16, dynptr, global, packed, struct, u32, u64, u8, xdp } from "bpfkit";
const Ethernet = packed({ destination: array(u8, 6), source: array(u8, 6), type: be16 });
const Buffer = struct({ words: array(u32, 8) });
const Word = struct({ v: u32 });
export const buffers = arrayMap(Buffer, 1);
export const type = global(u32, 0);
export const bad = global(u32, 0);
export const p = xdp((ctx, bpf) => {
  const buffer = buffers.get(0);
  if (!buffer) return 0;
  const d = dynptr();
  if (bpf.dynptrFromMem(buffer, 32, 0, d) !== 0) return 0;
  const word = Word({ v: 0x1234 });
  if (bpf.dynptrWrite(d, 8, word, 4, 0) !== 0) return 0;
  if (bpf.dynptrWrite(d, 30, word, 4, 0) !== 0) bad.value = 1;
  const x = dynptr();
  if (bpf.dynptrFromXdp(ctx, 0, x) !== 0) return 0;
  const eth = Ethernet({});
  if (bpf.dynptrRead(eth, 14, x, 0, 0) < 0) return 0;
  type.value = eth.type;
  return 2;
});`,
    "6.4",
  );
  const data = new Uint8Array(64);
  data.set([0x86, 0xdd], 12);
  assert.is(c.prog("p").testRun({ data }).returnValue, 2);
  assert.is(c.variable<number>("type").value, 0x86dd);
  assert.is(c.variable<number>("bad").value, 1);
  assert.is((c.map("buffers").get(0) as { words: number[] }).words[2], 0x1234);
  c.close();
});

test("programs that may sleep iterate under the read lock", () => {
  const c = load(
    `import { global, s32, syscallProg, u32 } from "bpfkit";
export const wanted = global(s32, ${process.pid});
export const seen = global(u32, 0);
export const p = syscallProg((_ctx, bpf) => {
  for (const t of bpf.tasks()) {
    seen.value++;
    if (t.tgid === wanted.value) return 5;
  }
  return 0;
});`,
    "6.7",
  );
  assert.is(c.prog("p").testRun({}).returnValue, 5);
  assert.ok(c.variable<number>("seen").value > 1);
  c.close();
});

test("memory areas, cgroups, bits and slab caches are iterated", () => {
  using c = load(
    `import { global, syscallProg, tpBtf, u32 } from "bpfkit";
export const areas = global(u32, 0);
export const mapped = global(u32, 0);
export const groups = global(u32, 0);
export const up = global(u32, 0);
export const caches = global(u32, 0);
export const bits = global(u32, 0);
export const p = syscallProg((ctx, bpf) => {
  const me = bpf.task();
  for (const v of bpf.vmas(me)) {
    if (v.vm_end <= v.vm_start) return 1;
    areas.value++;
    if (v.vm_file) mapped.value++;
  }
  const root = bpf.cgroupFromId(1);
  if (!root) return 2;
  for (const c of bpf.cgroups(root)) if (c.cgroup.level >= 0) groups.value++;
  for (const c of bpf.cgroups(root, "ancestors")) if (c.cgroup.level === 0) up.value++;
  bpf.cgroupRelease(root);
  for (const s of bpf.kmemCaches()) if (s.size > 0) caches.value++;
  for (const bit of bpf.bits(me.cpus_mask.bits, 1)) bits.value |= 1 << bit;
  return 0;
});`,
    "6.13",
  );
  assert.is(c.prog("p").testRun({ ctx: new Uint8Array(8) }).returnValue, 0);
  const value = (name: string): number => c.variable<number>(name).value;
  const maps = readFileSync("/proc/self/maps", "utf8").split("\n").length - 1;
  // [vsyscall] is listed and is none; the process maps more while it runs.
  assert.ok(Math.abs(value("areas") - maps) < 20, `${value("areas")} areas of ${maps}`);
  assert.ok(value("mapped") > 0 && value("mapped") < value("areas"));
  assert.ok(value("groups") >= 1);
  assert.is(value("up"), 1);
  const allowed = /Cpus_allowed:\s*(?:[0-9a-f]+,)*([0-9a-f]+)/.exec(readFileSync("/proc/thread-self/status", "utf8"));
  assert.is(value("bits"), Number.parseInt(allowed?.[1] ?? "", 16) >>> 0);
  assert.ok(value("caches") > 20);
});

test("kernel objects that may be missing are checked, chained, and given back", () => {
  using c = load(
    `import { global, syscallProg, u32 } from "bpfkit";
export const found = global(u32, 0);
export const missing = global(u32, 0);
export const p = syscallProg((ctx, bpf) => {
  const t = bpf.taskFromPid(bpf.tid());
  if (!t) return 1;
  found.value = t.pid;
  bpf.taskRelease(t);
  const none = bpf.taskFromPid(0x7fff_ffff);
  missing.value = none?.real_parent?.pid ?? 77;
  if (none !== null && none !== undefined) bpf.taskRelease(none);
  return 0;
});`,
    "6.2",
  );
  assert.is(c.prog("p").testRun({ ctx: new Uint8Array(8) }).returnValue, 0);
  assert.ok(c.variable<number>("found").value > 0);
  assert.is(c.variable<number>("missing").value, 77);
});
