/** Every kfunc of the running kernel's BTF against that kernel: verdict, errno and level-2 log, by program type and argument kind. */
import { readFileSync } from "node:fs";
import { mov64Imm, mov64Reg, alu64Imm, callKfunc, exit } from "../../../src/asm/index.ts";
import type { Insn } from "../../../src/asm/index.ts";
import { Btf } from "../../../src/btf/index.ts";
import { verify } from "../../../src/verifier/index.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { bare } from "../bare.ts";
import { kernelVerdict, logDifference } from "../kernel-load.ts";

const test = suite("verifier kfunc calls");
const SYSCALL = 31;
const SLEEPABLE = 16;
const KERNEL = { root: true, kernel: "6.18" } as const;

/** What r1 to r5 hold at the call. */
const FILLS: Readonly<Record<string, readonly Insn[]>> = {
  zeros: [1, 2, 3, 4, 5].map((r) => mov64Imm(r, 0)),
  "stack pointers": [1, 2, 3, 4, 5].flatMap((r) => [mov64Reg(r, 10), alu64Imm("add", r, -16 * r)]),
  "the context and sizes": [2, 3, 4, 5].map((r) => mov64Imm(r, 8)),
};

/** [program type, expected attach type, target's kind and name] */
const TYPES: readonly (readonly [number, number, ("typedef" | "func" | "struct")?, string?])[] = [
  [1, 0],
  [2, 0],
  [3, 0],
  [5, 0],
  [6, 37],
  [8, 0],
  [18, 8],
  [SYSCALL, 0],
  [32, 45],
  [26, 23, "typedef", "btf_trace_task_newtask"],
  [26, 28, "func", "bpf_iter_task"],
  [27, 0, "struct", "tcp_congestion_ops"],
];

function kfuncs(btf: Btf): [id: number, name: string][] {
  const out: [number, string][] = [];
  for (let id = 1; id < btf.typeCount; id++) {
    const t = btf.typeById(id);
    if (t.kind === "decl_tag" && t.name === "bpf_kfunc") out.push([t.type, btf.nameOf(t.type)]);
  }
  return out;
}

for (const [what, fill] of Object.entries(FILLS)) {
  test(
    `called with ${what}`,
    () => {
      requires(KERNEL);
      const btf = Btf.parse(new Uint8Array(readFileSync("/sys/kernel/btf/vmlinux")));
      const all = kfuncs(btf);
      assert.ok(all.length > 150, `${all.length} kfuncs`);
      for (const [id, name] of all) {
        for (const [progType, attachType, kind, target] of TYPES) {
          const attachBtfId = kind === undefined ? 0 : btf.findId(target!, kind);
          const flags = progType === SYSCALL ? SLEEPABLE : 0;
          const insns = [...fill, callKfunc(id), mov64Imm(0, 0), exit()];
          const kernel = kernelVerdict(insns, { progType, attachType, attachBtfId, flags });
          const ours = verify(
            {
              ...bare(insns, progType),
              expectedAttachType: attachType,
              attachBtfId,
              progFlags: flags,
              vmlinuxBtf: btf,
              possibleCpus: 2,
            },
            { logLevel: 2 },
          );
          const where = `${name} from type ${progType}/${attachType}`;
          assert.equal(logDifference(kernel.log, ours.log), null, where);
          assert.equal(-ours.errno, kernel.errno, where);
        }
      }
    },
    { timeoutMs: 60_000 },
  );
}
