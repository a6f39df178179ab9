/** Interrupt flags saved in stack slots (bpf_local_irq_save, bpf_res_spin_lock_irqsave). */
import * as c from "../constants.ts";
import { type Env, reject } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import { checkMemAccess } from "../mem.ts";
import { acquireIrq, releaseIrq } from "../refs.ts";
import { type RegState, markRegKnownZero, markRegNotInit } from "../reg-state.ts";
import { slotByte, slotFill } from "../state.ts";
import type { KfuncMeta } from "./kfunc-meta.ts";
import { frameOf, stackObjSpi } from "./stack-obj.ts";

const BPF_DW = 0x18;
const IRQ_SLOT = slotFill(c.STACK_IRQ_FLAG);

const irqSpi = (env: Env, r: RegState): number => stackObjSpi(env, r, "irq_flag", 1);

function markSlot(env: Env, r: RegState, kfuncClass: number): void {
  const spi = irqSpi(env, r);
  if (spi < 0) throw new VerifierReject(-spi);
  const f = frameOf(env, r);
  const id = acquireIrq(env, env.insnIdx);
  env.liveStack.markWrite(f.frameno, spi);
  const s = f.slotForWrite(spi);
  markRegKnownZero(s.reg);
  s.reg.type = c.PTR_TO_STACK;
  s.reg.refObjId = id;
  s.reg.irqKfuncClass = kfuncClass;
  s.types = IRQ_SLOT;
  env.scratchSlot(spi);
}

function unmarkSlot(env: Env, r: RegState, kfuncClass: number): void {
  const spi = irqSpi(env, r);
  if (spi < 0) throw new VerifierReject(-spi);
  const f = frameOf(env, r);
  const { reg } = f.stack[spi]!;
  if (reg.irqKfuncClass !== kfuncClass) {
    const name = (cls: number): string => (cls === c.IRQ_LOCK_KFUNC ? "lock" : "native");
    reject(
      env,
      c.EINVAL,
      `irq flag acquired by ${name(reg.irqKfuncClass)} kfuncs cannot be restored with ${name(kfuncClass)} kfuncs\n`,
    );
  }
  const st = env.state;
  const err = releaseIrq(st, reg.refObjId);
  if (err === c.EACCES) {
    const by = st.refs.find((x) => x.type === c.REF_TYPE_IRQ && x.id === st.activeIrqId);
    reject(
      env,
      err,
      `cannot restore irq state out of order, expected id=${st.activeIrqId} acquired at insn_idx=${by?.insnIdx ?? -1}\n`,
    );
  }
  if (err !== 0) throw new VerifierReject(err);
  const s = f.slotForWrite(spi);
  markRegNotInit(s.reg, env.bpfCapable);
  env.liveStack.markWrite(f.frameno, spi);
  s.types = 0;
  env.scratchSlot(spi);
}

function validUninit(env: Env, r: RegState): boolean {
  const spi = irqSpi(env, r);
  if (spi === -c.ERANGE) return true;
  if (spi < 0) return false;
  const { types } = frameOf(env, r).stack[spi]!;
  for (let j = 0; j < 8; j++) if (slotByte(types, j) === c.STACK_IRQ_FLAG) return false;
  return true;
}

function validInit(env: Env, r: RegState): boolean {
  const spi = irqSpi(env, r);
  if (spi < 0) return false;
  const s = frameOf(env, r).stack[spi]!;
  return s.reg.refObjId !== 0 && s.types === IRQ_SLOT;
}

/** process_irq_flag */
export function processIrqFlag(env: Env, regno: number, meta: KfuncMeta): void {
  const r = env.regs[regno]!;
  const save = meta.name === "bpf_local_irq_save" || meta.name === "bpf_res_spin_lock_irqsave";
  const cls = meta.name.startsWith("bpf_res_spin") ? c.IRQ_LOCK_KFUNC : c.IRQ_NATIVE_KFUNC;
  if (save) {
    if (!validUninit(env, r)) reject(env, c.EINVAL, `expected uninitialized irq flag as arg#${regno - 1}\n`);
    checkMemAccess(env, env.insnIdx, regno, 0, BPF_DW, c.BPF_WRITE, -1, false, false);
    markSlot(env, r, cls);
    return;
  }
  if (!validInit(env, r)) reject(env, c.EINVAL, `expected an initialized irq flag as arg#${regno - 1}\n`);
  const spi = irqSpi(env, r);
  env.liveStack.markRead(r.frameno, env.insnIdx, spi);
  env.scratchSlot(spi);
  unmarkSlot(env, r, cls);
}
