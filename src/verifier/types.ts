/**
 * The seams between the core (this folder) and its three neighbours. Each line names who
 * implements what, in which file, so that all sides build against the same signatures.
 *
 * Conventions:
 * - A rejection is `reject(env, errno, "text\n")` (env.ts): it logs and throws; no error codes are returned.
 * - Current registers: `env.regs[n]`, plain mutable RegState objects. Stack slots: `frame.stack[spi]` to read,
 *   `frame.slotForWrite(spi)` to write (they are copy on write).
 * - 64-bit numbers are (lo, hi) int32 words, 32-bit ones int32 (reg-state.ts).
 * - Byte sizes, offsets and frame numbers are plain numbers.
 *
 * scalar/ (pure functions on RegState; import from "./scalar/index.ts"):
 *   - regBoundsSync(r): reg_bounds_sync; regBoundsSanity(env, r, ctx) when testRegInvariants
 *   - adjustScalarMinMaxVals(env, insnIdx, dst, src): ALU on scalars, class/op/32-bit taken from env.code/imm;
 *     src may be a constant made in env.fakeReg. Handles the unknown-shift cases; never rejects for privileged mode, and
 *     returns false for an opcode the kernel calls unknown ("unknown opcode").
 *   - aluConstShifts etc. are internal.
 *   - isBranchTaken(r1, r2, opcode, isJmp32): 1 | 0 | -1 for two scalars
 *   - regsRefine(r1, r2, opcode, isJmp32) : regs_refine_cond_op for two scalars (opcode = BPF_JEQ … as in asm/opcode.ts),
 *     revOpcode(op), flipOpcode(op)
 *   - regSetMinMax(env, trueReg1, trueReg2, falseReg1, falseReg2, opcode, isJmp32): reg_set_min_max
 *   - coerceRegToSize(r, bytes), coerceRegToSizeSx(r, bytes), coerceSubregToSizeSx(r, bytes), zextSubreg(r) (zext_32_to_64),
 *     rangeWithin(old, cur), tnumIn(old, cur) on two RegStates' var_off, tnumRange…; tnum helpers `tnumStrn`-like for the log
 *     belong to log.ts (core).
 *   - also exported for pointer arithmetic and linked registers, each changing `dst` in place and nothing else:
 *     scalarMinMaxAdd(dst, src), scalarMinMaxSub(dst, src) (64-bit bounds), scalar32MinMaxAdd(dst, src), tnumAddReg(dst, src),
 *     tnumSubReg(dst, src) (var_off only); BPF_NEG is part of adjustScalarMinMaxVals (6.18: 0 - dst)
 *   - u64lt(aLo,aHi,bLo,bHi), s64lt(…) comparisons (scalar/words.ts)
 *
 * calls/, ctx/, btf/ (import from "./calls/index.ts", "./ctx/index.ts", "./btf/index.ts"):
 *   see the interfaces below, one per function.
 */
import type { Btf } from "../btf/btf.ts";
import type { Env } from "./env.ts";
import type { BtfField, VMap } from "./map.ts";
import type { RegState } from "./reg-state.ts";
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

// ---- calls/ implements (V2) --------------------------------------------------------------
export interface Calls {
  /** check_helper_call of the insn at insnIdx: argument checks, effects, r0 and clobbers; may push callback states. */
  checkHelperCall(env: Env, insnIdx: number): void;
  /** check_kfunc_call, iterators included (process_iter_next_call pushes states through pushStack). */
  checkKfuncCall(env: Env, insnIdx: number): void;
  /** btf_check_func_arg_match: `regs[1..5]` against the BTF arguments of `subprog`; logs and rejects on a mismatch. The core calls it for every
   * subprogram call when there is func_info, catches the rejection for static functions and keeps `unreliable`. */
  btfCheckSubprogCall(env: Env, subprog: number, regs: RegState[]): void;
  // btf_prepare_func_args, the entry registers and check_return_code are the core's: global-funcs.ts, return-code.ts.
  /** check_attach_btf_id, struct_ops (check_struct_ops_btf_id), called before do_check. */
  checkAttachBtfId(env: Env): void;
  // check_btf_info, func_info, line_info and the exception callback are the core's: btf-info.ts.
  /** add_kfunc_call for every kfunc call: fills env.kfuncs. */
  addKfuncCall(env: Env, insnIdx: number): void;
  /** check_pseudo_btf_id (ld_imm64 src 3): fills aux.btfVar. */
  checkPseudoBtfId(env: Env, insnIdx: number): void;
  /** bpf_get_call_summary for live registers: parameters of the call at insnIdx, or -1 when unknown. fastcall: bpf_fastcall-able. */
  callSummary(env: Env, insnIdx: number): { numParams: number; fastcall: boolean; isVoid: boolean } | null;
  /** Facts for check_cfg's visit_insn. */
  isSyncCallbackCallingInsn(env: Env, insnIdx: number): boolean;
  isAsyncCallbackCallingInsn(env: Env, insnIdx: number): boolean;
  isIterNextInsn(env: Env, insnIdx: number): boolean;
  /** kfunc_spin_allowed(imm) of the kfunc call at insnIdx: may be called while a lock is held. */
  kfuncSpinAllowed(env: Env, insnIdx: number): boolean;
  /** bpf_throw, helpers or kfuncs that change packet data or may sleep. */
  isBpfThrowInsn(env: Env, insnIdx: number): boolean;
  callChangesPktData(env: Env, insnIdx: number): boolean;
  callMightSleep(env: Env, insnIdx: number): boolean;
  /** destroy_if_dynptr_stack_slot before a write to slot spi (rejects for a referenced one). */
  destroyIfDynptrStackSlot(env: Env, frame: FuncState, spi: number): void;
  /** Reads of kptr/uptr fields of a map value (check_map_kptr_access). `field` from recordFind. */
  checkMapKptrAccess(env: Env, regno: number, valueRegno: number, insnIdx: number, field: BtfField): void;
  /** Names of helper `id` and of a kfunc call, as the log prints them; null when there is none. */
  helperName(env: Env, id: number): string | null;
  kfuncName(env: Env, insnIdx: number): string | null;
  /** type_is_sk_pointer etc. are in ctx/. The record of an allocated object's type (reg_btf_record for PTR_TO_BTF_ID|MEM_ALLOC). */
  regBtfRecord(env: Env, reg: RegState): import("./map.ts").BtfRecord | null;
}

