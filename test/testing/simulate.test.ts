/** What a test of a user's does with `simulate()`: typed maps, config, kernels, rejections, faults. */
import { readFileSync } from "node:fs";
import {
  XDP,
  array,
  arrayMap,
  bloomFilter,
  char,
  config,
  global,
  hash,
  hashOfMaps,
  histogram,
  lruHash,
  percpuArray,
  percpuHash,
  perfEventArray,
  progArray,
  queue,
  ringbuf,
  s32,
  stack,
  struct,
  timer,
  tpBtf,
  tracepoint,
  u16,
  u32,
  u64,
  u8,
  userRingbuf,
  xdp,
} from "../../src/probe/index.ts";
import { FaultError, RejectedError, simulate } from "../../src/testing/index.ts";
import { assert, suite } from "../harness.ts";

const test = suite("testing simulate");
const PACKET = new Uint8Array(64);

const Seen = struct({ size: u32, name: char(8), big: u64, bytes: array(u16, 2) });
export const events = ringbuf(Seen);
export const bySize = hash(u32, u64);
export const limit = config(u32, 100);
export const runs = global(u64, 0);
export const last = global(s32, -1);
export const onPacket = xdp((ctx, bpf) => {
  const size = bpf.xdpGetBuffLen(ctx);
  runs.value += 1;
  last.value = size - 100;
  if (size > limit.value) return XDP.DROP;
  bySize.add(size, 1);
  events.emit({ size, name: "packet", big: 0xffff_ffff_ffff_ffffn, bytes: [1, 2] });
  return XDP.PASS;
});
const filter = { events, bySize, limit, runs, last, onPacket };

test("a run gives its result; maps, samples and globals are values of their schemas", () => {
  const sim = simulate(filter, { kernel: "6.1" });
  assert.is(sim.run(onPacket, PACKET).returnValue, XDP.PASS);
  assert.is(sim.run(onPacket, new Uint8Array(101)).returnValue, XDP.DROP);
  assert.equal(sim.drain(events), [{ size: 64, name: "packet", big: 0xffff_ffff_ffff_ffffn, bytes: [1, 2] }]);
  assert.equal(sim.drain(events), []);
  assert.equal(sim.entries(bySize), [[64, 1n]]);
  assert.is(sim.get(bySize, 64), 1n);
  assert.is(sim.get(bySize, 65), undefined);
  assert.is(sim.has(bySize, 64), true);
  assert.is(sim.set(bySize, 64, 41), true);
  assert.is(sim.set(bySize, 64, 1, "create"), false);
  assert.is(sim.set(bySize, 65, 1, "exist"), false);
  sim.run(onPacket, PACKET);
  assert.is(sim.get(bySize, 64), 42n);
  assert.is(sim.delete(bySize, 64), true);
  assert.is(sim.delete(bySize, 64), false);
  assert.is(sim.global(runs).value, 3n);
  assert.is(sim.global(last).value, -36);
  sim.global(runs).value = 7n;
  sim.run(onPacket, PACKET);
  assert.is(sim.global(runs).value, 8n);
  assert.is(sim.verdicts.get("onPacket")?.verdict, "accept");
});

