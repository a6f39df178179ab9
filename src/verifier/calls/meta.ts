/** What the checks of one call's arguments tell each other (bpf_call_arg_meta). */
import type { Btf } from "../../btf/btf.ts";
import type { Env } from "../env.ts";
import type { BtfField, VMap } from "../map.ts";
import type { HelperMemMeta } from "../types.ts";

export class CallMeta implements HelperMemMeta {
  readonly funcId: number;
  map: VMap | null = null;
  mapUid = 0;
  rawMode = false;
  pktAccess = false;
  releaseRegno = 0;
  regno = 0;
  accessSize = 0;
  memSize = 0;
  /** Upper bound of the last size argument, u64 words. */
  msizeMaxLo = 0;
  msizeMaxHi = 0;
  refObjId = 0;
  dynptrId = 0;
  retBtf: Btf | null = null;
  retBtfId = 0;
  subprogno = 0;
  kptrField: BtfField | null = null;
  /** Key of a map access when it is known, else -1. */
  constMapKey = 0;

  constructor(funcId: number) {
    this.funcId = funcId;
  }
}

const BPF_PROG_TYPE_EXT = 28;

/** in_sleepable: the program, or the callback being verified, may sleep. */
export const inSleepable = (env: Env): boolean => env.sleepable || env.state.inSleepable;

/** in_rcu_cs */
export const inRcuCs = (env: Env): boolean =>
  env.state.activeRcuLock || env.state.activeLocks !== 0 || !inSleepable(env);

/** in_sleepable_context */
export function inSleepableContext(env: Env): boolean {
  const st = env.state;
  return (
    !st.activeRcuLock && st.activePreemptLocks === 0 && st.activeLocks === 0 && st.activeIrqId === 0 && inSleepable(env)
  );
}

export const isExt = (env: Env): boolean => env.load.progType === BPF_PROG_TYPE_EXT;
