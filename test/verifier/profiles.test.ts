/** Kernel profiles: each change of behaviour against verdicts recorded on kernels 6.1, 6.12 and 6.18, and the tables of `verify --kernel`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { type Insn, parseAsm } from "../../src/asm/index.ts";
import { BpfkitError } from "../../src/core/errors.ts";
import { progLoadFromJson } from "../../src/elf/capture.ts";
import { packagedKernel } from "../../src/testing/world/kernel-types.ts";
import { KERNEL_CHANGES, type KernelChangeName } from "../../src/uapi/kernel-changes.ts";
import {
  KERNELS,
  type KernelProfile,
  type ProgLoad,
  type Verdict,
  kernelProfile,
  verify,
} from "../../src/verifier/index.ts";
import { newerThan, requirementText } from "../../src/verifier/requirements.ts";
import { bpfkit, example } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";
import { arrayMap, bare } from "./bare.ts";

const test = suite("verifier profiles");

/** A program of the kernel's selftests that the change decides, with what a kernel said to it. */
interface Fixture {
  readonly change: KernelChangeName;
  readonly kernel: string;
  readonly program: string;
  /** Wants the kernel's types. */
  readonly types: boolean;
  readonly recorded: { readonly verdict: string; readonly message: string; readonly insns: number };
  readonly load: unknown;
}

const FIXTURES = JSON.parse(
  gunzipSync(readFileSync(join(import.meta.dirname, "profiles.json.gz"))).toString("utf8"),
) as readonly Fixture[];

/** The kernel, but for one change. */
function flipped(kernel: KernelProfile, change: KernelChangeName): KernelProfile {
  return { ...kernel, has: { ...kernel.has, [change]: !kernel.has[change] } };
}

const outcome = (v: Verdict): string =>
  `${v.verdict} ${v.message} ${v.insnsProcessed}\n${v.log.replace(/time \d+ usec/, "time")}`;

for (const f of FIXTURES) {
  test(`${f.change}: ${f.program} on ${f.kernel} is as recorded, and otherwise without the change`, () => {
    const vmlinuxBtf = f.types ? packagedKernel(f.kernel).btf : null;
    const { load } = progLoadFromJson(f.load, { what: f.program, vmlinuxBtf });
    const kernel = kernelProfile(f.kernel);
    const v = verify(load, { logLevel: 6, kernel });
    assert.is(v.verdict, f.recorded.verdict);
    if (v.verdict === "accept") assert.is(v.insnsProcessed, f.recorded.insns);
    else assert.is(v.message, f.recorded.message);
    assert.is.not(outcome(verify(load, { logLevel: 6, kernel: flipped(kernel, f.change) })), outcome(v));
  });
}

const asm = (text: string): readonly Insn[] => parseAsm(text);
const types618 = () => packagedKernel("6.18").btf;
const idOf = (name: string, kind: "func" | "typedef"): number => types618().findByName(name, kind)!.id;

function offsetIn(struct: string, member: string): number {
  return (
    types618()
      .findByName(struct, "struct")!
      .members.find((m) => m.name === member)!.bitOffset / 8
  );
}

function tracing(text: string, attach: number, target: number, progType = 26): ProgLoad {
  return { ...bare(asm(text), progType), expectedAttachType: attach, attachBtfId: target, vmlinuxBtf: types618() };
}

const lsm = (hook: string, text: string): ProgLoad => tracing(text, 27, idOf(`bpf_lsm_${hook}`, "func"), 29);

const ONE = "r1 = *(u32 *)(r1 +0)\n";

function addressOfFunction(): ProgLoad {
  const load = tracing("r1 = 0 ll\nr0 = 0\nexit", 23, idOf("btf_trace_sched_switch", "typedef"));
  const btfId = idOf("bpf_lsm_file_open", "func");
  const insns = load.insns.map((insn, i) => (i === 0 ? { ...insn, src: 3, imm: btfId } : insn));
  return { ...load, insns, ksyms: [{ insn: 0, btfId, name: "bpf_lsm_file_open" }] };
}