test("constants are set before the programs are verified; what is none is refused by name", () => {
  const sim = simulate(filter, { config: { limit: 10, runs: 5 } });
  assert.is(sim.run(onPacket, PACKET).returnValue, XDP.DROP);
  assert.is(sim.global(runs).value, 6n);
  assert.is(sim.global(limit).value, 10);
  assert.throwsCode(() => (sim.global(limit).value = 11), "READ_ONLY", /config: \{ limit/);
  assert.throwsCode(() => simulate(filter, { config: { limits: 1 } }), "CONFIG", /there are limit, last, runs/);
  assert.throwsCode(() => simulate(filter, { config: { limit: 2 ** 40 } }), "ARGUMENT");
});

test("simulations have maps of their own", () => {
  const one = simulate(filter);
  const other = simulate(filter);
  one.run(onPacket, PACKET);
  assert.equal([one.entries(bySize).length, other.entries(bySize).length], [1, 0]);
});

const perCpu = percpuHash(u8, u32);
const slots = percpuArray(u64, 2);
const lru = lruHash(u32, u32, { maxEntries: 2 });
const numbers = arrayMap(u32, 3);
const sizes = histogram();
const fifo = queue(u32, { maxEntries: 2 });
const lifo = stack(u32, { maxEntries: 2 });
const bloom = bloomFilter(u32, { maxEntries: 8 });
const perf = perfEventArray(Seen);
const next = xdp(() => XDP.TX);
const jump = progArray([undefined as never, next].filter((x) => x !== undefined));
const inner = hash(u32, u32, { maxEntries: 4 });
const outer = hashOfMaps(u32, inner);
const all = xdp((ctx, bpf) => {
  const n = bpf.xdpGetBuffLen(ctx);
  perCpu.add(1, n);
  slots.add(1, 1);
  lru.set(n, n);
  numbers.set(2, n);
  sizes.increment(n);
  fifo.push(n);
  lifo.push(n);
  bloom.add(n);
  perf.emit({ size: n, name: "x", big: 1, bytes: [0, 0] });
  const m = outer.get(7);
  if (m !== undefined) m.set(n, n);
  jump.tailCall(ctx, 0);
  return XDP.PASS;
});
const every = { perCpu, slots, lru, numbers, sizes, fifo, lifo, bloom, perf, next, jump, inner, outer, all };

test("every kind of map", () => {
  const sim = simulate(every, { cpus: 2 });
  sim.cpu = 1;
  assert.is(sim.run(all, PACKET).returnValue, XDP.TX);
  assert.equal(sim.entries(perCpu), [[1, [0, 64]]]);
  assert.equal(sim.get(slots, 1), [0n, 1n]);
  sim.set(slots, 1, [5, 6]);
  assert.equal(sim.entries(slots), [
    [0, [0n, 0n]],
    [1, [5n, 6n]],
  ]);
  assert.equal(sim.get(numbers, 2), 64);
  assert.equal(sim.histogram(sizes), [{ low: 64n, high: 128n, count: 1n }]);
  assert.is(sim.peek(fifo), 64);
  sim.push(fifo, 1);
  assert.throwsCode(() => sim.push(fifo, 2), "E2BIG", /takes no more: it holds 2 entries/);
  sim.push(fifo, 2, true);
  assert.equal([sim.pop(fifo), sim.pop(fifo), sim.pop(fifo)], [1, 2, undefined]);
  sim.push(lifo, 5);
  assert.equal([sim.pop(lifo), sim.pop(lifo)], [5, 64]);
  assert.equal([sim.mayHave(bloom, 64), sim.mayHave(bloom, 65)], [true, false]);
  assert.equal(
    sim.drain(perf).map((s) => s.size),
    [64],
  );
  sim.setSlot(jump, 0, undefined);
  assert.is(sim.run(all, PACKET).returnValue, XDP.PASS);
  sim.setSlot(outer, 7, inner);
  sim.run(all, new Uint8Array(70));
  assert.equal(sim.entries(inner), [[70, 70]]);
  assert.throwsCode(() => sim.setSlot(jump, 1000, next), "E2BIG");
  assert.throwsCode(() => sim.setSlot(numbers, 0, next), "MAP_TYPE");
  assert.throwsCode(() => sim.drain(numbers as never), "MAP_TYPE");
  assert.throwsCode(() => (sim.cpu = 2), "ARGUMENT", /0 to 1/);
});

test("names that are wrong are answered with the right ones", () => {
  const sim = simulate(filter);
  assert.throwsCode(() => sim.run(next), "NO_HANDLE", /belongs to no program of the module/);
  assert.throwsCode(() => sim.run("onPackets"), "NO_PROGRAM", /did you mean onPacket/);
  assert.throwsCode(() => sim.entries("bySizes"), "NO_MAP", /did you mean bySize/);
  assert.throwsCode(() => sim.get(bySize, "a" as never), "ARGUMENT", /key: expected an integer/);
  assert.throwsCode(() => sim.set(bySize, 1, -1), "ARGUMENT", /value: expected a bigint/);
});

const wild = xdp((ctx) => {
  const p = ctx.data;
  return ctx.data_end > p ? XDP.PASS : XDP.DROP;
});
const Room = struct({ bytes: array(u8, 16) });
const rejected = xdp((ctx, bpf) => {
  const room = Room({});
  const length = bpf.xdpGetBuffLen(ctx);
  bpf.xdpLoadBytes(ctx, 0, room, length);
  return room.bytes[0] ?? XDP.PASS;
});

test("a program that the kernel rejects is an error that explains it", () => {
  try {
    simulate({ rejected }, { kernel: "6.12" });
    assert.unreachable("expected a rejection");
  } catch (error) {
    assert.instance(error, RejectedError);
    const { code, message, program, kernel, verdict } = error as RejectedError;
    assert.equal([code, program, kernel, verdict.verdict], ["REJECTED", "rejected", "6.12", "reject"]);
    assert.match(message, /^Linux 6\.12 rejects rejected\nerror\[BPF3\d\d\d\]/);
    assert.match(message, /bpf\.xdpLoadBytes\(ctx, 0/);
  }
  assert.ok(simulate({ wild }));
});

test("it can be told to run anyway: the interpreter finds what the program does wrong", () => {
  const sim = simulate({ rejected }, { unverified: true });
  assert.is(sim.verdicts.get("rejected")?.verdict, "reject");
  try {
    sim.run(rejected, PACKET);
    assert.unreachable("expected a fault");
  } catch (error) {
    assert.instance(error, FaultError);
    assert.is((error as FaultError).code, "BPF8001");
    assert.match(
      (error as FaultError).message,
      /^rejected misbehaves\nerror\[BPF8001\].*\n +--> .*simulate\.test\.ts:\d+/,
    );
  }
});

test("kernels are versions, the running one, or types", () => {
  for (const kernel of ["6.1", "6.12", "6.18", "6.1.90"]) assert.is(simulate(filter, { kernel }).kernel, kernel);
  // Of a kernel whose types are not there only what needs none, and has all it needs.
  assert.is(simulate({ next }, { kernel: "5.10" }).run(next, PACKET).returnValue, XDP.TX);
  assert.throwsCode(() => simulate(filter, { kernel: "5.10" }), "REJECTED", /xdpGetBuffLen/);
  assert.throwsCode(() => simulate(filter, { kernel: "newest" }), "KERNEL_VERSION");
  assert.throwsCode(() => simulate(filter, { kernel: 6 as never }), "ARGUMENT", /kernel: expected a version/);
  assert.throwsCode(() => simulate({}), "ARGUMENT", /exports no program/);
  assert.throwsCode(() => simulate(null as never), "ARGUMENT");
});

const random = xdp((_ctx, bpf) => bpf.getPrandomU32() & 0xff);

const names = hash(u32, u64);
const files = ringbuf(struct({ file: char(16) }));
const enter = tracepoint("syscalls:sys_enter_openat", (ctx, bpf) => {
  names.set(bpf.tid(), u64(ctx.filename));
});
const exit = tracepoint("syscalls:sys_exit_openat", (_ctx, bpf) => {
  const name = names.get(bpf.tid());
  if (name !== undefined) files.emit({ file: bpf.userStr(name) });
});

test("addresses that a program keeps are good in later runs, and many runs need no more memory", () => {
  const sim = simulate({ names, files, enter, exit });
  const paths = ["/etc/a", "/etc/b", "/etc/c"];
  paths.forEach((filename, pid) => {
    sim.task({ pid: pid + 1 });
    sim.run(enter, { filename });
  });
  paths.forEach((_, pid) => {
    sim.task({ pid: pid + 1 });
    sim.run(exit, { ret: 3 });
  });
  assert.equal(
    sim.drain(files).map((f) => f.file),
    paths,
  );
  const once = (): bigint => {
    for (let i = 0; i < 10_000; i++) sim.run(enter, { filename: "/etc/a" });
    return sim.memory("here");
  };
  const first = once();
  assert.ok(once() - first < 65_536n);
});

const Timed = struct({ t: timer, fired: u32 });
const timers = arrayMap(Timed, 1);
const arm = xdp(() => {
  const entry = timers.get(0);
  if (!entry) return XDP.ABORTED;
  timers.startTimer(entry.t, 5_000, (value) => {
    value.fired += 1;
  });
  return XDP.PASS;
});
const orders = userRingbuf(struct({ n: u32 }));
const sum = global(u64, 0);
const take = tpBtf("sched_switch", () => {
  orders.drain((sample) => {
    sum.value += sample.n;
  });
});

test("timers run when time passes; samples go the other way", () => {
  const sim = simulate({ timers, arm });
  sim.run(arm, PACKET);
  sim.advance(4_999);
  assert.is(sim.get(timers, 0)?.fired, 0);
  sim.advance(1);
  assert.is(sim.get(timers, 0)?.fired, 1);
  sim.advance(1_000_000);
  assert.is(sim.get(timers, 0)?.fired, 1);
  const other = simulate({ orders, sum, take }, { kernel: "6.12" });
  assert.is(other.send(orders, { n: 5 }), true);
  other.send(orders, { n: 37 });
  other.run(take);
  assert.is(other.global(sum).value, 42n);
});

test("a run can be gone through step by step, and back", () => {
  const sim = simulate(filter, { coverage: false });
  const run = sim.debug(onPacket, PACKET);
  assert.is(run.breakAt("test/testing/simulate.test.ts", lineOf("bySize.add(size, 1);")), true);
  assert.is(run.exec(1000), "breakpoint");
  assert.equal(sim.entries(bySize), []);
  assert.is(run.exec(1000, false), "exited");
  assert.is(run.reg(0), 2n);
  assert.equal(sim.entries(bySize), [[64, 1n]]);

  const history = sim.history(onPacket, PACKET);
  history.watch({ reg: 0 });
  const stop = history.forward();
  assert.is(stop.reason, "watch");
  const at = history.run.insn;
  history.back();
  assert.is(history.run.insn, at - 1);
});

/** The line of this file on which the text is. */
function lineOf(text: string): number {
  return (
    readFileSync(import.meta.filename, "utf8")
      .split("\n")
      .findIndex((l) => l.includes(text)) + 1
  );
}

test("the same seed is the same run, another seed another", () => {
  const results = (seed?: number): number[] => {
    const sim = simulate({ random }, seed === undefined ? {} : { seed });
    return Array.from({ length: 8 }, () => sim.run(random, PACKET).returnValue);
  };
  assert.equal(results(), results());
  assert.equal(results(1), results());
  assert.not.equal(results(2), results());
});

test("helpers are mocked by name, with their arguments", () => {
  const sim = simulate(
    { random, ...filter },
    {
      mocks: {
        get_prandom_u32: () => 7,
        bpf_xdp_get_buff_len: ({ program, registers }) => (program === "onPacket" && registers.length === 5 ? 90n : 0),
      },
    },
  );
  assert.is(sim.run(random, PACKET).returnValue, 7);
  sim.run(onPacket, PACKET);
  assert.equal(sim.entries(bySize), [[90, 1n]]);
  assert.throwsCode(
    () => simulate({ random }, { mocks: { get_prandom_u32: 7 as never } }),
    "ARGUMENT",
    /mocks\.get_prandom_u32/,
  );
});
