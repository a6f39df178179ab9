/** Tracing programs written twice (`bench/codegen`): attached at once, they see the same of the same load. */
import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, rmdirSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileC, compileTs } from "../../bench/codegen/pairs.lib.ts";
import type { CollectionSpec } from "../../src/elf/index.ts";
import { type Collection, type LoadOptions, type MapSchemas, PerCpuMap, load } from "../../src/load/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { mapContents, plain, sum } from "./twins.ts";

const test = suite("compiler twins: tracing");
const needs = {
  root: true,
  capability: ["CAP_BPF", "CAP_PERFMON"],
  kernel: "6.1",
  package: ["clang-19", "libbpf-dev"],
} as const;

type Sample = Record<string, unknown>;
interface Load {
  readonly pid: number;
  readonly port: number;
}

let counter = 0;
/** Runs `script` in a shell whose task name occurs nowhere else; its process id. */
async function shell(script: string): Promise<Load & { readonly comm: string }> {
  const dir = mkdtempSync(join(tmpdir(), "bpfkit-twins-"));
  const comm = `twin${process.pid % 10_000}x${counter++}`;
  copyFileSync("/bin/sh", join(dir, comm));
  try {
    const child = spawn(join(dir, comm), ["-c", script], { stdio: "ignore", cwd: dir });
    await new Promise((resolve) => child.on("exit", resolve));
    return { pid: child.pid ?? 0, port: 0, comm };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** A connection to a server in this process, a few bytes, and its end. */
async function connection(): Promise<Load> {
  const server = createServer((s) => s.end("hello"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const socket = connect(port, "127.0.0.1");
  socket.resume();
  await new Promise((resolve) => socket.on("close", resolve));
  await new Promise((resolve) => server.close(resolve));
  await new Promise((resolve) => setTimeout(resolve, 20));
  return { pid: process.pid, port };
}

/** Ours and theirs, and our schemas for the maps of both: C's ring buffers do not say what is in them. */
async function compileBoth(name: string): Promise<{ options: LoadOptions; specs: [CollectionSpec, CollectionSpec] }> {
  const { spec, schemas } = await compileTs(name);
  const typed = [...schemas].map(([map, { key, value }]): [string, MapSchemas] => [
    map,
    { ...(key && { key }), ...(value && { value }) },
  ]);
  return { options: { schemas: new Map(typed) }, specs: [spec, compileC(name)] };
}

/** Both programs of a pair attached while `work` runs; then what each has. */
async function both<L extends Load>(
  name: string,
  work: () => Promise<L>,
  look: (c: Collection, did: L) => unknown,
  config: LoadOptions["config"] = {},
): Promise<[ours: unknown, theirs: unknown]> {
  requires(needs);
  const { options, specs } = await compileBoth(name);
  using first = load(specs[0], { ...options, config });
  using second = load(specs[1], { ...options, config });
  for (const c of [first, second]) c.attach({ perf: { freq: 199 } });
  const did = await work();
  second.detach();
  first.detach();
  return [look(first, did), look(second, did)];
}

/** Samples of the ring buffer `map` that `of` picks, without the fields that are different each time. */
const samples =
  <L>(map: string, of: (s: Sample, did: L) => boolean, without: readonly string[] = []) =>
  (c: Collection, did: L): unknown => {
    const out: string[] = [];
    const reader = c.events<Sample>(map);
    reader.drain((s) => {
      if (of(s, did)) out.push(JSON.stringify(plain(s, without)));
    });
    return out.sort();
  };

/** Fails unless both saw the same, and saw something. */
function same([ours, theirs]: [unknown, unknown], least = 1): void {
  assert.equal(ours, theirs);
  const n = Array.isArray(ours) ? ours.length : Object.values(ours as object).flat().length;
  assert.ok(n >= least, `expected ${least} or more, got ${n}`);
}

const ofChild = (s: Sample, did: Load): boolean => s["pid"] === did.pid || s["ppid"] === did.pid;
const PROGRAMS = "/bin/true one; /bin/echo two three > /dev/null; /bin/ls /nonexistent 2> /dev/null; exit 3";

test("execsnoop", async () => {
  same(await both("execsnoop", () => shell(PROGRAMS), samples("execs", ofChild)), 4);
});
test("execargs", async () => {
  const tag = `tag${process.pid}`;
  const mine = (s: Sample): boolean => JSON.stringify(s).includes(tag);
  same(
    await both(
      "execargs",
      () => shell(`/bin/echo ${tag} 1 2 3 4 5 6 7 8 9; /bin/true a ${tag}; /nowhere ${tag}; exit`),
      samples("execs", mine),
    ),
    2,
  );
});
test("exitsnoop", async () => {
  same(await both("exitsnoop", () => shell(PROGRAMS), samples("exits", ofChild, ["at"])), 4);
});
test("opensnoop", async () => {
  const mine = (s: Sample, did: { comm: string }): boolean => s["comm"] === did.comm;
  const work = (): Promise<Load & { comm: string }> =>
    shell("exec 3< /etc/passwd; exec 4> /dev/null; : < /etc/hostname");
  same(await both("opensnoop", work, samples("opens", mine, ["at"])), 3);
});
test("syscount", async () => {
  const look = (c: Collection, did: Load): unknown => {
    const d = plain(c.map<number, Sample>("data").get(did.pid), ["total"]) as Sample;
    return Object.entries(d ?? {});
  };
  same(await both("syscount", () => shell(PROGRAMS), look, { byProcess: 1 }), 2);
});
test("tcpstates", async () => {
  const mine = (s: Sample, did: Load): boolean => s["sport"] === did.port || s["dport"] === did.port;
  same(await both("tcpstates", connection, samples("events", mine, ["at", "delta"])), 6);
});
test("tcplife", async () => {
  const mine = (s: Sample, did: Load): boolean => s["sport"] === did.port || s["dport"] === did.port;
  same(await both("tcplife", connection, samples("lives", mine, ["microseconds"])), 1);
});
test("bashreadline", async () => {
  requires({ package: ["bash", "bsdutils"] });
  const work = async (): Promise<Load> => {
    const child = spawn("script", ["-qec", "bash --norc --noprofile -i", "/dev/null"], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    for (const line of [
      "echo twin one",
      ": a much longer line that does not fit into eighty bytes of text, so that it is cut off at the end",
      "exit",
    ]) {
      await new Promise((resolve) => setTimeout(resolve, 150));
      child.stdin.write(`${line}\n`);
    }
    await new Promise((resolve) => child.on("exit", resolve));
    return { pid: child.pid ?? 0, port: 0 };
  };
  same(
    await both(
      "bashreadline",
      work,
      samples("lines", () => true),
    ),
    3,
  );
});
test("filetop", async () => {
  const look = (c: Collection, did: Load): unknown =>
    c
      .map<{ pid: number; fd: number }, Sample>("files")
      .toArray()
      .filter(([k]) => k.pid === did.pid)
      .map((e) => JSON.stringify(plain(e)))
      .sort();
  same(
    await both(
      "filetop",
      () => shell("read line < /etc/passwd; echo hello > out; echo again >> out; echo x >&7"),
      look,
    ),
    2,
  );
});
test("sigsnoop", async () => {
  same(
    await both(
      "sigsnoop",
      () => shell("kill -0 $$; kill -CONT $$; kill -0 4194303; exit 0"),
      samples("signals", ofChild),
    ),
    3,
  );
});
test("mountsnoop", async () => {
  requires({ capability: "CAP_SYS_ADMIN" });
  const tag = `twin${process.pid}`;
  const mine = (s: Sample): boolean => s["source"] === tag;
  const work = (): Promise<Load> =>
    shell(`unshare -m sh -c 'mkdir d; mount -t tmpfs ${tag} d; mount -t tmpfs ${tag} ./missing; true'`);
  same(await both("mountsnoop", work, samples("mounts", mine, ["delta"])), 1);
});
test("lifecycle", async () => {
  const look = (c: Collection, did: Load): unknown => [
    ...(samples("events", ofChild, ["at", "microseconds"])(c, did) as string[]),
    ...mapContents(c, ["began", "microseconds"])["running"]!.filter((e) => e.includes(`[${did.pid},`)),
  ];
  same(await both("lifecycle", () => shell(PROGRAMS), look), 8);
});

test("offcputime", async () => {
  const look = (c: Collection, did: Load): unknown => {
    const mine = c
      .map<Sample, Sample>("info")
      .toArray()
      .filter(([k]) => k["tgid"] === did.pid);
    const slept = mine.reduce((n, [, v]) => n + Number(v["delta"]), 0);
    return [
      [...new Set(mine.map(([k, v]) => JSON.stringify([k["pid"], v["comm"]])))].sort(),
      Math.round(slept / 40_000),
    ];
  };
  // A background job that ends by itself: the shell becomes `sleep` and cannot wait for it.
  const work = (): Promise<Load> => shell("timeout 0.3 cat /dev/zero > /dev/null & exec sleep 0.2");
  same(await both("offcputime", work, look), 1);
});
test("profile", async () => {
  const look = (c: Collection, did: Load): number =>
    c
      .map<Sample, bigint>("counts")
      .toArray()
      .filter(([k]) => k["pid"] === did.pid)
      .reduce((n, [, v]) => n + Number(v), 0);
  const [ours, theirs] = (await both(
    "profile",
    () => shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"),
    look,
  )) as [number, number];
  assert.ok(ours >= 5 && Math.abs(ours - theirs) <= 3 + ours / 10, `${ours} and ${theirs} ticks`);
});

/** Programs that see the whole machine are attached one after the other: what both count may differ at the edges. */
function close(name: string, [ours, theirs]: [unknown, unknown], least: number): void {
  const [a, b] = [ours as Record<string, number>, theirs as Record<string, number>];
  const total = (r: Record<string, number>): number => Object.values(r).reduce((n, v) => n + v, 0);
  assert.ok(total(a) >= least, `${name} counted ${total(a)}`);
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const [x, y] = [a[key] ?? 0, b[key] ?? 0];
    assert.ok(
      Math.abs(x - y) <= 30 + Math.max(x, y) / 5,
      `${name}: ${key} is ${x} and ${y}: ${JSON.stringify([a, b])}`,
    );
  }
}
const buckets =
  (map: string, by: (key: unknown, value: unknown) => [string, number]) =>
  (c: Collection): unknown => {
    const out: Record<string, number> = {};
    const table = c.anyMap(map);
    const entries =
      table instanceof PerCpuMap ? [...table.entries()].map(([k, v]) => [k, sum(v)]) : c.map(map).toArray();
    for (const [k, v] of entries) {
      const [key, n] = by(k, v);
      if (n > 0) out[key] = (out[key] ?? 0) + n;
    }
    return out;
  };
const count = (key: unknown, value: unknown): [string, number] => [
  JSON.stringify(plain(key)),
  Number((value as Sample)["count"] ?? value),
];
// Neighbouring buckets together: the clocks of the two are read a moment apart.
const coarse = (key: unknown, value: unknown): [string, number] => [String(Math.floor(Number(key) / 8)), Number(value)];
const BUSY = "i=0; while [ $i -lt 40 ]; do /bin/true; i=$((i+1)); done; sleep 0.1; cat /etc/passwd > out; sync out";

test("runqlat", async () => {
  close("runqlat", await both("runqlat", () => shell(BUSY), buckets("wait", coarse)), 40);
});
test("cpudist", async () => {
  close("cpudist", await both("cpudist", () => shell(BUSY), buckets("dist", coarse)), 40);
});
test("softirqs", async () => {
  close("softirqs", await both("softirqs", () => shell(BUSY), buckets("totals", count)), 5);
});
test("softirqs: histograms", async () => {
  const all = (key: unknown, value: unknown): [string, number] => [
    JSON.stringify((key as { key?: unknown; vec?: unknown }).key ?? (key as Sample)["vec"]),
    Number(value),
  ];
  close("softirqs", await both("softirqs", () => shell(BUSY), buckets("hists", all), { distribution: 1 }), 5);
});
test("hardirqs", async () => {
  close("hardirqs", await both("hardirqs", () => shell(BUSY), buckets("infos", count), { onlyCount: 1 }), 0);
});
test("biolatency", async () => {
  const byDevice = (key: unknown, value: unknown): [string, number] => {
    const k = key as { key?: { device: number }; device?: number };
    return [String(k.key?.device ?? k.device), Number(value)];
  };
  close(
    "biolatency",
    await both(
      "biolatency",
      () => shell(`${BUSY}; dd if=/dev/zero of=out bs=64k count=16 oflag=dsync`),
      buckets("latency", byDevice),
    ),
    0,
  );
});
test("drsnoop", async () => {
  // Nobody knows how to make a machine short of memory politely: both must load, attach and agree that nothing happened.
  same(await both("drsnoop", () => shell("true"), samples("reclaims", ofChild, ["delta"])), 0);
});

test("connect4", async () => {
  const root = "/sys/fs/cgroup";
  const unified = `${root}/unified`;
  requires({ ...needs, capability: ["CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"] });
  const cgroup = join(
    (await import("node:fs")).existsSync(`${unified}/cgroup.procs`) ? unified : root,
    `bpfkit-twins-${process.pid}`,
  );
  mkdirSync(cgroup);
  try {
    const server = createServer((s) => s.end());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const results: unknown[] = [];
    const { options, specs } = await compileBoth("connect4");
    for (const spec of specs) {
      using c = load(spec, options);
      c.map("services").set({ address: 0x0a0a_0001, port: 80 }, { address: 0x7f00_0001, port });
      c.attach({ cgroup });
      const code = `echo $$ > ${cgroup}/cgroup.procs; exec 3<>/dev/tcp/10.10.0.1/80 && exec 4<>/dev/tcp/127.0.0.1/${port} && exit 7`;
      const child = spawn("bash", ["-c", code], { stdio: "ignore" });
      const status = await new Promise((resolve) => child.on("exit", resolve));
      results.push([`status ${String(status)}`, ...(samples("connects", () => true, ["pid"])(c, {}) as string[])]);
    }
    server.close();
    assert.equal(results[0], results[1]);
    assert.is((results[0] as string[])[0], "status 7");
    assert.is((results[0] as string[]).length, 3);
  } finally {
    rmdirSync(cgroup);
  }
});
