/** Arithmetic on pointers (adjust_ptr_min_max_vals), and its checks in unprivileged mode. */
import {
  BPF_ADD,
  BPF_AND,
  BPF_K,
  BPF_OR,
  BPF_SUB,
  BPF_X,
  BPF_XOR,
  BPF_ALU64,
  classOf,
  codeOf,
  sourceOf,
} from "../asm/opcode.ts";
import {
  BPF_MAX_VAR_OFF,
  CONST_PTR_TO_DYNPTR,
  CONST_PTR_TO_MAP,
  EACCES,
  EINVAL,
  MAX_BPF_STACK,
  PTR_MAYBE_NULL,
  PTR_TO_BTF_ID,
  PTR_TO_BUF,
  PTR_TO_CTX,
  PTR_TO_FLOW_KEYS,
  PTR_TO_FUNC,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_UNTRUSTED,
  PTR_TO_PACKET,
  PTR_TO_PACKET_META,
  PTR_TO_STACK,
  PTR_TO_TP_BUFFER,
  baseType,
} from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { VerifierReject } from "./errors.ts";
import { pushStack } from "./explore-state.ts";
import { copyRegMarks } from "./live-marks.ts";
import { dec64, tnumText } from "./log-num.ts";
import { regTypeStr } from "./log-state.ts";
import { checkMapAccess } from "./mem.ts";
import { s64 } from "./num.ts";
import { RegState, markRegUnknown } from "./reg-state.ts";
import { regBoundsSync, scalarMinMaxAdd, scalarMinMaxSub, tnumAddReg, tnumSubReg } from "./scalar/index.ts";

/** bpf_alu_string by code >> 4 */
export const ALU_STRING: readonly string[] = [
  "+=",
  "-=",
  "*=",
  "/=",
  "|=",
  "&=",
  "<<=",
  ">>=",
  "neg",
  "%=",
  "^=",
  "=",
  "s>>=",
  "endian",
];

const isPktPointer = (t: number): boolean => t === PTR_TO_PACKET || t === PTR_TO_PACKET_META;

/** check_reg_sane_offset: logs and returns false for offsets beyond 2^29. */
function saneOffset(env: Env, r: RegState, type: number): boolean {
  const isConst = (r.maskLo | r.maskHi) === 0;
  const name = regTypeStr(type);
  if (isConst) {
    const val = s64(r.valLo, r.valHi);
    if (val >= BPF_MAX_VAR_OFF || val <= -BPF_MAX_VAR_OFF) {
      env.log.write(`math between ${name} pointer and ${dec64(r.valLo, r.valHi)} is not allowed\n`);
      return false;
    }
  }
  if (r.off >= BPF_MAX_VAR_OFF || r.off <= -BPF_MAX_VAR_OFF) {
    env.log.write(`${name} pointer offset ${r.off} is not allowed\n`);
    return false;
  }
  const smin = s64(r.sminLo, r.sminHi);
  if (r.sminLo === 0 && r.sminHi === -0x8000_0000) {
    env.log.write(`math between ${name} pointer and register with unbounded min value is not allowed\n`);
    return false;
  }
  if (smin >= BPF_MAX_VAR_OFF || smin <= -BPF_MAX_VAR_OFF) {
    env.log.write(`value ${dec64(r.sminLo, r.sminHi)} makes ${name} pointer be out of bounds\n`);
    return false;
  }
  return true;
}

// Reasons of sanitize_ptr_alu.
const REASON_BOUNDS = 1;
const REASON_TYPE = 2;
const REASON_PATHS = 3;
const REASON_LIMIT = 4;
const REASON_STACK = 5;

const BPF_ALU_SANITIZE_SRC = 1;
const BPF_ALU_SANITIZE_DST = 2;
const BPF_ALU_NEG_VALUE = 4;
const BPF_ALU_NON_POINTER = 8;
const BPF_ALU_IMMEDIATE = 16;

interface SanitizeInfo {
  aluState: number;
  aluLimit: number;
  maskToLeft: boolean;
}

