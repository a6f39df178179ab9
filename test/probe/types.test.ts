/** What the editor accepts and rejects: real probe files, checked by the real tsc, strictly. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { assert, suite } from "../harness.ts";

const root = resolve(import.meta.dirname, "../..");
const test = suite("probe types");

/** Excerpt of what `bpfkit types` writes. */
const VMLINUX = `
export interface task_struct { pid: number; tgid: number; real_parent: task_struct; comm: string; mm: mm_struct | undefined }
export interface mm_struct { total_vm: number }
interface AllStructs { task_struct: task_struct; mm_struct: mm_struct }
interface AllTracepoints {
  "syscalls:sys_enter_execve": { filename: import("bpfkit").CString; argv: import("bpfkit").Pointer; envp: import("bpfkit").Pointer };
  "sched:sched_switch": { prev_comm: string; prev_pid: number; prev_state: number; next_comm: string; next_pid: number };
}
interface AllTpBtf { sched_switch: { preempt: boolean; prev: task_struct; next: task_struct; prev_state: number } }
declare module "bpfkit" {
  interface KernelStructs extends AllStructs {}
  interface Tracepoints extends AllTracepoints {}
  interface TpBtf extends AllTpBtf {}
}
`;

const IMPORTS = `import { type Bpf, type Body, type Infer, type Input, SK, TC, XDP, array, arrayMap, be16, bloomFilter, bool, bytes, char, config, cgroupSkb, enumOf, fentry, fexit,
  dynptr, global, hash, hashOfMaps, histogram, interval, iter, kprobe, kretprobe, lpmTrie, lruHash, lsm, netfilter, packed, percpuArray, perfEvent, perfEventArray, profile,
  progArray, queue, range, rawTracepoint, ringbuf, s32, s64, skLookup, spinLock, timer, userRingbuf, socketFilter, stackTrace, struct, structOps, syscallProg, taskStorage, tc, tpBtf, tracepoint,
  u8, u16, u32, u64, union, uprobe, uretprobe, usdt, xdp } from "bpfkit";
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const sure = <T extends true>(): T | undefined => undefined;
const Exec = struct({ pid: u32, at: u64, comm: char(16) });
const events = ringbuf(Exec);
const byUid = hash(u32, u64);
const byPid = hash(u32, Exec);
const onlyUid = config(u32, 5);
const drops = global(u64, 0);
const jobs = hash(u32, struct({ n: u64, lock: spinLock, job: timer }));
const commands = userRingbuf(Exec);
const State = enumOf({ CLOSED: 0, OPEN: 1 });
`;

