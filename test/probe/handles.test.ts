import { build } from "esbuild";
import { resolve } from "node:path";
import { assert, suite } from "../harness.ts";
import * as kit from "../../src/probe/index.ts";
import { sectionFor } from "../../src/uapi/index.ts";

const {
  arrayMap,
  bloomFilter,
  config,
  global,
  hash,
  histogram,
  isHandle,
  profile,
  range,
  ringbuf,
  stackTrace,
  struct,
  tracepoint,
  u32,
  u64,
  uprobe,
} = kit;
const test = suite("probe handles");
const nothing = (): void => {};

test("a handle is plain, frozen data with the place of its declaration", () => {
  const Event = struct({ pid: u32, at: u64 });
  const events = ringbuf(Event, { size: 4096 });
  assert.equal(
    [events.kind, events.type, events.value, events.maxEntries, events.key],
    ["map", "ringbuf", Event, 4096, undefined],
  );
  assert.ok(isHandle(events) && Object.isFrozen(events));
  assert.match(events.site?.url ?? "", /handles\.test\.ts$/);
  assert.ok((events.site?.line ?? 0) > 0 && (events.site?.col ?? 0) > 0);
  const counts = hash(u32, u64, { maxEntries: 7, flags: 1, name: "counts", pinned: true });
  assert.equal(
    [counts.type, counts.maxEntries, counts.flags, counts.name, counts.pinned],
    ["hash", 7, 1, "counts", true],
  );
});

test("the place is the caller's, whatever hook formats stack traces", () => {
  const { prepareStackTrace, stackTraceLimit } = Error;
  try {
    Error.prepareStackTrace = () => "formatted";
    Error.stackTraceLimit = 0;
    const here = hash(u32, u32).site;
    assert.match(here?.url ?? "", /handles\.test\.ts$/);
    assert.is(Error.stackTraceLimit, 0);
    assert.is(new Error("x").stack, "formatted");
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
    Error.stackTraceLimit = stackTraceLimit;
  }
});

test("methods of the language say that they are compiled", () => {
  const counts = hash(u32, u64);
  assert.throwsCode(
    () => counts.add(1, 1),
    "OUTSIDE_PROGRAM",
    /add\(\) of a map exists only inside a program body.*app\.map\(handle\)/,
  );
  assert.throwsCode(() => [...counts], "OUTSIDE_PROGRAM", /iterating/);
  assert.throwsCode(() => ringbuf(u32).emit(1), "OUTSIDE_PROGRAM", /emit\(\)/);
  assert.throwsCode(() => global(u64, 0).value, "OUTSIDE_PROGRAM", /app\.global\(handle\)\.value/);
  assert.throwsCode(() => (global(u64, 0).value = 1), "OUTSIDE_PROGRAM");
  assert.throwsCode(() => config(u32, 5).value, "OUTSIDE_PROGRAM");
});

test("histograms choose their map", () => {
  const one = histogram();
  assert.equal([one.type, one.maxEntries, one.histogram], ["percpu_array", 65, { scale: "log2" }]);
  const linear = histogram({ min: 10, max: 50, step: 10 });
  assert.equal([linear.maxEntries, linear.histogram], [6, { scale: "linear", min: 10, max: 50, step: 10 }]);
  const keyed = histogram(u32);
  assert.equal([keyed.type, keyed.key?.size], ["percpu_hash", 8]);
  assert.throwsCode(() => histogram({ max: 10, step: 3 }), "ARGUMENT", /1 to 1024 steps/);
  assert.throwsCode(() => histogram({ min: 5 }), "ARGUMENT");
});

test("wrong map arguments are named", () => {
  assert.throwsCode(
    () => hash(u32, undefined as never),
    "ARGUMENT",
    "hash(value): expected a schema such as u32 or struct({…}), got undefined",
  );
  assert.throwsCode(() => arrayMap(u64, -1), "ARGUMENT", /arrayMap\(maxEntries\).*got -1/);
  assert.throwsCode(() => stackTrace({ depth: 128 }), "ARGUMENT", /1 to 127, got 128/);
  assert.throwsCode(() => bloomFilter(u32, { hashes: 0 }), "ARGUMENT", /1 to 15, got 0/);
});

test("wrong program arguments are named", () => {
  assert.throwsCode(
    () => tracepoint("sys_enter" as never, nothing),
    "ARGUMENT",
    /expected "category:name" such as "sched:sched_switch", got "sys_enter"/,
  );
  assert.throwsCode(
    () => tracepoint("a:b", undefined as never),
    "ARGUMENT",
    /tracepoint\(fn\): expected the program's body, a function \(ctx, bpf\) => \{…\}, got undefined/,
  );
  assert.throwsCode(
    () => uprobe({ binary: "bash" }, nothing),
    "ARGUMENT",
    /exactly one of symbol, address and offset, got none/,
  );
  assert.throwsCode(
    () => uprobe({ binary: "bash", symbol: "a", offset: 1 }, nothing),
    "ARGUMENT",
    /got symbol and offset/,
  );
  assert.throwsCode(() => profile({ hz: 0 }, nothing), "ARGUMENT", /positive number, got 0/);
  assert.throwsCode(
    () => kit.kprobe("two words", nothing),
    "ARGUMENT",
    /expected a name without spaces, got "two words"/,
  );
  assert.throwsCode(() => kit.cgroupSkb("up" as never, () => 1), "ARGUMENT", /one of ingress, egress, got up/);
});

