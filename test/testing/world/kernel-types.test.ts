/** Types that come with the package: the kernel's own, small, and enough for the examples. */
import type { LoadedModule } from "../../../src/compiler/capture/types.ts";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { release } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { CoreResolver } from "../../../src/btf/core.ts";
import { Btf } from "../../../src/btf/btf.ts";
import { KIND_NAMES } from "../../../src/btf/kinds.ts";
import type { BtfType } from "../../../src/btf/types.ts";
import { createCapture } from "../../../src/compiler/capture/index.ts";
import { compile } from "../../../src/compiler/compile.ts";
import { BpfkitError } from "../../../src/core/errors.ts";
import { LoadMaker } from "../../../src/elf/prog-loads.ts";
import type { CollectionSpec } from "../../../src/elf/spec.ts";
import { nodeCaptureHost } from "../../../src/host/capture-host.ts";
import { loadModule } from "../../../src/load/module-loader.ts";
import { realKernel, tracepointFormat } from "../../../src/syscall/index.ts";
import { verify } from "../../../src/verifier/verify.ts";
import { PACKAGED_KERNELS, packagedKernel, provideKernel } from "../../../src/testing/world/kernel-types.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { runs } from "./runs.ts";

const test = suite("packaged kernel types");
const root = join(import.meta.dirname, "../../..");
const data = join(root, "data/kernels");

/** Whole BTF of a packaged kernel: the running one's, or `NAME.btf` in the directory KERNEL_BTFS. */
function wholeBtf(name: string): Btf | undefined {
  if (packagedKernel(name).release === release()) return Btf.parse(readFileSync("/sys/kernel/btf/vmlinux"));
  const file = join(process.env["KERNEL_BTFS"] ?? "/nonexistent", `${name}.btf`);
  return existsSync(file) ? Btf.parse(readFileSync(file)) : undefined;
}

/** Are two types the same, through everything that they refer to? Pairs on the way count as equal. */
class Comparison {
  readonly #a: Btf;
  readonly #b: Btf;
  readonly #equal = new Map<number, number>();

  constructor(a: Btf, b: Btf) {
    this.#a = a;
    this.#b = b;
  }