/** Change, program, and a text of the outcome with it and without it. */
const WRITTEN: readonly (readonly [KernelChangeName, () => ProgLoad, RegExp, RegExp])[] = [
  [
    "tnumMulUnion",
    () => bare(asm(`${ONE}r1 &= 2\nr1 |= 1\nr1 *= 3\nr0 = 0\nexit`)),
    /var_off=\(0x1; 0xa\)/,
    /var_off=\(0x1; 0xe\)/,
  ],
  [
    "productRanges",
    () => bare(asm(`${ONE}r1 &= 7\nr1 -= 3\nr1 *= 2\nr0 = 0\nexit`)),
    /r1 \*= 2 .*smin=smin32=-6/,
    /r1 \*= 2 .*R1=scalar\(smax=0x7ffffffffffffffe/,
  ],
  [
    "scalarForks",
    () => bare(asm(`${ONE}r1 <<= 32\nr1 s>>= 63\nr1 &= 8\nr0 = 0\nexit`)),
    /^accept {2}9\n/,
    /^accept {2}6\n/,
  ],
  [
    "loadAcquire",
    () => bare(asm("*(u64 *)(r10 -8) = 0\nr0 = load_acquire((u64 *)(r10 -8))\nexit")),
    /^accept/,
    /^reject BPF_ATOMIC uses invalid atomic opcode 100/,
  ],
  [
    "scalarIdsCompared",
    () =>
      bare(
        asm(
          "r6 = r1\nr7 = *(u32 *)(r6 +0)\nr8 = *(u32 *)(r6 +4)\nr9 = *(u32 *)(r6 +8)\nif r9 > 5 goto +2\nr8 = r7\ngoto +1\n" +
            "r0 = 0\nif r7 > 4 goto +3\nr1 = r10\nr1 += r8\n*(u8 *)(r1 -8) = 0\nr0 = 0\nexit",
        ),
      ),
    /^reject invalid unbounded variable-offset write/,
    /^accept/,
  ],
  ["hookReturnRanges", () => lsm("file_open", "r0 = 5\nexit"), /^reject At program exit .*\[-4095, 0\]/, /^accept/],
  [
    "untrustedMem",
    () =>
      lsm(
        "bprm_check_security",
        `r1 = *(u64 *)(r1 +0)\nr1 = *(u64 *)(r1 +${offsetIn("linux_binprm", "filename")})\nr0 = 0\nexit`,
      ),
    /R1=rdonly_untrusted_mem\(sz=0\)/,
    /r1 = \*\(u64 \*\)\(r1 \+\d+\) +; R1=scalar\(\)/,
  ],
  [
    "untrustedUnions",
    () => lsm("bpf", "r1 = *(u64 *)(r1 +8)\nr1 = *(u64 *)(r1 +0)\nr0 = 0\nexit"),
    /^accept|^reject access beyond struct/,
    /^reject/,
  ],
  [
    "kernelTypesGpl",
    () => ({
      ...tracing(
        `r1 = *(u64 *)(r1 +8)\nr1 = *(u64 *)(r1 +${offsetIn("task_struct", "mm")})\nr0 = 0\nexit`,
        23,
        idOf("btf_trace_sched_switch", "typedef"),
      ),
      license: "Proprietary",
    }),
    /^reject Cannot access kernel 'struct task_struct' from non-GPL compatible program/,
    /^accept/,
  ],
  ["funcSymbols", addressOfFunction, /^accept/, /^reject pseudo btf_id \d+ in ldimm64 isn't KIND_VAR/],
];

for (const [change, load, with_, without] of WRITTEN) {
  test(`${change}: a program that it decides`, () => {
    const kernel = kernelProfile("6.18");
    const made = { ...load() };
    assert.match(outcome(verify(made, { logLevel: 6, kernel })), with_);
    assert.match(outcome(verify(made, { logLevel: 6, kernel: flipped(kernel, change) })), without);
  });
}

/** Decided by what a program needs (see below), or only where nothing here reaches. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  mapIndexes: "requirements",
  sleepablePrograms: "requirements",
  bugTexts: "a text of the verifier's own faults",
  fewerMemIds: "numbers of ids in the log of functions with memory arguments",
  fmodRetSets: "attach targets, by the corpus of 6.1",
  refcountedRbNodes: "trees of kernel objects, by the corpora of 6.12 and 6.18",
  sleepableGlobalFuncs: "preemption sections over global functions, by the corpora of 6.12 and 6.18",
  signsOfBitOps: "hidden by the deductions that follow in all kernels with recorded verdicts",
};

test("every change has a test", () => {
  const tested = new Set<string>([...FIXTURES.map((f) => f.change), ...WRITTEN.map((w) => w[0])]);
  assert.equal(
    Object.keys(KERNEL_CHANGES)
      .filter((name) => !tested.has(name))
      .toSorted(),
    Object.keys(ELSEWHERE).toSorted(),
  );
});

test("a profile has what its release and its stable updates have", () => {
  assert.is(kernelProfile("6.12").has.staticStackLiveness, false);
  assert.is(kernelProfile("6.18").has.staticStackLiveness, true);
  assert.is(kernelProfile("6.1.191").has.packetLoadForks, false);
  assert.is(kernelProfile("6.1.192").has.packetLoadForks, true);
  // Without a patch level: the newest of the series. In between: what was merged by then.
  assert.is(kernelProfile("6.1").has.packetLoadForks, true);
  assert.is(kernelProfile("6.13").has.packetLoadForks, false);
  assert.is(kernelProfile("v5.12").atLeast("5.12"), true);
  assert.is(kernelProfile("5.11").atLeast("5.12"), false);
  for (const bad of ["", "six", "6", "6.x", "6.1-rc1"]) {
    assert.throws(
      () => kernelProfile(bad),
      (e: unknown) => e instanceof BpfkitError && e.code === "KERNEL_VERSION",
    );
  }
  // Nothing is lost from one long-term kernel to the next.
  for (const [i, name] of KERNELS.slice(1).entries()) {
    const older = kernelProfile(KERNELS[i]!).has;
    const newer = kernelProfile(name).has;
    for (const [key, change] of Object.entries(KERNEL_CHANGES)) {
      if (older[key as KernelChangeName] && !newer[key as KernelChangeName]) assert.ok("stable" in change, key);
    }
  }
});

test("what a program needs, and where that is missing", () => {
  const needs = (load: ProgLoad, kernel: string): string[] =>
    newerThan(load, kernelProfile(kernel)).map(requirementText);
  const loop = bare(asm("call 181\nr0 = 0\nexit"));
  assert.equal(needs(loop, "5.15"), ["helper bpf_loop: since Linux 5.17"]);
  assert.equal(needs(loop, "6.1"), []);
  const ring = { ...bare(asm("r0 = 0\nexit")), maps: [arrayMap(27, 0, 0, 4096)] };
  assert.equal(needs(ring, "5.4"), ["maps of type ringbuf: since Linux 5.8"]);
  const refused = verify(ring, { kernel: "5.4" });
  assert.is(refused.verdict, "reject");
  assert.match(refused.message, /ringbuf/);
  assert.is(verify(ring, { kernel: "5.10" }).verdict, "accept");
  const sleepable = { ...bare(asm("r0 = 0\nexit"), 26), progFlags: 16, expectedAttachType: 24 };
  assert.ok(needs(sleepable, "5.4").includes("sleepable programs: since Linux 5.10"));
  const indexed = bare([
    { opcode: 0x18, dst: 1, src: 5, off: 0, imm: 0 },
    { opcode: 0, dst: 0, src: 0, off: 0, imm: 0 },
    ...asm("r0 = 0\nexit"),
  ]);
  assert.equal(needs(indexed, "5.10"), ["maps named by index: since Linux 5.14"]);
  const signed = bare([...asm("r0 = 7\n"), { opcode: 0x37, dst: 0, src: 0, off: 1, imm: 2 }, ...asm("exit")]);
  assert.equal(needs(signed, "6.1"), ["signed division: since Linux 6.6"]);
  assert.is(verify(signed, { kernel: "6.1" }).verdict, "reject");
  assert.is(verify(signed, { kernel: "6.6" }).verdict, "accept");
});

test("numbers are inv before 5.18", () => {
  const load = bare(asm("r1 = 5\nr0 = *(u8 *)(r1 +0)\nexit"));
  assert.is(verify(load, { kernel: "5.15" }).message, "R1 invalid mem access 'inv'");
  assert.is(verify(load, { kernel: "6.1" }).message, "R1 invalid mem access 'scalar'");
});

test("verify --kernel LIST: a column a kernel, the reasons, and the oldest that accepts", async () => {
  const out = await bpfkit(["verify", "--kernel", "5.10,6.1,6.18", example("xdpcount")]);
  assert.is(out.code, 1);
  assert.is(
    out.stdout,
    `PROGRAM  TYPE  5.10    6.1     6.18    OLDEST
count    xdp   reject  accept  accept  6.1

count on 5.10: invalid func unknown#188; helper bpf_xdp_get_buff_len: since Linux 5.18
`,
  );
});

test("verify --kernel --json: a row a kernel", async () => {
  const out = await bpfkit(["verify", "--json", "--kernel", "5.4,6.12", example("runqlat"), "-p", "onSwitch"]);
  const rows = out.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(
    rows.map((r) => [r["kernel"], r["verdict"], r["oldest"]]),
    [
      ["5.4", "error", "6.1"],
      ["6.12", "accept", undefined],
    ],
  );
  assert.match(String(rows[0]!["message"]), /kernel types are needed .*name a BTF file/);
});
