/** Which program types read and write packet data directly (may_access_direct_pkt_data). */
import { BPF_PROG_TYPE } from "../../uapi/prog-types.ts";
import { BPF_WRITE } from "../constants.ts";
import type { Env } from "../env.ts";

const P = BPF_PROG_TYPE;
const READ_ONLY: ReadonlySet<number> = new Set([P.LWT_IN, P.LWT_OUT, P.LWT_SEG6LOCAL, P.SK_REUSEPORT, P.FLOW_DISSECTOR, P.CGROUP_SKB]);
const READ_WRITE: ReadonlySet<number> = new Set([P.SCHED_CLS, P.SCHED_ACT, P.XDP, P.LWT_XMIT, P.SK_SKB, P.SK_MSG]);

/** With `call` (a helper's argument): whether that helper takes packet pointers. Else notes a direct write. */
export function mayAccessDirectPktData(env: Env, access: number, call: { readonly pktAccess: boolean } | null = null): boolean {
  const t = env.progType;
  if (READ_ONLY.has(t)) {
    if (access === BPF_WRITE) return false;
  } else if (!READ_WRITE.has(t)) {
    if (t !== P.CGROUP_SOCKOPT) return false;
    if (access === BPF_WRITE) env.seenDirectWrite = true;
    return true;
  }
  if (call !== null) return call.pktAccess;
  env.seenDirectWrite = true;
  return true;
}
