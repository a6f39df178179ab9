/** What only the rewriting of the verified program refuses (do_misc_fixups). */
import { BPF_PSEUDO_KFUNC_CALL } from "../../asm/opcode.ts";
import { EINVAL } from "../constants.ts";
import { type Env, reject } from "../env.ts";

const CALL = 0x85;

/** Calls of function 0 are fine as long as no path reaches them: libbpf leaves them where a weak function is missing. */
export function checkFixups(env: Env): void {
  for (let i = 0; i < env.len; i++) {
    if (env.code[i] !== CALL || env.src[i] !== BPF_PSEUDO_KFUNC_CALL || env.imm[i] !== 0 || env.aux[i]!.seen === 0)
      continue;
    reject(env, EINVAL, "invalid kernel function call not eliminated in verifier pass\n");
  }
}