/** The limit for masking, or -reason. */
function ptrLimit(r: RegState, maskToLeft: boolean): number {
  let max: number;
  let limit: number;
  if (r.type === PTR_TO_STACK) {
    max = MAX_BPF_STACK + (maskToLeft ? 1 : 0);
    limit = -(r.valLo + r.off) >>> 0;
  } else if (r.type === PTR_TO_MAP_VALUE) {
    max = r.map!.valueSize;
    limit = ((maskToLeft ? r.sminLo : r.umaxLo) + r.off) >>> 0;
  } else return -REASON_TYPE;
  return limit >= max ? -REASON_LIMIT : limit;
}

function updateAluState(at: { aluState: number; aluLimit: number }, state: number, limit: number): number {
  if (at.aluState !== 0 && (at.aluState !== state || at.aluLimit !== limit)) return REASON_PATHS;
  at.aluState = state;
  at.aluLimit = limit;
  return 0;
}

/** sanitize_val_alu: false when the insn is reached with another way to sanitise it. */
export function sanitizeValAlu(env: Env, insnIdx: number): boolean {
  if (env.bypassSpecV1 || sourceOf(env.code[insnIdx]!) === BPF_K) return true;
  return updateAluState(env.aux[insnIdx]!, BPF_ALU_NON_POINTER, 0) === 0;
}

/** sanitize_speculative_path: also explore `nextIdx` with the insn's operands unknown. */
export function sanitizeSpeculativePath(env: Env, insnIdx: number, nextIdx: number, blurOperands: boolean): void {
  const branch = pushStack(env, nextIdx, insnIdx, true);
  if (!blurOperands) return;
  const regs = branch.frames[branch.curframe]!.regs;
  markRegUnknown(regs[env.dst[insnIdx]!]!, env.bpfCapable);
  if (sourceOf(env.code[insnIdx]!) === BPF_X) markRegUnknown(regs[env.src[insnIdx]!]!, env.bpfCapable);
}

function sanitizePtrAlu(
  env: Env,
  insnIdx: number,
  ptr: RegState,
  off: RegState,
  dst: RegState,
  info: SanitizeInfo,
  commit: boolean,
): number {
  if (env.bypassSpecV1 || sourceOf(env.code[insnIdx]!) === BPF_K) return 0;
  const offIsImm = (off.maskLo | off.maskHi) === 0;
  const offIsNeg = off.sminHi < 0;
  const ptrIsDst = ptr === dst;
  const op = codeOf(env.code[insnIdx]!);
  if (!env.state.speculative) {
    if (!commit) {
      if (!offIsImm && off.sminHi < 0 !== off.smaxHi < 0) return REASON_BOUNDS;
      info.maskToLeft = (op === BPF_ADD && offIsNeg) || (op === BPF_SUB && !offIsNeg);
    }
    let limit = ptrLimit(ptr, info.maskToLeft);
    if (limit < 0) return -limit;
    let state: number;
    if (commit) {
      state = info.aluState;
      limit = Math.abs((info.aluLimit - limit) | 0);
    } else {
      state =
        (offIsNeg ? BPF_ALU_NEG_VALUE : 0) |
        (offIsImm ? BPF_ALU_IMMEDIATE : 0) |
        (ptrIsDst ? BPF_ALU_SANITIZE_SRC : BPF_ALU_SANITIZE_DST);
      if (!offIsImm) env.exploreAluLimits = true;
    }
    const err = updateAluState(commit ? env.aux[insnIdx]! : info, state, limit);
    if (err !== 0) return err;
  }
  if (commit || offIsImm) return 0;
  // The zero-truncated pointer is explored too: dst temporarily holds the pointer.
  const tmp = ptrIsDst ? null : dst.clone();
  if (!ptrIsDst) dst.copyFrom(ptr);
  try {
    pushStack(env, insnIdx + 1, insnIdx, true);
  } catch (e) {
    if (e instanceof VerifierReject) return REASON_STACK;
    throw e;
  }
  if (tmp !== null) dst.copyFrom(tmp);
  return 0;
}

