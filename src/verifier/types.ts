/**
 * Shapes shared by the core (this folder) and scalar/, calls/, ctx/ and btf/.
 *
 * - A rejection is `reject(env, errno, "text\n")` (env.ts): it logs and throws; no error codes are returned.
 * - Current registers are `env.regs[n]`, plain mutable RegState objects. Stack slots are copy on write:
 *   `frame.stack[spi]` to read, `frame.slotForWrite(spi)` to write.
 * - 64-bit numbers are (lo, hi) int32 words, 32-bit ones int32 (reg-state.ts).
 */
import type { Btf } from "../btf/btf.ts";
import type { Env } from "./env.ts";
import type { FuncState } from "./state.ts";

/** One parameter of a global function, from BTF and decl tags (bpf_subprog_arg_info). */
export interface SubprogArg {
  /** ARG_* as in calls/arg-types.ts */
  argType: number;
  memSize: number;
  btfId: number;
  btf: Btf | null;
}

/** A kernel function the program calls (bpf_kfunc_desc + what BTF says of it). */
export interface KfuncDesc {
  readonly funcId: number;
  /** `off` of the call insn: index into fd_array, 0 for vmlinux. */
  readonly offset: number;
  readonly name: string;
  readonly btf: Btf;
  readonly protoId: number;
  readonly flags: number;
}

/** set_callee_state_fn: fills the callee's registers from the caller's; returns nothing, rejects on error. */
export type CalleeStateSetter = (env: Env, caller: FuncState, callee: FuncState, insnIdx: number) => void;

/** What check_ctx_access learns (bpf_insn_access_aux). */
export interface CtxAccess {
  regType: number;
  ctxFieldSize: number;
  btf: Btf | null;
  btfId: number;
  refObjId: number;
  /** A hook's return value with a known range (LSM): [min, max], s32. */
  retvalRange: readonly [number, number] | null;
}

/** What check_helper_mem_access needs of bpf_call_arg_meta. */
export interface HelperMemMeta {
  rawMode: boolean;
  /** Set by check_stack_range_initialized when rawMode. */
  regno: number;
  accessSize: number;
}
