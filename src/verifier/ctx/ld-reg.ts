/** The register that a load through a typed pointer gives (mark_btf_ld_reg). */
import type { Btf } from "../../btf/btf.ts";
import * as c from "../constants.ts";
import type { Env } from "../env.ts";
import { markRegKnownZero, markRegUnknown } from "../reg-state.ts";

/** Register `regno` becomes a scalar, memory of unknown size that is only read, or a pointer of type btf/btfId with `flag`. */
export function markBtfLdReg(env: Env, regno: number, regType: number, btf: Btf, btfId: number, flag: number): void {
  const r = env.regs[regno]!;
  if (regType === c.SCALAR_VALUE) {
    markRegUnknown(r, env.bpfCapable);
    return;
  }
  markRegKnownZero(r);
  if (regType === c.PTR_TO_MEM) {
    r.type = c.PTR_TO_MEM | flag;
    r.memSize = 0;
    return;
  }
  r.type = c.PTR_TO_BTF_ID | flag;
  r.btf = btf;
  r.btfId = btfId;
  if (c.typeMayBeNull(flag)) r.id = env.newId();
}