function sanitizeErr(env: Env, insnIdx: number, reason: number, off: RegState, dst: RegState): never {
  const err = "pointer arithmetic with it prohibited for !root";
  const op = codeOf(env.code[insnIdx]!) === BPF_ADD ? "add" : "sub";
  const d = env.dst[insnIdx]!;
  const s = env.src[insnIdx]!;
  switch (reason) {
    case REASON_BOUNDS:
      return reject(env, EACCES, `R${off === dst ? d : s} has unknown scalar with mixed signed bounds, ${err}\n`);
    case REASON_TYPE:
      return reject(env, EACCES, `R${off === dst ? s : d} has pointer with unsupported alu operation, ${err}\n`);
    case REASON_PATHS:
      return reject(env, EACCES, `R${d} tried to ${op} from different maps, paths or scalars, ${err}\n`);
    case REASON_LIMIT:
      return reject(env, EACCES, `R${d} tried to ${op} beyond pointer bounds, ${err}\n`);
    default:
      return reject(env, EACCES, `R${d} could not be pushed for speculative verification, ${err}\n`);
  }
}

function sanitizeCheckBounds(env: Env, dstRegno: number, dst: RegState): void {
  if (env.bypassSpecV1) return;
  if (dst.type === PTR_TO_STACK) {
    const off = (dst.off + dst.valLo) | 0;
    if ((dst.maskLo | dst.maskHi) !== 0) {
      const tn = tnumText(dst.valLo, dst.valHi, dst.maskLo, dst.maskHi);
      reject(env, EACCES, `R${dstRegno} variable stack access prohibited for !root, var_off=${tn} off=${off}\n`);
    }
    if (off >= 0 || off < -MAX_BPF_STACK) {
      reject(
        env,
        EACCES,
        `R${dstRegno} stack pointer arithmetic goes out of range, prohibited for !root; off=${off}\n`,
      );
    }
  } else if (dst.type === PTR_TO_MAP_VALUE) {
    try {
      checkMapAccess(env, dstRegno, dst.off, 1, false, true);
    } catch (e) {
      if (e instanceof VerifierReject) {
        reject(env, EACCES, `R${dstRegno} pointer arithmetic of map value goes out of range, prohibited for !root\n`);
      }
      throw e;
    }
  }
}

const ptrCopy = new RegState();

/** Is arithmetic on this pointer type allowed at all? */
function typeAllowed(t: number, off: RegState, known: boolean, op: number): boolean {
  switch (baseType(t)) {
    case PTR_TO_CTX:
    case PTR_TO_MAP_VALUE:
    case PTR_TO_MAP_KEY:
    case PTR_TO_STACK:
    case PTR_TO_PACKET_META:
    case PTR_TO_PACKET:
    case PTR_TO_TP_BUFFER:
    case PTR_TO_BTF_ID:
    case PTR_TO_MEM:
    case PTR_TO_BUF:
    case PTR_TO_FUNC:
    case CONST_PTR_TO_DYNPTR:
      return true;
    case PTR_TO_FLOW_KEYS:
      if (known) return true;
      return false;
    case CONST_PTR_TO_MAP:
      return known && (off.sminLo | off.sminHi) === 0 && op === BPF_ADD;
    default:
      return false;
  }
}

/**
 * adjust_ptr_min_max_vals: dst = ptr op off. `ptr` is dst's register or (scalar += pointer) the source's;
 * `off` is a scalar that is not dst's register.
 */
