/**
 * The kernel's own selftests (directory `CORPUS`): every accepted program that PROG_TEST_RUN takes returns here what it
 * returns there, exceptions listed with their cause. `CORPUS_STEP=1` tries all objects.
 */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Btf } from "../../src/btf/index.ts";
import { readObject } from "../../src/elf/index.ts";
import type { CollectionSpec, ProgSpec } from "../../src/elf/spec.ts";
import { load } from "../../src/load/index.ts";
import { possibleCpus, realKernel } from "../../src/syscall/index.ts";
import { BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { VmWorldMemory } from "../../src/testing/world-memory.ts";
import { worldHelpers } from "../../src/testing/world/helpers.ts";
import { KernelObjects } from "../../src/testing/world/objects.ts";
import { KernelWorld } from "../../src/testing/world/world.ts";
import { Vm } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { CORPUS_EXCEPTIONS } from "./corpus-exceptions.ts";

const test = suite("vm corpus");
const STEP = Number(process.env["CORPUS_STEP"] ?? 20);
const ENGINES = ["interp", "jit"] as const;
const { XDP, SCHED_CLS, SOCKET_FILTER, SYSCALL, CGROUP_SKB } = BPF_PROG_TYPE;
const TYPES: ReadonlySet<number> = new Set([XDP, SCHED_CLS, SOCKET_FILTER, SYSCALL, CGROUP_SKB]);
const PACKET = new Uint8Array(64).map((_, i) => (i < 12 ? 0 : ([8, 0, 0x45][i - 12] ?? i)));
const input = (prog: ProgSpec): { ctx: Uint8Array } | { data: Uint8Array } =>
  prog.type === SYSCALL ? { ctx: new Uint8Array(64) } : { data: PACKET };

/** One program with all maps; what other programs would be put into is empty. */
const alone = (spec: CollectionSpec, prog: ProgSpec): CollectionSpec => ({
  ...spec,
  progs: [{ ...prog, autoload: true }],
  maps: spec.maps.map((m) => ({
    ...m,
    initialSlots: m.initialSlots.filter(
      (s) => s.target === prog.name || spec.maps.some((other) => other.name === s.target),
    ),
  })),
});

/** The kernel's return value; undefined when it refuses, or when it gives another one each time. */
function kernelResult(spec: CollectionSpec, prog: ProgSpec): number | undefined {
  const results = new Set<number>();
  try {
    for (let i = 0; i < 3; i++) {
      const loaded = load(spec);
      try {
        results.add(loaded.prog(prog.name).testRun(input(prog)).returnValue);
      } finally {
        loaded.close();
      }
    }
  } catch {
    return undefined;
  }
  const [value] = results;
  return results.size === 1 ? value : undefined;
}

/** A VM in a world without sockets and routes. Privileged programs may read stack that they never wrote. */
function vmOf(spec: CollectionSpec, engine: "interp" | "jit", btf: Btf, cpus: number): Vm {
  let world: KernelWorld | undefined;
  const vm: Vm = new Vm(spec, {
    engine,
    btf,
    uninit: "allow",
    world: { cpus },
    mocks: {
      ...worldHelpers(() => (world ??= new KernelWorld(new KernelObjects(btf, new VmWorldMemory(vm.memory))))),
      // Nor are there other tasks and cgroups.
      bpf_task_from_pid: () => 0n,
      bpf_cgroup_from_id: () => 0n,
    },
  });
  return vm;
}

test(
  "return values are the kernel's",
  () => {
    requires({ root: true, kernel: "6.18", env: "CORPUS" });
    const folder = join(process.env["CORPUS"]!, "progs");
    const btf = Btf.parse(readFileSync("/sys/kernel/btf/vmlinux"));
    const cpus = possibleCpus(realKernel());
    const wrong: string[] = [];
    const listed: string[] = [];
    let same = 0;
    const objects = readdirSync(folder).filter((f) => f.endsWith(".o"));
    for (const file of objects.filter((_, i) => i % STEP === 0)) {
      const name = file.slice(0, -2);
      let spec: CollectionSpec;
      try {
        spec = readObject(readFileSync(join(folder, file)), { name });
      } catch {
        continue;
      }
      for (const prog of spec.progs) {
        if (!TYPES.has(prog.type)) continue;
        const one = alone(spec, prog);
        const want = kernelResult(one, prog);
        if (want === undefined) continue;
        const got = ENGINES.map((engine): string => {
          try {
            return String(vmOf(one, engine, btf, cpus).run(prog.name, input(prog)).returnValue);
          } catch (error) {
            const { code, message, stack } = error as Error & { code?: string };
            return code === undefined ? `${message} ${stack}` : message;
          }
        });
        const exception = CORPUS_EXCEPTIONS[`${name}/${prog.name}`];
        if (got.every((g) => g === String(want))) {
          same++;
          if (exception !== undefined) wrong.push(`${name}/${prog.name} is right now: ${exception}`);
        } else if (exception === undefined)
          wrong.push(`${name}/${prog.name}: ${want}, here ${[...new Set(got)].join(", ")}`);
        else listed.push(`${name}/${prog.name}`);
      }
    }
    console.log(`${same} of ${same + listed.length + wrong.length} return the kernel's value`);
    assert.equal(wrong, []);
    assert.ok(same >= (same + listed.length) * 0.98, `${listed.length} exceptions, ${same} right`);
  },
  { timeoutMs: 1_200_000 },
);