/** Every program is accepted, with and without vmlinux.d.ts. */
const ACCEPTED: Record<string, string> = {
  kernelObjects: `
    sure<Equal<Infer<NonNullable<typeof jobs.value>>, { n: bigint }>>();
    export const p = xdp((ctx, bpf) => {
      jobs.set(1, { n: 5 });
      jobs.insert(2, { n: 5n });
      const j = jobs.get(1);
      if (!j) return 0;
      const n: number = bpf.locked(j.lock, () => ++j.n);
      const started: boolean = jobs.startTimer(j.job, 1_000_000n, (value, key) => { value.n = key; });
      const taken: number = commands.drain((c) => c.pid === 3);
      let k = byUid.get(1);
      k ??= 3;
      const d = dynptr();
      for (const t of bpf.tasks()) if (t.tgid === n) return started ? taken : k;
      return bpf.dynptrFromMem(j, 8, 0, d);
    });`,
  execsnoop: `
    const parentPid = (bpf: Bpf<"tracepoint" | "kprobe">): number => bpf.task().real_parent.tgid;
    export const onExec = tracepoint("syscalls:sys_enter_execve", (ctx, bpf) => {
      const uid = bpf.uid();
      if (onlyUid.value !== 0xffff_ffff && uid !== onlyUid.value) return;
      byUid.add(uid, 1);
      events.emit({ pid: parentPid(bpf), at: bpf.nsecs(), comm: bpf.comm() });
      bpf.printk("%s", bpf.str(ctx.filename));
    });`,
  decoded: `
    sure<Equal<Infer<typeof Exec>, { pid: number; at: bigint; comm: string }>>();
    sure<Equal<Body<typeof Exec>, { pid: number; at: number; comm: string }>>();
    sure<Equal<Infer<typeof u64>, bigint>>();
    sure<Equal<Body<typeof s64>, number>>();
    const nested = struct({ list: array(u16, 4), raw: bytes(6), flag: bool, inner: Exec, state: State, port: be16 });
    sure<Equal<Infer<typeof nested>["list"], number[]>>();
    sure<Equal<Infer<typeof nested>["raw"], Uint8Array>>();
    sure<Equal<Infer<typeof nested>["inner"]["at"], bigint>>();
    sure<Equal<Infer<typeof nested>["state"], "CLOSED" | "OPEN" | number>>();
    sure<Equal<Body<typeof nested>["state"], number>>();
    const open: 1 = State.OPEN;`,
  bigint_literals: `
    export const p = rawTracepoint("sys_enter", (ctx, bpf) => {
      byUid.set(u32(ctx.args[1] ?? 0), 0xffff_ffff_ffff_ffffn);
      events.emit({ pid: 1n, at: 2n ** 60n, comm: "x" });
      return u64(0xffff_ffff_ffff_ffffn) > 5;
    });`,
  map_values: `
    export const p = kprobe("do_exit", (ctx, bpf) => {
      const e = byPid.get(bpf.pid());
      if (e) { e.at = bpf.nsecs(); e.pid += 1; }
      const n = byUid.ref(0);
      if (n !== undefined) n.value += 1;
      if (byUid.has(1) && byUid.delete(1)) drops.value += 1;
      const fresh = byPid.getOrInsert(3, { pid: 1, at: 2, comm: "" });
      if (fresh === undefined) return 0;
      for (const [k, v] of byUid) if (k === v) break;
      byPid.forEach((v, k) => v.at > k);
      return bpf.arg(0);
    });`,
  all_kinds: `
    const stacks = stackTrace();
    const lat = histogram();
    const perCpu = histogram(u32, { min: 0, max: 100, step: 10 });
    const q = queue(u64);
    const inner = hash(u32, u32);
    const outer = hashOfMaps(u32, inner);
    const store = taskStorage(Exec);
    const jumps = progArray();
    export const a = profile({ hz: 99 }, (ctx, bpf) => { byUid.add(bpf.kernelStack(stacks), 1); perfEventArray(Exec).emit({ pid: 1, at: 1, comm: "" }); });
    export const b = tpBtf("sched_switch", (ctx, bpf) => { lat.increment(5); perCpu.increment(bpf.cpu(), 3n); return bpf.task().pid; });
    export const c = uretprobe({ binary: "bash", symbol: "readline" }, (ctx, bpf) => { bpf.printk(bpf.userStr(bpf.ret())); });
    export const d = xdp((ctx, bpf) => { for (const i of range(4)) if (ctx.rx_queue_index === i) return XDP.DROP; return bpf.xdpAdjustHead(ctx, 0) === 0 ? XDP.PASS : XDP.ABORTED; });
    export const e = tc((ctx) => { ctx.mark = 7; return TC.OK; }, { at: "ingress" });
    export const f = fexit("vfs_read", (ctx, bpf) => { if (bpf.ret() < 0) q.push(u64(ctx.count)); jumps.tailCall(ctx, 0); });
    export const g = iter("task", (ctx) => { const m = outer.get(1); if (m) m.set(1, 2); });
    export const h = lsm("file_open", (ctx, bpf) => { const s = store.getOrInsert(bpf.task()); if (s) s.pid = 4; return 0; }, { sleepable: true });
    export const i = netfilter({ family: "ipv4", hook: "input", priority: -5 }, () => 1);
    export const j = structOps("tcp_congestion_ops", { name: "mine", ssthresh: () => 2 });
    export const k = perfEvent({ type: 0, config: 0, period: 1000 }, (ctx) => { drops.value = ctx.sample_period; });
    export const l = cgroupSkb("egress", (ctx) => ctx.len > 100);
    export const m = usdt({ binary: "node", provider: "node", name: "gc__start" }, (ctx, bpf) => { bpf.arg(0); });
    export const n = skLookup((ctx, bpf) => { bpf.skAssign(ctx, undefined, 0); return SK.PASS; });
    export const o = syscallProg((ctx, bpf) => { bpf.sysClose(3); });
    export const seen = bloomFilter(u32); export const filter = socketFilter((ctx) => ctx.len); export const every = interval({ ms: 10 }, () => {});`,
  conversions: `
    const P = packed({ tag: u8, value: u32 });
    const U = union({ word: u32, parts: array(u8, 4) });
    export const p = tracepoint("sched:sched_switch", (ctx, bpf) => {
      const e = P({ tag: 1, value: u32(bpf.nsecs()) });
      e.tag = u8(300);
      const u = U({ word: 1 });
      const parts = u.parts;
      return s32(e.value) + u16(parts[0] ?? 0);
    });`,
  pointers: `
    export const p = tracepoint("syscalls:sys_enter_execve", (ctx, bpf) => {
      for (const i of range(4)) {
        const arg = ctx.argv[i];
        if (!arg) break;
        bpf.printk("%s", bpf.str(arg));
      }
    });`,
  trie: `
    const Key = struct({ prefixlen: u32, addr: array(u8, 4) });
    const trie = lpmTrie(Key, u32);
    export const p = xdp((ctx) => trie.get({ prefixlen: 32, addr: [10, 0, 0, 1] }) ?? XDP.PASS);`,
};

