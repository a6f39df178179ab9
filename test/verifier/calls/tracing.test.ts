/** Context arguments of tracepoints, iterators and struct_ops members against the running kernel: verdict, errno, level-2 log. */
import { readFileSync } from "node:fs";
import { exit, ldxMem, mov64Imm } from "../../../src/asm/index.ts";
import { Btf } from "../../../src/btf/index.ts";
import { verify } from "../../../src/verifier/index.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { bare } from "../bare.ts";
import { kernelVerdict, logDifference } from "../kernel-load.ts";

const test = suite("verifier context arguments by BTF");
const KERNEL = { root: true, kernel: "6.18" } as const;
/** One tracepoint in so many; `TRACEPOINTS_EVERY=1` takes all. */
const EVERY = Number(process.env["TRACEPOINTS_EVERY"] ?? 4);
const WORDS = 6;

interface Target {
  readonly name: string;
  readonly progType: number;
  readonly attachType: number;
  readonly attachBtfId: number;
}

/** Loads each argument, and what its second word points at. */
function compare(btf: Btf, targets: readonly Target[]): number {
  let accepted = 0;
  for (const { name, progType, attachType, attachBtfId } of targets) {
    for (let k = 0; k <= WORDS; k++) {
      const insns = [
        ldxMem(k === WORDS ? "w" : "dw", 2, 1, 8 * (k % WORDS)),
        ldxMem("dw", 3, 2, 8),
        mov64Imm(0, 0),
        exit(),
      ];
      const kernel = kernelVerdict(insns, { progType, attachType, attachBtfId });
      if (kernel.log === "") continue; // refused before the verifier
      if (kernel.errno === 0) accepted++;
      const ours = verify(
        { ...bare(insns, progType), expectedAttachType: attachType, attachBtfId, vmlinuxBtf: btf, possibleCpus: 2 },
        { logLevel: 2 },
      );
      assert.equal(logDifference(kernel.log, ours.log), null, `${name}, word ${k}`);
      assert.equal(-ours.errno, kernel.errno, `${name}, word ${k}`);
    }
  }
  return accepted;
}

function select(btf: Btf, kind: "typedef" | "func" | "struct", match: (name: string) => boolean): [number, string][] {
  const out: [number, string][] = [];
  for (let id = 1; id < btf.typeCount; id++) {
    if (btf.typeById(id).kind === kind && match(btf.nameOf(id))) out.push([id, btf.nameOf(id)]);
  }
  return out;
}

const vmlinux = (): Btf => Btf.parse(new Uint8Array(readFileSync("/sys/kernel/btf/vmlinux")));

test(
  "tp_btf arguments, NULL and error pointers among them",
  () => {
    requires(KERNEL);
    const btf = vmlinux();
    const all = select(btf, "typedef", (n) => n.startsWith("btf_trace_")).filter((_, i) => i % EVERY === 0);
    const targets = all.map(([attachBtfId, name]) => ({ name, progType: 26, attachType: 23, attachBtfId }));
    assert.ok(compare(btf, targets) > 0);
  },
  { timeoutMs: 60_000 },
);

test(
  "iterator contexts",
  () => {
    requires(KERNEL);
    const btf = vmlinux();
    const all = select(btf, "func", (n) => n.startsWith("bpf_iter_") && !/_(new|next|destroy)$/.test(n));
    compare(
      btf,
      all.map(([attachBtfId, name]) => ({ name, progType: 26, attachType: 28, attachBtfId })),
    );
  },
  { timeoutMs: 60_000 },
);

test(
  "struct_ops members",
  () => {
    requires(KERNEL);
    const btf = vmlinux();
    const targets: Target[] = [];
    for (const [attachBtfId, name] of select(btf, "struct", (n) => btf.findId(`bpf_struct_ops_${n}`, "struct") !== 0)) {
      const type = btf.typeById(attachBtfId);
      const members = type.kind === "struct" ? type.members : [];
      members.forEach((m, i) => targets.push({ name: `${name}.${m.name}`, progType: 27, attachType: i, attachBtfId }));
    }
    compare(btf, targets);
  },
  { timeoutMs: 60_000 },
);