export function adjustPtrMinMaxVals(env: Env, insnIdx: number, ptrReg: RegState, off: RegState): void {
  const code = env.code[insnIdx]!;
  const op = codeOf(code);
  const dstRegno = env.dst[insnIdx]!;
  const dst = env.regs[dstRegno]!;
  const known = (off.maskLo | off.maskHi) === 0;
  if (
    (known &&
      (off.sminLo !== off.smaxLo ||
        off.sminHi !== off.smaxHi ||
        off.uminLo !== off.umaxLo ||
        off.uminHi !== off.umaxHi)) ||
    off.sminHi > off.smaxHi ||
    (off.sminHi === off.smaxHi && off.sminLo >>> 0 > off.smaxLo >>> 0) ||
    off.uminHi >>> 0 > off.umaxHi >>> 0 ||
    (off.uminHi === off.umaxHi && off.uminLo >>> 0 > off.umaxLo >>> 0)
  ) {
    markRegUnknown(dst, env.bpfCapable);
    return;
  }
  if (classOf(code) !== BPF_ALU64) {
    if (op === BPF_SUB && env.allowPtrLeaks) {
      markRegUnknown(dst, env.bpfCapable);
      return;
    }
    reject(env, EACCES, `R${dstRegno} 32-bit pointer arithmetic prohibited\n`);
  }
  if (ptrReg.type & PTR_MAYBE_NULL) {
    reject(
      env,
      EACCES,
      `R${dstRegno} pointer arithmetic on ${regTypeStr(ptrReg.type)} prohibited, null-check it first\n`,
    );
  }
  // Untrusted memory is read by probing loads: its offsets do not matter.
  if (baseType(ptrReg.type) === PTR_TO_MEM && (ptrReg.type & PTR_UNTRUSTED) !== 0) return;
  if (!typeAllowed(ptrReg.type, off, known, op)) {
    reject(env, EACCES, `R${dstRegno} pointer arithmetic on ${regTypeStr(ptrReg.type)} prohibited\n`);
  }
  const ptrIsDst = ptrReg === dst;
  if (!ptrIsDst) {
    dst.copyFrom(ptrReg);
    copyRegMarks(env.frame, dstRegno, env.frame, env.src[insnIdx]!);
  }
  if (!saneOffset(env, off, ptrReg.type) || !saneOffset(env, ptrReg, ptrReg.type)) throw new VerifierReject(EINVAL);
  const info: SanitizeInfo = { aluState: 0, aluLimit: 0, maskToLeft: false };
  const sanitize = op === BPF_ADD || op === BPF_SUB;
  if (sanitize) {
    const err = sanitizePtrAlu(env, insnIdx, ptrReg, off, dst, info, false);
    if (err !== 0) sanitizeErr(env, insnIdx, err, off, dst);
  }
  const ptr = ptrCopy;
  ptr.copyFrom(ptrReg);
  dst.s32Min = -0x8000_0000;
  dst.s32Max = 0x7fff_ffff;
  dst.u32Min = 0;
  dst.u32Max = -1;
  const delta = s64(off.sminLo, off.sminHi);
  switch (op) {
    case BPF_ADD: {
      const sum = ptr.off + delta;
      if (known && sum === (sum | 0)) {
        dst.off = sum;
        break;
      }
      scalarMinMaxAdd(dst, off);
      tnumAddReg(dst, off);
      dst.off = ptr.off;
      if (isPktPointer(ptr.type)) {
        dst.id = env.newId();
        dst.range = 0;
      }
      break;
    }
    case BPF_SUB: {
      if (!ptrIsDst) reject(env, EACCES, `R${dstRegno} tried to subtract pointer from scalar\n`);
      if (ptr.type === PTR_TO_STACK) reject(env, EACCES, `R${dstRegno} subtraction from stack pointer prohibited\n`);
      const diff = ptr.off - delta;
      if (known && diff === (diff | 0)) {
        dst.off = diff;
        break;
      }
      scalarMinMaxSub(dst, off);
      tnumSubReg(dst, off);
      dst.off = ptr.off;
      if (isPktPointer(ptr.type)) {
        dst.id = env.newId();
        if (delta < 0) dst.range = 0;
      }
      break;
    }
    case BPF_AND:
    case BPF_OR:
    case BPF_XOR:
      reject(env, EACCES, `R${dstRegno} bitwise operator ${ALU_STRING[op >> 4]!} on pointer prohibited\n`);
      break;
    default:
      reject(env, EACCES, `R${dstRegno} pointer arithmetic with ${ALU_STRING[op >> 4]!} operator prohibited\n`);
  }
  if (!saneOffset(env, dst, ptr.type)) throw new VerifierReject(EINVAL);
  regBoundsSync(dst);
  sanitizeCheckBounds(env, dstRegno, dst);
  if (sanitize) {
    const err = sanitizePtrAlu(env, insnIdx, dst, off, dst, info, true);
    if (err !== 0) sanitizeErr(env, insnIdx, err, off, dst);
  }
}
