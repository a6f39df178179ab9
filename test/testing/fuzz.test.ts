/** Whatever a test gives: contexts, packets, keys, values, options. Typed errors only, and no run goes astray. */
import fc from "fast-check";
import {
  XDP,
  array,
  char,
  config,
  enumOf,
  global,
  hash,
  percpuArray,
  ringbuf,
  struct,
  tpBtf,
  tracepoint,
  u16,
  u32,
  u64,
  u8,
  xdp,
} from "../../src/probe/index.ts";
import { BpfkitError } from "../../src/core/errors.ts";
import { type RunInput, type Simulation, coverage, simulate } from "../../src/testing/index.ts";
import { assert, suite } from "../harness.ts";

const test = suite("testing fuzz");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 400);

const Color = enumOf({ red: 1, green: 2 });
const Value = struct({ n: u64, name: char(8), list: array(u16, 2), color: Color });
const table = hash(struct({ a: u32, b: u8 }), Value, { maxEntries: 4 });
const cpus = percpuArray(u32, 2);
const events = ringbuf(struct({ n: u32, file: char(32) }));
const only = config(u32, 0);
const last = global(u64, 0);
const Ports = struct({ source: u16, destination: u16 });
const onPacket = xdp((ctx, bpf) => {
  const ports = ctx.packet(Ports, 34);
  last.value = bpf.xdpGetBuffLen(ctx);
  cpus.add(1, 1);
  return ports && ports.destination === 5 ? XDP.DROP : XDP.PASS;
});
const onOpen = tracepoint("syscalls:sys_enter_openat", (ctx, bpf) => {
  if (only.value !== 0 && bpf.pid() !== only.value) return;
  events.emit({ n: ctx.flags, file: bpf.str(ctx.filename) });
});
const onSwitch = tpBtf("sched_switch", (ctx, bpf) => {
  last.value = ctx.next.pid + bpf.task().real_parent.tgid;
});
const probe = { table, cpus, events, only, last, onPacket, onOpen, onSwitch };

/** Anything at all, often nearly right. */
const anything: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(undefined, null, NaN, Infinity, -0, "", "x".repeat(5000), Symbol("s"), () => 1, [], {}),
  fc.integer(),
  fc.bigInt(),
  fc.double(),
  fc.string(),
  fc.boolean(),
  fc.uint8Array({ maxLength: 80 }),
  fc.anything({ maxDepth: 2, withBigInt: true, withTypedArray: true, withNullPrototype: true }),
);
const fields = (names: readonly string[]): fc.Arbitrary<unknown> =>
  fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string({ maxLength: 8 })), anything, { maxKeys: 4 });
const contexts = fc.oneof(
  anything,
  fields(["dfd", "filename", "flags", "mode", "common_pid", "__syscall_nr"]),
  fields(["prev", "next", "preempt", "args", "ret"]),
  fields(["packet", "data_meta", "ingress_ifindex", "rx_queue_index", "data", "sk"]),
  fc.record({ prev: fields(["pid", "comm", "mm", "real_parent"]), next: fields(["pid", "comm", "__state"]) }),
);

/** Runs `act`; what it throws must be ours. */
function tried(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof BpfkitError)) throw error;
    assert.ok(error.message.length > 0 && error.code.length > 0);
  }
}

const run = (property: fc.IProperty<unknown>): void => fc.assert(property, { numRuns: RUNS, endOnFailure: true });

/** A fresh one now and then: what piles up in the world is not what is tested. */
function simulations(): () => Simulation {
  let sim = simulate(probe, { kernel: "6.12", cpus: 2, budget: 100_000 });
  let used = 0;
  return () => {
    if (++used % 200 === 0) sim = simulate(probe, { kernel: "6.12", cpus: 2, budget: 100_000 });
    return sim;
  };
}

test("contexts and packets", () => {
  const next = simulations();
  run(
    fc.property(fc.constantFrom(onPacket, onOpen, onSwitch), contexts, (program, context) => {
      const sim = next();
      tried(() => sim.run(program, context as RunInput));
      tried(() => sim.debug(program, context as RunInput).run(10_000));
    }),
  );
  // Still in order.
  const sim = next();
  sim.drain(events);
  sim.task({ pid: 1 });
  sim.run(onOpen, { filename: "/etc/passwd", flags: 3 });
  assert.equal(sim.drain(events), [{ n: 3, file: "/etc/passwd" }]);
});

test("keys, values, slots, globals and tasks", () => {
  const next = simulations();
  const map = fc.oneof(fc.constantFrom<unknown>(table, cpus, events, "table", "tables"), anything);
  const key = fc.oneof(anything, fc.record({ a: fc.nat(), b: fc.nat(255) }), fc.nat(3));
  const value = fc.oneof(
    anything,
    fc.record({
      n: fc.bigInt(),
      name: fc.string(),
      list: fc.array(fc.nat(70_000)),
      color: fc.constantFrom("red", "blue", 2),
    }),
    fc.array(fc.nat(), { maxLength: 3 }),
  );
  run(
    fc.property(map, key, value, fc.nat(13), (m, k, v, what) => {
      const sim = next();
      const any = (x: unknown): never => x as never;
      const acts: readonly (() => unknown)[] = [
        () => sim.get(any(m), any(k)),
        () => sim.set(any(m), any(k), any(v)),
        () => sim.delete(any(m), any(k)),
        () => sim.entries(any(m)),
        () => sim.drain(any(m)),
        () => sim.push(any(m), any(v)),
        () => sim.setSlot(any(m), any(k), any(v)),
        () => (sim.global(last).value = any(v)),
        () => sim.global(any(m)),
        () => sim.task(any(v)),
        () => sim.struct(any(k), any(v)),
        () => sim.advance(any(k)),
        () => (sim.cpu = any(k)),
        () => sim.memory(any(v), any(k)),
      ];
      tried(acts[what]!);
      tried(() => sim.snapshot());
    }),
  );
});

test("modules and options", () => {
  const options = fc.dictionary(
    fc.constantFrom(
      "kernel",
      "btf",
      "config",
      "unverified",
      "coverage",
      "engine",
      "mocks",
      "seed",
      "cpus",
      "now",
      "budget",
      "name",
      "license",
    ),
    fc.oneof(
      anything,
      fc.constantFrom<unknown>(
        "6.1",
        "5.10",
        "live",
        "jit",
        { only: 3 },
        { only: "many" },
        { get_prandom_u32: () => 1n },
      ),
    ),
    { maxKeys: 3 },
  );
  const modules = fc.oneof(fc.constantFrom<unknown>(probe, { onPacket, last, cpus }), anything);
  fc.assert(
    fc.property(modules, options, (module, given) => {
      tried(() => simulate(module as object, given as never).run(onPacket, new Uint8Array(64)));
    }),
    { numRuns: Math.ceil(RUNS / 8), endOnFailure: true },
  );
  assert.ok(coverage().lines.found > 0);
  assert.match(coverage().lcov(), /^TN:\nSF:/);
});