/** A program, the TypeScript error it must give and what the message must say. */
const REJECTED: Record<string, { code: string; error: number; says: RegExp; vmlinux?: true }> = {
  lock_given: {
    code: `xdp(() => { jobs.set(1, { n: 1, lock: 5 }); return XDP.PASS; });`,
    error: 2353,
    says: /'lock' does not exist/,
  },
  lock_of_a_number: {
    code: `xdp((ctx, bpf) => { const j = jobs.get(1); if (!j) return 0; return bpf.locked(j.n, () => 1); });`,
    error: 2345,
    says: /not assignable to parameter of type 'KernelManaged'/,
  },
  missing_field: {
    code: `tracepoint("a:b", (ctx, bpf) => { events.emit({ pid: 1, at: 2 }); });`,
    error: 2741,
    says: /'comm' is missing/,
  },
  extra_field: {
    code: `tracepoint("a:b", (ctx, bpf) => { events.emit({ pid: 1, at: 2, comm: "", uid: 3 }); });`,
    error: 2353,
    says: /'uid' does not exist/,
  },
  wrong_field_type: {
    code: `tracepoint("a:b", (ctx, bpf) => { events.emit({ pid: "1", at: 2, comm: "" }); });`,
    error: 2322,
    says: /'string' is not assignable to type 'number \| bigint'/,
  },
  unchecked_get: {
    code: `tracepoint("a:b", () => { const n = byUid.get(1); return n + 1; });`,
    error: 18048,
    says: /possibly 'undefined'/,
  },
  unchecked_struct: {
    code: `tracepoint("a:b", () => { byPid.get(1).at = 2; });`,
    error: 2532,
    says: /possibly 'undefined'/,
  },
  unchecked_ref: {
    code: `tracepoint("a:b", () => { byUid.ref(1).value += 1; });`,
    error: 2532,
    says: /possibly 'undefined'/,
  },
  add_to_struct: { code: `tracepoint("a:b", () => { byPid.add(1, 1); });`, error: 2339, says: /'add' does not exist/ },
  wrong_key: {
    code: `tracepoint("a:b", () => { byUid.get("root"); });`,
    error: 2345,
    says: /'string' is not assignable/,
  },
  helper_of_other_type: {
    code: `tracepoint("a:b", (ctx, bpf) => { bpf.xdpAdjustHead(ctx, 0); });`,
    error: 2339,
    says: /'xdpAdjustHead' does not exist on type 'Bpf<"tracepoint">'/,
  },
  short_name_of_other_type: {
    code: `tracepoint("a:b", (ctx, bpf) => bpf.arg(0));`,
    error: 2339,
    says: /'arg' does not exist/,
  },
  misspelt_helper: {
    code: `tracepoint("a:b", (ctx, bpf) => bpf.ktimeGetNsec());`,
    error: 2551,
    says: /Did you mean 'ktimeGetNs'/,
  },
  subroutine_for_others: {
    code: `const f = (bpf: Bpf<"xdp">) => bpf.xdpAdjustHead({}, 0); tracepoint("a:b", (ctx, bpf) => f(bpf));`,
    error: 2740,
    says: /missing the following properties from type 'Bpf<"xdp">'/,
  },
  not_common: {
    code: `const f = (bpf: Bpf<"xdp" | "kprobe">) => bpf.xdpAdjustHead({}, 0);`,
    error: 2339,
    says: /'xdpAdjustHead' does not exist/,
  },
  no_category: { code: `tracepoint("sys_enter_execve", () => {});`, error: 2345, says: /not assignable/ },
  write_config: { code: `tracepoint("a:b", () => { onlyUid.value = 3; });`, error: 2540, says: /read-only/ },
  config_type: { code: `config(u32, "5");`, error: 2345, says: /'string' is not assignable/ },
  global_type: {
    code: `tracepoint("a:b", () => { drops.value = "many"; });`,
    error: 2322,
    says: /'string' is not assignable to type 'number'/,
  },
  string_return: { code: `tracepoint("a:b", () => "done");`, error: 2322, says: /'string' is not assignable/ },
  xdp_without_verdict: {
    code: `xdp((ctx) => { if (ctx.rx_queue_index > 1) return XDP.DROP; });`,
    error: 2345,
    says: /undefined/,
  },
  unknown_ctx_field: {
    code: `xdp((ctx) => ctx.rx_queue);`,
    error: 2339,
    says: /'rx_queue' does not exist on type 'XdpContext'/,
  },
  readonly_ctx_field: { code: `tc((ctx) => { ctx.len = 3; return 0; });`, error: 2540, says: /read-only/ },
  three_parameters: {
    code: `tracepoint("a:b", (ctx, bpf, more) => {});`,
    error: 2345,
    says: /Target signature provides too few arguments/,
  },
  bad_schema: { code: `hash(u32, Number);`, error: 2345, says: /not assignable/ },
  bad_struct_member: { code: `struct({ pid: "u32" });`, error: 2322, says: /not assignable to type 'Schema'/ },
  unknown_struct_field: {
    code: `tracepoint("a:b", () => { const e = byPid.get(1); if (e) e.name = ""; });`,
    error: 2339,
    says: /'name' does not exist/,
  },
  enum_member: { code: `State.HALF_OPEN;`, error: 2339, says: /'HALF_OPEN' does not exist/ },
  uprobe_without_binary: { code: `uprobe({ symbol: "malloc" }, () => {});`, error: 2741, says: /'binary' is missing/ },
  wrong_hook: { code: `cgroupSkb("sideways", () => 1);`, error: 2345, says: /"sideways"/ },
  key_for_plain_histogram: {
    code: `const h = histogram(); tracepoint("a:b", () => { h.increment(1, 2); });`,
    error: 2554,
    says: /Expected 1 arguments/,
  },
  no_key_for_keyed: {
    code: `const h = histogram(u32); tracepoint("a:b", () => { h.increment(1); });`,
    error: 2554,
    says: /Expected 2 arguments/,
  },
  string_for_stack: {
    code: `profile({ hz: 99 }, (ctx, bpf) => { bpf.kernelStack(byUid); });`,
    error: 2345,
    says: /not assignable/,
  },
  string_for_address: {
    code: `tracepoint("a:b", (ctx, bpf) => { bpf.str("text"); });`,
    error: 2345,
    says: /'string' is not assignable/,
  },
  ring_get: { code: `tracepoint("a:b", () => { events.get(1); });`, error: 2339, says: /'get' does not exist/ },
  delete_from_array: {
    code: `const a = arrayMap(u32, 4); tracepoint("a:b", () => { a.delete(1); });`,
    error: 2339,
    says: /'delete' does not exist/,
  },
  unknown_tracepoint: {
    code: `tracepoint("sched:sched_swich", () => {});`,
    error: 2345,
    says: /"sched:sched_swich"/,
    vmlinux: true,
  },
  unknown_argument: {
    code: `tracepoint("sched:sched_switch", (ctx) => ctx.prev_pidd);`,
    error: 2551,
    says: /Did you mean 'prev_pid'/,
    vmlinux: true,
  },
  unknown_kernel_field: {
    code: `tpBtf("sched_switch", (ctx) => ctx.next.real_parent.pidd);`,
    error: 2551,
    says: /Did you mean 'pid'/,
    vmlinux: true,
  },
  nullable_kernel_pointer: {
    code: `tpBtf("sched_switch", (ctx) => ctx.next.mm.total_vm);`,
    error: 18048,
    says: /possibly 'undefined'/,
    vmlinux: true,
  },
  unknown_task_field: {
    code: `kprobe("do_exit", (ctx, bpf) => bpf.task().realparent.pid);`,
    error: 2551,
    says: /Did you mean 'real_parent'/,
    vmlinux: true,
  },
};