// ---- ctx/ and btf/ implement (V2) ----------------------------------------------------------
export interface CtxAndBtf {
  // Contexts of fixed layout, socket pointers, flow keys, tp buffers and packet rights are the core's: ctx-layout.ts, mem.ts.
  /**
   * Contexts that BTF describes (is_valid_access of TRACING, LSM, STRUCT_OPS, NETFILTER programs): what a load gives, or null when the
   * access is invalid (the core then logs "invalid bpf_context access"); further text is logged here.
   */
  btfCtxAccess(env: Env, off: number, size: number, access: number): CtxAccess | null;
  /** check_ptr_to_btf_access: checks and sets value_regno's register for reads. */
  checkPtrToBtfAccess(env: Env, regno: number, off: number, size: number, access: number, valueRegno: number): void;
  /** check_ptr_to_map_access for CONST_PTR_TO_MAP. */
  checkPtrToMapAccess(env: Env, regno: number, off: number, size: number, access: number, valueRegno: number): void;
  /** mark_btf_ld_reg */
  markBtfLdReg(env: Env, regno: number, regType: number, btf: Btf, btfId: number, flag: number): void;
  /** Sets map.record from its value type's BTF (btf_parse_fields with the types the map type may have), recursively for `inner`. */
  parseMapRecord(map: VMap, vmlinux: Btf | null): void;
  /** BTF type name for the log: btf_type_name(reg->btf, reg->btf_id). */
  btfTypeName(btf: Btf, id: number): string;
}

// ---- the core exports, for calls/ ctx/ btf/ -------------------------------------------------
/** Where each lives: `import { … } from "../<file>.ts"`. */
export interface Core {
  /** reg-arg.ts: check_reg_arg(env, regno, SRC_OP | DST_OP | DST_OP_NO_MARK): "R%d !read_ok\n". */
  checkRegArg(env: Env, regno: number, what: number): void;
  /** mem.ts: check_mem_access */
  checkMemAccess(
    env: Env,
    insnIdx: number,
    regno: number,
    off: number,
    bpfSize: number,
    access: number,
    valueRegno: number,
    strictOnce: boolean,
    isLdsx: boolean,
  ): void;
  /** mem-helper.ts: check_helper_mem_access; `meta` as in the kernel: raw_mode reads of uninitialised stack are allowed and regno noted. */
  checkHelperMemAccess(
    env: Env,
    regno: number,
    size: number,
    access: number,
    zeroSizeAllowed: boolean,
    meta: HelperMemMeta | null,
  ): void;
  /** mem.ts */
  checkPacketAccess(env: Env, regno: number, off: number, size: number, zeroSizeAllowed: boolean): void;
  checkMapAccess(
    env: Env,
    regno: number,
    off: number,
    size: number,
    zeroSizeAllowed: boolean,
    fromHelper: boolean,
  ): void;
  checkMemRegionAccess(
    env: Env,
    regno: number,
    off: number,
    size: number,
    memSize: number,
    zeroSizeAllowed: boolean,
  ): void;
  checkPtrOffReg(env: Env, reg: RegState, regno: number, fixedOffOk: boolean): void;
  /** precision.ts: mark_chain_precision */
  markChainPrecision(env: Env, regno: number): void;
  /** explore-state.ts: push_stack(env, insnIdx, prevInsnIdx, speculative): the new pending state (to be modified), rejects at limits. */
  pushStack(env: Env, insnIdx: number, prevInsnIdx: number, speculative: boolean): import("./state.ts").VerifierState;
  /** explore-state.ts: push_async_cb */
  pushAsyncState(
    env: Env,
    insnIdx: number,
    prevInsnIdx: number,
    frame: FuncState,
    isSleepable: boolean,
  ): import("./state.ts").VerifierState;
  /** frames.ts: setup_func_entry, push_callback_call (sync and async), clear_caller_saved_regs, invalidations */
  pushCallbackCall(env: Env, callInsnIdx: number, subprog: number, set: CalleeStateSetter): void;
  /** refs.ts: acquireReference(env, insnIdx): id; acquireLock/releaseLock/acquireIrq/releaseIrq; releaseReference(env, id) (invalidates registers), releaseReferenceNomark(state, id); checkReferenceLeak */
  acquireReference(env: Env, insnIdx: number): number;
  releaseReference(env: Env, refObjId: number): void;
  /** branch.ts: mark_ptr_not_null_reg, mark_ptr_or_null_regs, invalidate_non_owning_refs, clear_all_pkt_pointers in refs.ts */
  markPtrNotNullReg(env: Env, reg: RegState): void;
}

/** What check_helper_mem_access needs of bpf_call_arg_meta. */
export interface HelperMemMeta {
  rawMode: boolean;
  /** Set by check_stack_range_initialized when rawMode. */
  regno: number;
  accessSize: number;
}
