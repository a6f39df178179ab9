/** Context loads and stores of every program type at every word against the running kernel: verdict, errno, level-2 log. */
import { readFileSync } from "node:fs";
import { exit, ldxMem, mov64Imm, stxMem } from "../../../src/asm/index.ts";
import { Btf } from "../../../src/btf/index.ts";
import { verify } from "../../../src/verifier/index.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { bare } from "../bare.ts";
import { kernelVerdict, logDifference } from "../kernel-load.ts";
import { TYPES } from "./prog-types.ts";

const test = suite("verifier context access");
const SYSCALL = 31;
const SLEEPABLE = 16;
const FIRST = -8;
const END = 280;
const SIZES = ["b", "h", "w", "dw"] as const;

for (const write of [false, true]) {
  const access = write ? "stores" : "loads";
  test(
    `${access} of every program type`,
    () => {
      requires({ root: true, kernel: "6.18" });
      const vmlinuxBtf = Btf.parse(new Uint8Array(readFileSync("/sys/kernel/btf/vmlinux")));
      for (const [progType, attachType] of TYPES) {
        const flags = progType === SYSCALL ? SLEEPABLE : 0;
        for (let off = FIRST; off < END; off += 4) {
          for (const size of SIZES) {
            const insns = write
              ? [mov64Imm(2, 1), stxMem(size, 1, 2, off), mov64Imm(0, 0), exit()]
              : [ldxMem(size, 2, 1, off), mov64Imm(0, 1), exit()];
            const kernel = kernelVerdict(insns, { progType, attachType, flags });
            const load = {
              ...bare(insns, progType),
              expectedAttachType: attachType,
              progFlags: flags,
              vmlinuxBtf,
              possibleCpus: 2,
            };
            const ours = verify(load, { logLevel: 2 });
            const where = `type ${progType}/${attachType} ${size} at ${off}`;
            assert.equal(logDifference(kernel.log, ours.log), null, where);
            assert.equal(-ours.errno, kernel.errno, where);
          }
        }
      }
    },
    { timeoutMs: 60_000 },
  );
}