async function check(vmlinux: boolean): Promise<Map<string, { error: number; text: string }[]>> {
  const dir = mkdtempSync(join(tmpdir(), "types-"));
  try {
    mkdirSync(join(dir, "node_modules"));
    const options = {
      target: "es2023",
      lib: ["es2023"],
      module: "nodenext",
      moduleResolution: "nodenext",
      types: [],
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      skipLibCheck: true,
      allowImportingTsExtensions: true,
      paths: { bpfkit: [join(root, "src/probe/index.ts")] },
    };
    writeFileSync(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions: options, include: ["*.ts"] }));
    writeFileSync(join(dir, "package.json"), JSON.stringify({ type: "module" }));
    if (vmlinux) writeFileSync(join(dir, "vmlinux.d.ts"), VMLINUX);
    for (const [name, code] of Object.entries(ACCEPTED)) writeFileSync(join(dir, `ok_${name}.ts`), IMPORTS + code);
    for (const [name, row] of Object.entries(REJECTED)) {
      if (!vmlinux && row.vmlinux === true) continue;
      const text = vmlinux ? row.code.replace(/"a:b"/g, '"sched:sched_switch"') : row.code;
      writeFileSync(join(dir, `no_${name}.ts`), `${IMPORTS}${text}\n`);
    }
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const stdout = await promisify(execFile)(process.execPath, [tsc, "-p", dir, "--pretty", "false"], {
      cwd: dir,
      maxBuffer: 1 << 24,
    }).then(
      (r) => r.stdout,
      (error: { stdout: string }) => error.stdout,
    );
    const found = new Map<string, { error: number; text: string }[]>();
    let last: { error: number; text: string } | undefined;
    for (const line of stdout.split("\n")) {
      const m = /^(.*?)\.ts\(\d+,\d+\): error TS(\d+): (.*)$/.exec(line);
      if (m === null) {
        if (last !== undefined && line.startsWith(" ")) last.text += `\n${line}`;
        continue;
      }
      last = { error: Number(m[2]), text: m[3] ?? "" };
      const list = found.get(m[1] ?? "") ?? [];
      list.push(last);
      found.set(m[1] ?? "", list);
    }
    return found;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

for (const vmlinux of [false, true]) {
  const title = vmlinux ? "with vmlinux.d.ts" : "without vmlinux.d.ts";
  let found = new Map<string, { error: number; text: string }[]>();
  test(`${title}: accepts ${Object.keys(ACCEPTED).length} programs`, async () => {
    found = await check(vmlinux);
    const wrong = [...found].filter(([file]) => !file.startsWith("no_"));
    assert.equal(wrong, []);
  });
  const rejected = Object.entries(REJECTED).filter(([, row]) => vmlinux || row.vmlinux !== true);
  test(`${title}: rejects ${rejected.length} wrong programs, each in its words`, () => {
    const wrong = rejected.filter(([name, row]) => {
      const errors = found.get(`no_${name}`) ?? [];
      return !errors.some((e) => e.error === row.error && row.says.test(e.text));
    });
    assert.equal(
      wrong.map(([name, row]) => ({ name, wanted: row.error, got: found.get(`no_${name}`) })),
      [],
    );
  });
}