  same(a: number, b: number): boolean {
    const assumed = new Map<number, number>();
    if (!this.#same(a, b, assumed)) return false;
    for (const [x, y] of assumed) this.#equal.set(x, y);
    return true;
  }

  #same(a0: number, b0: number, assumed: Map<number, number>): boolean {
    const todo: [number, number][] = [[a0, b0]];
    for (let pair = todo.pop(); pair !== undefined; pair = todo.pop()) {
      const [a, b] = pair;
      const known = this.#equal.get(a) ?? assumed.get(a);
      if (known !== undefined) {
        if (known !== b) return false;
        continue;
      }
      assumed.set(a, b);
      const refs = (t: BtfType): number[] =>
        "members" in t
          ? t.members.map((m) => m.type)
          : "params" in t
            ? [t.type, ...t.params.map((p) => p.type)]
            : "vars" in t
              ? t.vars.map((v) => v.type)
              : "indexType" in t
                ? [t.type, t.indexType]
                : "type" in t
                  ? [t.type]
                  : [];
      const plain = (t: BtfType): string =>
        JSON.stringify(t, (key, value: unknown) =>
          key === "id" || key === "type" || key === "indexType"
            ? undefined
            : typeof value === "bigint"
              ? String(value)
              : value,
        );
      const [x, y] = [this.#a.decode(a), this.#b.decode(b)];
      if (plain(x) !== plain(y)) return false;
      const [from, to] = [refs(x), refs(y)];
      from.forEach((ref, i) => todo.push([ref, to[i]!]));
    }
    return true;
  }
}

for (const name of PACKAGED_KERNELS) {
  test(`${name}: at most 600 KB, and every type is the kernel's`, () => {
    assert.ok(statSync(join(data, `${name}.btf.gz`)).size <= 600_000);
    const { btf } = packagedKernel(name);
    if (wholeBtf(name) === undefined) requires({ env: "KERNEL_BTFS" });
    const whole = wholeBtf(name)!;
    const comparison = new Comparison(btf, whole);
    const anonymous = new Map<string, number[]>();
    for (let id = 1; id < whole.typeCount; id++) {
      const kind = KIND_NAMES[whole.kindOf(id)]!;
      if (whole.nameOf(id) === "" && kind.startsWith("enum")) {
        const key = JSON.stringify(whole.decode(id), (k, v: unknown) =>
          k === "id" ? 0 : typeof v === "bigint" ? String(v) : v,
        );
        anonymous.set(key, [...(anonymous.get(key) ?? []), id]);
      }
    }
    let checked = 0;
    for (let id = 1; id < btf.typeCount; id++) {
      const kind = KIND_NAMES[btf.kindOf(id)]!;
      const own = btf.nameOf(id);
      if (own === "" && !kind.startsWith("enum")) continue;
      const key =
        own === ""
          ? JSON.stringify(btf.decode(id), (k, v: unknown) => (k === "id" ? 0 : typeof v === "bigint" ? String(v) : v))
          : "";
      const candidates = own === "" ? (anonymous.get(key) ?? []) : whole.findIds(own, kind as "struct");
      assert.ok(
        candidates.some((c) => comparison.same(id, c)),
        `${btf.describe(id)} of ${name} is another in the whole BTF`,
      );
      checked++;
    }
    assert.ok(checked > 15_000, `${checked} types compared`);
  });

  test(`${name}: what programs need is there`, () => {
    const { btf, tracepointFormat: format, tracepointNames, release: of } = packagedKernel(name);
    assert.ok(of.startsWith(name));
    btf.validate();
    for (const struct of [
      "task_struct",
      "sk_buff",
      "sock",
      "tcp_sock",
      "file",
      "inode",
      "mount",
      "bpf_iter__task",
      "tcp_congestion_ops",
      "linux_binprm",
      "cgroup",
      "net_device",
      "bpf_sock_addr",
      "pt_regs",
    ])
      assert.ok(btf.findId(struct, "struct") !== 0, `struct ${struct}`);
    for (const func of [
      "vfs_read",
      "tcp_connect",
      "tcp_v4_connect",
      "do_sys_openat2",
      "bpf_lsm_file_open",
      "bpf_iter_task",
      "__x64_sys_openat",
      "__traceiter_sched_switch",
      "bpf_rcu_read_lock",
      "security_file_open",
    ].filter((f) => f !== "bpf_rcu_read_lock" || name !== "6.1"))
      assert.ok(btf.findId(func, "func") !== 0, `function ${func}`);
    for (const event of ["sched_switch", "sched_process_exec", "sys_enter", "tcp_probe", "kfree_skb"])
      assert.ok(btf.findId(`btf_trace_${event}`, "typedef") !== 0, `tracepoint ${event}`);
    assert.equal(
      format("syscalls:sys_enter_execve")
        ?.fields.map((f) => [f.name, f.offset, f.size])
        .slice(4),
      [
        ["__syscall_nr", 8, 4],
        ["filename", 16, 8],
        ["argv", 24, 8],
        ["envp", 32, 8],
      ],
    );
    assert.is(format("sched:sched_process_exec")?.fields.find((f) => f.name === "filename")?.dynamic, "data_loc");
    assert.is(format("sched:no_such_event"), undefined);
    assert.throwsCode(() => format("nonsense"), "ARGUMENT", /expected "category:name"/);
    assert.ok(tracepointNames().length > 1000);
  });
}

test("formats of trace events are those of the kernel that runs", () => {
  requires({ root: true, capability: "CAP_SYS_ADMIN", kernel: "5.2" });
  const own = PACKAGED_KERNELS.find((name) => packagedKernel(name).release === release());
  if (own === undefined) requires({ env: "KERNEL_BTFS" });
  const { tracepointFormat: format, tracepointNames } = packagedKernel(own!);
  const kernel = realKernel();
  const names = tracepointNames();
  for (let i = 0; i < names.length; i += 7) {
    const [category = "", event = ""] = names[i]!.split(":");
    assert.equal(format(names[i]!)?.fields, tracepointFormat(kernel, category, event).fields, names[i]!);
  }
});

interface Compiled {
  readonly spec: CollectionSpec;
  readonly insns: readonly unknown[];
  readonly verdicts: readonly unknown[];
}

test("every example compiles to the same instructions as against the kernel's whole types, and is accepted", async () => {
  const names = readdirSync(join(root, "examples")).filter((f) => f.endsWith(".ts") && !f.endsWith(".test.ts"));
  // A file that is loaded again is the same module: the engine runs it once.
  const modules = new Map<string, LoadedModule>();
  for (const kernel of PACKAGED_KERNELS) {
    const whole = wholeBtf(kernel);
    for (const file of names) {
      const against = async (btf: Btf): Promise<Compiled> => {
        const name = basename(file, ".ts");
        const source = (folder: string): string => pathToFileURL(join(root, `src/${folder}/index.ts`)).href;
        const { exports } = await loadModule(join(root, "examples", file), {
          modules,
          resolveOwn: (specifier) => source(specifier === "bpfkit" ? "probe" : specifier.slice("bpfkit/".length)),
          importModule: (url) => import(url),
        });
        const { spec } = compile({
          name,
          exports,
          capture: createCapture(nodeCaptureHost(modules)),
          btf,
          tracepointFormat: packagedKernel(kernel).tracepointFormat,
        });
        const resolver = new CoreResolver([btf]);
        const local = Btf.parse(spec.btf!);
        const insns = spec.progs.map((p) => resolver.relocate({ insns: p.insns, relos: p.coreRelos, local }).insns);
        const maker = new LoadMaker(spec, { vmlinux: btf, madeFor: undefined, possibleCpus: 1, data: (m) => m.data });
        const verdicts = spec.progs.map((p) => {
          const { verdict, message } = verify(maker.make(p).load, { kernel });
          return { program: p.name, verdict, message };
        });
        return { spec, insns, verdicts };
      };
      const reduced = await against(packagedKernel(kernel).btf);
      for (const v of reduced.verdicts) assert.is((v as { verdict: string }).verdict, "accept", JSON.stringify(v));
      if (whole !== undefined) assert.equal(reduced.insns, (await against(whole)).insns, `${file} on ${kernel}`);
    }
  }
});

test("another kernel is refused by name; damaged files are DecodeErrors", async () => {
  assert.throwsCode(() => packagedKernel("5.4"), "NOT_SUPPORTED", /there are those of 6\.1, 6\.12, 6\.18/);
  const btf = readFileSync(join(data, "6.1.btf.gz"));
  const events = readFileSync(join(data, "6.1.events.gz"));
  const refused = async (files: { btf: Uint8Array; events: Uint8Array }): Promise<void> => {
    try {
      await provideKernel("6.1", files);
      const { btf: types, tracepointFormat: format } = packagedKernel("6.1");
      types.findByName("task_struct", "struct");
      format("sched:sched_switch");
    } catch (error) {
      if (!(error instanceof BpfkitError)) throw error;
    }
  };
  await refused({ btf: btf.subarray(0, 1000), events });
  await fc.assert(
    fc.asyncProperty(
      fc.nat(btf.length - 1),
      fc.integer({ min: 0, max: 255 }),
      fc.uint8Array({ maxLength: 40 }),
      async (at, value, noise) => {
        const damaged = new Uint8Array(btf);
        damaged[at] = value;
        await refused({ btf: damaged, events: noise });
      },
    ),
    { numRuns: Math.min(runs(10), 1000) },
  );
  await provideKernel("6.1", { btf, events });
  assert.is(packagedKernel("6.1").btf.findByName("task_struct", "struct")?.name, "task_struct");
});