/** One declaration of every kind. */
const one = (): number => 0;
const DECLARED = [
  tracepoint("sched:sched_switch", one),
  kit.rawTracepoint("sys_enter", one),
  kit.rawTracepointWritable("nbd_send_request", one),
  kit.tpBtf("sched_switch", one),
  kit.fentry("vfs_read", one),
  kit.fentry("vfs_read", one, { sleepable: true }),
  kit.fexit("vfs_read", one),
  kit.fmodRet("bpf_modify_return_test", one),
  kit.kprobe("do_exit", one, { plus: 4 }),
  kit.kretprobe("do_exit", one),
  kit.kprobeMulti("tcp_*", one),
  kit.kprobeMulti(["a", "b"], one, { at: "return" }),
  kit.kprobeMulti("x", one, { at: "session" }),
  kit.ksyscall("execve", one),
  kit.kretsyscall("execve", one),
  uprobe({ binary: "/bin/bash", symbol: "readline", plus: 4 }, one),
  kit.uretprobe({ binary: "/bin/bash", address: 0x1234n }, one, { sleepable: true }),
  kit.usdt({ binary: "/bin/x", provider: "p", name: "n" }, one),
  kit.perfEvent({ type: 1, config: 0, period: 5 }, one),
  profile({ hz: 99 }, one),
  kit.interval({ ms: 100 }, one),
  kit.xdp(one),
  kit.xdp(one, { frags: true }),
  kit.xdp(one, { at: "devmap" }),
  kit.xdp(one, { at: "cpumap", frags: true }),
  kit.tc(one),
  kit.tc(one, { at: "ingress" }),
  kit.tc(one, { at: "netkit-peer" }),
  kit.tcAction(one),
  kit.socketFilter(one),
  kit.cgroupSkb("ingress", one),
  kit.cgroupSock("sock_release", one),
  kit.cgroupSock("post_bind6", one),
  kit.cgroupSockAddr("connect_unix", one),
  kit.cgroupSockAddr("getsockname4", one),
  kit.cgroupSockopt("get", one),
  kit.cgroupSysctl(one),
  kit.cgroupDevice(one),
  kit.sockOps(one),
  kit.skSkb("stream_parser", one),
  kit.skSkb("verdict", one),
  kit.skMsg(one),
  kit.skReuseport(one),
  kit.skReuseport(one, { migrate: true }),
  kit.skLookup(one),
  kit.flowDissector(one),
  kit.netfilter({ family: "ipv6", hook: "output" }, one),
  kit.lwtIn(one),
  kit.lwtOut(one),
  kit.lwtXmit(one),
  kit.lwtSeg6local(one),
  kit.lircMode2(one),
  kit.lsm("file_open", one),
  kit.lsm("file_open", one, { sleepable: true }),
  kit.lsmCgroup("socket_bind", one),
  kit.iter("task", one),
  kit.freplace("f", one),
  kit.syscallProg(one),
];

test("every declaration has a section that means its program type", () => {
  for (const handle of DECLARED) {
    const row = sectionFor(handle.section);
    assert.ok(row !== undefined, `no section ${handle.section}`);
    assert.is((row?.row.progType ?? "").toLowerCase(), handle.type, handle.section);
  }
  const ops = kit.structOps("tcp_congestion_ops", { name: "mine", ssthresh: one });
  assert.equal(
    [ops.struct, ops.values, Object.keys(ops.programs), ops.programs["ssthresh"]?.type],
    ["tcp_congestion_ops", { name: "mine" }, ["ssthresh"], "struct_ops"],
  );
  const types = new Set<string>([...DECLARED.map((h) => h.type), "struct_ops"]);
  assert.is(types.size, 32, "all 32 program types can be declared");
});

test("range counts", () => {
  assert.equal([...range(3)], [0, 1, 2]);
  assert.equal([...range(2, 8, 3)], [2, 5]);
  assert.equal([...range(3, 0, -1)], [3, 2, 1]);
  assert.throwsCode(() => range(0, 1, 0), "ARGUMENT", /other than 0/);
  assert.throwsCode(() => range(1.5), "ARGUMENT", /got 1\.5/);
});

test("the entry is tiny: neither compiler, tables nor koffi", async () => {
  const { metafile, outputFiles } = await build({
    entryPoints: [resolve(import.meta.dirname, "../../src/probe/index.ts")],
    bundle: true,
    format: "esm",
    platform: "neutral",
    minify: true,
    write: false,
    metafile: true,
  });
  const outside = Object.keys(metafile.inputs).filter((f) => !/^src\/(probe|core)\//.test(f));
  assert.equal(outside, []);
  assert.ok((outputFiles[0]?.contents.length ?? 0) < 24_000, `${outputFiles[0]?.contents.length} bytes`);
});

test("options that a constructor does not have are refused by name", () => {
  const hashOf = (options: unknown): unknown => hash(u32, u64, options as Record<string, never>);
  const probeWith = (options: unknown): unknown =>
    uprobe({ binary: "sh", symbol: "main" }, nothing, options as Record<string, never>);
  assert.throws(() => hashOf(4096), /hash\(options\): expected an object such as \{ maxEntries: … \}, got 4096/);
  assert.throws(() => hashOf(null), /got null/);
  assert.throws(() => hashOf({ maxEntires: 4 }), /there is no option 'maxEntires'; did you mean 'maxEntries'\?/);
  assert.throws(
    () => probeWith({ device: "lo" }),
    /uprobe\(options\): there is no option 'device'; it has name, sleepable/,
  );
  assert.throws(() => global(u64, 0, { named: "x" } as object), /global\(options\).*'named'/);
  assert.throws(() => ringbuf(u64, { maxEntries: 4096 } as object), /it has flags, name, pinned, size, countLost/);
});
