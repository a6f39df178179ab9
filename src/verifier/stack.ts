/** Loads and stores of the stack: spills, fills, zero and misc bytes (check_stack_read, check_stack_write). */
import { BPF_MEM, BPF_ST, classOf, modeOf } from "../asm/opcode.ts";
import {
  BPF_ADD_CONST,
  BPF_READ,
  BPF_WRITE,
  BPF_MAX_VAR_OFF,
  CONST_PTR_TO_MAP,
  EACCES,
  EFAULT,
  EINVAL,
  MAX_BPF_STACK,
  NOT_INIT,
  PTR_TO_ARENA,
  PTR_TO_BTF_ID,
  PTR_TO_BUF,
  PTR_TO_CTX,
  PTR_TO_FLOW_KEYS,
  PTR_TO_FUNC,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_PACKET,
  PTR_TO_PACKET_END,
  PTR_TO_PACKET_META,
  PTR_TO_SOCKET,
  PTR_TO_SOCK_COMMON,
  PTR_TO_STACK,
  PTR_TO_TCP_SOCK,
  PTR_TO_XDP_SOCK,
  SCALAR_VALUE,
  STACK_DYNPTR,
  STACK_INVALID,
  STACK_MISC,
  STACK_SPILL,
  STACK_ZERO,
  baseType,
} from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { pushJmpHistory, stackAccessFlags } from "./history.ts";
import { tnumText } from "./log-num.ts";
import { printLineInfo } from "./log-state.ts";
import { fls64, s64 } from "./num.ts";
import { markChainPrecision } from "./precision.ts";
import { isPointerValue } from "./reg-arg.ts";
import { RegState, markRegConstZero, markRegKnownS32, markRegUnknown } from "./reg-state.ts";
import { type FuncState, type StackSlot, isSpilledSlot, slotByte, withSlotByte } from "./state.ts";
import type { HelperMemMeta } from "./types.ts";

const SPILLABLE = new Set([
  PTR_TO_MAP_VALUE,
  PTR_TO_STACK,
  PTR_TO_CTX,
  PTR_TO_PACKET,
  PTR_TO_PACKET_META,
  PTR_TO_PACKET_END,
  PTR_TO_FLOW_KEYS,
  CONST_PTR_TO_MAP,
  PTR_TO_SOCKET,
  PTR_TO_SOCK_COMMON,
  PTR_TO_TCP_SOCK,
  PTR_TO_XDP_SOCK,
  PTR_TO_BTF_ID,
  PTR_TO_BUF,
  PTR_TO_MEM,
  PTR_TO_FUNC,
  PTR_TO_MAP_KEY,
  PTR_TO_ARENA,
]);

const EMPTY = new RegState();

/** Frame that a PTR_TO_STACK register points into (func()). */
export const frameOf = (env: Env, r: RegState): FuncState => env.state.frames[r.frameno]!;
export const isSpilledScalar = (s: StackSlot): boolean => isSpilledSlot(s) && s.reg.type === SCALAR_VALUE;
/** All eight bytes spilled, and a scalar. */
export const isSpilledScalar64 = (s: StackSlot): boolean =>
  (s.types & 0xf) === STACK_SPILL && s.reg.type === SCALAR_VALUE;

/** The byte becomes MISC unless it is known zero (`keepZero`) or never written. */
function miscByte(types: number, i: number, keepZero: boolean): number {
  const t = slotByte(types, i);
  if ((t === STACK_ZERO && keepZero) || t === STACK_INVALID) return types;
  return withSlotByte(types, i, STACK_MISC);
}

/** scrub_spilled_slot for all bytes: what was anything becomes MISC. */
export function scrubSlot(types: number): number {
  let out = types;
  for (let i = 0; i < 8; i++) if (slotByte(out, i) !== STACK_INVALID) out = withSlotByte(out, i, STACK_MISC);
  return out;
}

/** scrub_special_slot: data written over a spilled register, a dynptr or an iterator destroys it. */
function scrubSpecial(env: Env, s: StackSlot): void {
  s.reg.type = NOT_INIT;
  const top = slotByte(s.types, 7);
  if (!env.has.dynptrSlots && top !== STACK_SPILL) return;
  if (top !== STACK_INVALID && top !== STACK_MISC && top !== STACK_ZERO) s.types = scrubSlot(s.types);
}

/** grow_stack_state: the frame tracks at least `size` bytes; the subprogram's depth follows. */
export function growStackState(env: Env, f: FuncState, size: number): void {
  const n = (size + 7) >> 3;
  if (f.stack.length >= n) return;
  f.growStack(n - 1);
  const sub = env.subprogs[f.subprogno]!;
  if (sub.stackDepth < n * 8) sub.stackDepth = n * 8;
}

/** A scalar about to be copied gets an id, so that later refinements reach both (assign_scalar_id_before_mov). */
export function assignScalarIdBeforeMov(env: Env, r: RegState): void {
  if (r.type !== SCALAR_VALUE) return;
  if ((r.id & BPF_ADD_CONST) !== 0) {
    r.id = 0;
    r.off = 0;
  }
  if (r.id === 0 && ((r.maskLo | r.maskHi) !== 0 || !env.has.scalarIds)) r.id = env.newId();
}

function saveRegister(env: Env, f: FuncState, spi: number, r: RegState, size: number): void {
  const s = f.slotForWrite(spi);
  s.reg.copyFrom(r);
  let types = s.types;
  for (let i = 7; i > 7 - size; i--) types = withSlotByte(types, i, STACK_SPILL);
  for (let i = 7 - size; i >= 0; i--) types = miscByte(types, i, env.has.scalarSpills);
  s.types = types;
}

/** check_fastcall_stack_contract: another use of the area that bpf_fastcall spills use turns that optimisation off. */
function checkFastcallContract(env: Env, f: FuncState, insnIdx: number, off: number): void {
  const sub = env.subprogs[f.subprogno]!;
  if (sub.fastcallStackOff <= off || env.aux[insnIdx]!.fastcallPattern !== 0) return;
  sub.fastcallStackOff = -0x8000;
  const end = env.subprogs[f.subprogno + 1]?.start ?? env.len;
  for (let i = sub.start; i < end; i++) {
    env.aux[i]!.fastcallSpillsNum = 0;
    env.aux[i]!.fastcallPattern = 0;
  }
}

const isStMem = (env: Env, i: number): boolean => classOf(env.code[i]!) === BPF_ST && modeOf(env.code[i]!) === BPF_MEM;

function writeFixed(env: Env, f: FuncState, off: number, size: number, valueRegno: number, insnIdx: number): void {
  const slot = -off - 1;
  const spi = slot >> 3;
  let flags = stackAccessFlags(f.frameno, spi);
  const cur = env.frame;
  const r = valueRegno >= 0 ? cur.regs[valueRegno]! : null;
  const old = f.stack[spi]!;
  if (!env.allowPtrLeaks && isSpilledSlot(old) && old.reg.type !== SCALAR_VALUE && size !== 8) {
    reject(env, EACCES, "attempt to corrupt spilled pointer on stack\n");
  }
  if (!env.bypassSpecV4) {
    let sanitize = r !== null && SPILLABLE.has(baseType(r.type));
    for (let i = 0; i < size && !sanitize; i++) {
      const t = slotByte(old.types, i);
      sanitize = t !== STACK_MISC && t !== STACK_ZERO;
    }
    if (sanitize) env.aux[insnIdx]!.nospecResult = true;
  }
  if (env.has.dynptrSlots) env.seams.destroyIfDynptrStackSlot(env, f, spi);
  if ((off & 7) === 0 && size === 8) env.liveStack.markWrite(f.frameno, spi);
  checkFastcallContract(env, f, insnIdx, off);
  env.scratchSlot(spi);
  const spillsScalar = env.has.scalarSpills || (r !== null && spilledBefore(env, r, size));
  if (r !== null && (off & 7) === 0 && r.type === SCALAR_VALUE && env.bpfCapable && spillsScalar) {
    const fits = fls64(r.umaxLo, r.umaxHi) <= 8 * size;
    // What precision cannot follow back to r10 has to be precise already.
    if (!env.has.stackHistory && env.dst[insnIdx] !== 10) markChainPrecision(env, valueRegno);
    if (fits && env.has.scalarIds) assignScalarIdBeforeMov(env, r);
    saveRegister(env, f, spi, r, size);
    if (!fits) f.slotForWrite(spi).reg.id = 0;
  } else if (
    r === null &&
    (off & 7) === 0 &&
    isStMem(env, insnIdx) &&
    env.bpfCapable &&
    (env.has.scalarSpills || env.imm[insnIdx] !== 0)
  ) {
    const tmp = env.fakeReg[0];
    tmp.copyFrom(EMPTY);
    markRegKnownS32(tmp, env.imm[insnIdx]!);
    tmp.type = SCALAR_VALUE;
    saveRegister(env, f, spi, tmp, size);
  } else if (r !== null && SPILLABLE.has(baseType(r.type))) {
    if (size !== 8) {
      printLineInfo(env, insnIdx, "; ");
      reject(env, EACCES, "invalid size of register spill\n");
    }
    if (f !== cur && r.type === PTR_TO_STACK) {
      reject(env, EINVAL, "cannot spill pointers to stack into stack frame of the caller\n");
    }
    saveRegister(env, f, spi, r, size);
  } else {
    const s = f.slotForWrite(spi);
    scrubSpecial(env, s);
    let type = STACK_MISC;
    if ((r !== null && r.isNull()) || (r === null && isStMem(env, insnIdx) && env.imm[insnIdx] === 0)) {
      if (valueRegno >= 0) markChainPrecision(env, valueRegno);
      type = STACK_ZERO;
    }
    for (let i = 0; i < size; i++) s.types = withSlotByte(s.types, (slot - i) & 7, type);
    flags = 0;
  }
  if (flags !== 0 && env.has.stackHistory) pushJmpHistory(env, env.state, flags, null);
}

/** Is a scalar spilled as such, before 6.8? */
function spilledBefore(env: Env, r: RegState, size: number): boolean {
  if (r.isNull() || (size !== 8 && !env.has.narrowSpills)) return false;
  return env.has.boundedSpills ? isBounded(r) : (r.maskLo | r.maskHi) === 0;
}

/** Something is known of the number (register_is_bounded). */
const isBounded = (r: RegState): boolean =>
  (r.maskLo & r.maskHi) !== -1 ||
  (r.sminLo | (r.sminHi ^ -0x8000_0000)) !== 0 ||
  ((r.smaxLo ^ -1) | (r.smaxHi ^ 0x7fff_ffff)) !== 0 ||
  (r.uminLo | r.uminHi) !== 0 ||
  (r.umaxLo & r.umaxHi) !== -1 ||
  r.s32Min !== -0x8000_0000 ||
  r.s32Max !== 0x7fff_ffff ||
  r.u32Min !== 0 ||
  r.u32Max !== -1;

function writeVarOff(
  env: Env,
  f: FuncState,
  ptrRegno: number,
  off: number,
  size: number,
  valueRegno: number,
  insnIdx: number,
): void {
  const ptr = env.regs[ptrRegno]!;
  const minOff = (ptr.sminLo + off) | 0;
  const maxOff = (ptr.smaxLo + off + size) | 0;
  const value = valueRegno >= 0 ? env.regs[valueRegno]! : null;
  const writingZero =
    (value !== null && value.isNull()) ||
    (value === null && env.has.scalarSpills && isStMem(env, insnIdx) && env.imm[insnIdx] === 0);
  let zeroUsed = false;
  for (let i = minOff; i < maxOff && env.has.dynptrSlots; i++)
    env.seams.destroyIfDynptrStackSlot(env, f, (-i - 1) >> 3);
  checkFastcallContract(env, f, insnIdx, minOff);
  for (let i = minOff; i < maxOff; i++) {
    const slot = -i - 1;
    const spi = slot >> 3;
    env.scratchSlot(spi);
    const old = f.stack[spi]!;
    const t = slotByte(old.types, slot & 7);
    if (!env.allowPtrLeaks && t !== STACK_MISC && t !== STACK_ZERO) {
      reject(env, EINVAL, `spilled ptr in range of var-offset stack write; insn ${insnIdx}, ptr off: ${i}`);
    }
    if (env.has.scalarSpills && writingZero && t === STACK_SPILL && isSpilledScalar(old) && old.reg.isNull()) {
      zeroUsed = true;
      continue;
    }
    const s = f.slotForWrite(spi);
    if (env.has.dynptrSlots) scrubSpecial(env, s);
    else s.reg.type = NOT_INIT;
    let type = STACK_MISC;
    if (writingZero && slotByte(s.types, slot & 7) === STACK_ZERO) {
      type = STACK_ZERO;
      zeroUsed = true;
    }
    if (t === STACK_INVALID && !env.allowUninitStack) {
      reject(env, EINVAL, `uninit stack in range of var-offset write prohibited for !root; insn ${insnIdx}, off: ${i}`);
    }
    s.types = withSlotByte(s.types, slot & 7, type);
  }
  if (zeroUsed && valueRegno >= 0) markChainPrecision(env, valueRegno);
}

/** mark_reg_stack_read: zero when all bytes are, else unknown. */
function markRegStackRead(env: Env, f: FuncState, minOff: number, maxOff: number, dstRegno: number): void {
  let i = minOff;
  for (; i < maxOff; i++) {
    const slot = -i - 1;
    env.scratchSlot(slot >> 3);
    if (slotByte(f.stack[slot >> 3]!.types, slot & 7) !== STACK_ZERO) break;
  }
  const dst = env.regs[dstRegno]!;
  if (i === maxOff) markRegConstZero(dst, !env.bpfCapable || !env.has.scalarSpills);
  else markRegUnknown(dst, env.bpfCapable);
}

function readFixed(env: Env, f: FuncState, off: number, size: number, dstRegno: number): void {
  const slot = -off - 1;
  const spi = slot >> 3;
  let flags = stackAccessFlags(f.frameno, spi);
  const s = f.stack[spi]!;
  env.scratchSlot(spi);
  checkFastcallContract(env, env.frame, env.insnIdx, off);
  env.liveStack.markRead(f.frameno, env.insnIdx, spi);
  const badByte = (i: number): never => reject(env, EACCES, `invalid read from stack off ${off}+${i} size ${size}\n`);
  if (isSpilledSlot(s)) {
    const r = s.reg;
    let spillSize = 1;
    for (let i = 7; i > 0 && slotByte(s.types, i - 1) === STACK_SPILL; i--) spillSize++;
    if (size !== 8 || spillSize !== 8) {
      if (r.type !== SCALAR_VALUE) {
        printLineInfo(env, env.insnIdx, "; ");
        reject(env, EACCES, "invalid size of register fill\n");
      }
      if (dstRegno < 0) return;
      const dst = env.regs[dstRegno]!;
      if ((env.has.scalarSpills ? size <= spillSize : size === spillSize) && (off & 7) === 0) {
        dst.copyFrom(r);
        if (fls64(r.umaxLo, r.umaxHi) > size * 8) {
          dst.id = 0;
          dst.off = 0;
        }
      } else {
        let spills = 0;
        let zeros = 0;
        for (let i = 0; i < size; i++) {
          const t = slotByte(s.types, (slot - i) & 7);
          if (t === STACK_SPILL) spills++;
          else if (t === STACK_ZERO) zeros++;
          else if (t !== STACK_MISC && !(t === STACK_INVALID && env.allowUninitStack)) badByte(i);
        }
        if (!env.has.scalarSpills) markRegUnknown(dst, env.bpfCapable);
        else if (spills === size && r.isNull()) markRegConstZero(dst, !env.bpfCapable);
        else {
          if (zeros === size) markRegConstZero(dst, !env.bpfCapable);
          else markRegUnknown(dst, env.bpfCapable);
          flags = 0;
        }
      }
    } else if (dstRegno >= 0) env.regs[dstRegno]!.copyFrom(r);
    else if (isPointerValue(env, r)) reject(env, EACCES, `leaking pointer from stack off ${off}\n`);
  } else {
    for (let i = 0; i < size; i++) {
      const t = slotByte(s.types, (slot - i) & 7);
      if (t !== STACK_MISC && t !== STACK_ZERO && !(t === STACK_INVALID && env.allowUninitStack)) badByte(i);
    }
    if (dstRegno >= 0) markRegStackRead(env, f, off, off + size, dstRegno);
    flags = 0;
  }
  if (flags !== 0 && env.has.stackHistory) pushJmpHistory(env, env.state, flags, null);
}

/** check_stack_access_within_bounds: the access fits the 512 bytes; the frame grows to hold it. */
export function checkStackBounds(
  env: Env,
  regno: number,
  off: number,
  size: number,
  access: number,
  indirect = false,
): void {
  const r = env.regs[regno]!;
  const f = frameOf(env, r);
  const extra = indirect ? " indirect access to" : access === BPF_READ ? " read from" : " write to";
  const isConst = (r.maskLo | r.maskHi) === 0;
  let minOff: number;
  let maxOff: number;
  if (isConst) {
    minOff = s64(r.valLo, r.valHi) + off;
    maxOff = minOff + size;
  } else {
    const smin = s64(r.sminLo, r.sminHi);
    const smax = s64(r.smaxLo, r.smaxHi);
    if (smax >= BPF_MAX_VAR_OFF || smin <= -BPF_MAX_VAR_OFF) {
      reject(env, EACCES, `invalid unbounded variable-offset${extra} stack R${regno}\n`);
    }
    minOff = smin + off;
    maxOff = smax + off + size;
  }
  const minValid = access === BPF_WRITE || env.allowUninitStack ? -MAX_BPF_STACK : -f.allocatedStack;
  let errno = minOff < minValid || minOff > -1 ? EACCES : 0;
  if (errno === 0 && maxOff > 0) errno = EINVAL;
  if (errno === 0 && size < 0) errno = EFAULT;
  if (errno !== 0) {
    if (isConst) reject(env, errno, `invalid${extra} stack R${regno} off=${off} size=${size}\n`);
    const tn = tnumText(r.valLo, r.valHi, r.maskLo, r.maskHi);
    const fixed = env.has.stateFormat ? ` off=${off}` : "";
    reject(env, errno, `invalid variable-offset${extra} stack R${regno} var_off=${tn}${fixed} size=${size}\n`);
  }
  growStackState(env, f, -minOff);
}

/**
 * check_stack_range_initialized: `size` bytes at register `regno` + off. With `meta.rawMode` and a fixed
 * offset uninitialised bytes are fine, and meta learns register and size; a write turns what it may reach into MISC.
 */
export function checkStackRangeInitialized(
  env: Env,
  regno: number,
  off: number,
  size: number,
  zeroSizeAllowed: boolean,
  accessIn: number,
  metaIn: HelperMemMeta | null,
  byHelper: boolean,
): void {
  let meta = metaIn;
  // Before 6.14 nothing told what a helper does with the memory: it could write anything.
  const indirect = byHelper && !env.has.helperAccessTypes;
  const access = indirect ? BPF_WRITE : accessIn;
  const word = indirect ? " indirect" : "";
  const r = env.regs[regno]!;
  const f = frameOf(env, r);
  if (size === 0 && !zeroSizeAllowed) reject(env, EACCES, "invalid zero-sized read\n");
  const clobber = access === BPF_WRITE;
  checkStackBounds(env, regno, off, size, access, indirect);
  const isConst = (r.maskLo | r.maskHi) === 0;
  let minOff: number;
  let maxOff: number;
  if (isConst) {
    minOff = r.valLo + off;
    maxOff = minOff;
  } else {
    if (!env.bypassSpecV1) {
      const tn = tnumText(r.valLo, r.valHi, r.maskLo, r.maskHi);
      reject(env, EACCES, `R${regno}${word} variable offset stack access prohibited for !root, var_off=${tn}\n`);
    }
    if (meta !== null && meta.rawMode) meta = null;
    minOff = r.sminLo + off;
    maxOff = r.smaxLo + off;
  }
  if (meta !== null && meta.rawMode) {
    for (let i = minOff; i < maxOff + size; i++) {
      const slot = -i - 1;
      if (f.allocatedStack <= slot) continue;
      if (slotByte(f.stack[slot >> 3]!.types, slot & 7) === STACK_DYNPTR) {
        reject(env, EACCES, `potential write to dynptr at off=${i} disallowed\n`);
      }
    }
    meta.accessSize = size;
    meta.regno = regno;
    return;
  }
  for (let i = minOff; i < maxOff + size; i++) {
    const slot = -i - 1;
    const spi = slot >> 3;
    if (f.allocatedStack <= slot) reject(env, EFAULT, "allocated_stack too small\n");
    const s = f.stack[spi]!;
    const t = slotByte(s.types, slot & 7);
    if (t === STACK_MISC) {
      // Nothing to change.
    } else if (t === STACK_ZERO || (t === STACK_INVALID && env.allowUninitStack)) {
      if (clobber) {
        const w = f.slotForWrite(spi);
        w.types = withSlotByte(w.types, slot & 7, STACK_MISC);
      }
    } else if (isSpilledSlot(s) && (s.reg.type === SCALAR_VALUE || env.allowPtrLeaks)) {
      if (clobber) {
        const w = f.slotForWrite(spi);
        markRegUnknown(w.reg, env.bpfCapable);
        w.types = scrubSlot(w.types);
      }
    } else if (isConst) {
      reject(env, EACCES, `invalid${word} read from stack R${regno} off ${minOff}+${i - minOff} size ${size}\n`);
    } else {
      const tn = tnumText(r.valLo, r.valHi, r.maskLo, r.maskHi);
      reject(env, EACCES, `invalid${word} read from stack R${regno} var_off ${tn}+${i - minOff} size ${size}\n`);
    }
    env.liveStack.markRead(r.frameno, env.insnIdx, spi);
  }
}

/** check_stack_read; `off` includes the register's fixed offset. */
export function checkStackRead(env: Env, ptrRegno: number, off: number, size: number, dstRegno: number): void {
  const r = env.regs[ptrRegno]!;
  const f = frameOf(env, r);
  const varOff = (r.maskLo | r.maskHi) !== 0;
  if (dstRegno < 0 && varOff) {
    const tn = tnumText(r.valLo, r.valHi, r.maskLo, r.maskHi);
    reject(
      env,
      EACCES,
      `variable offset stack pointer cannot be passed into helper function; var_off=${tn} off=${off} size=${size}\n`,
    );
  }
  if (!varOff) {
    readFixed(env, f, off + r.valLo, size, dstRegno);
    return;
  }
  checkStackRangeInitialized(env, ptrRegno, off, size, false, BPF_READ, null, false);
  const minOff = r.sminLo + off;
  const maxOff = r.smaxLo + off;
  markRegStackRead(env, f, minOff, maxOff + size, dstRegno);
  checkFastcallContract(env, f, env.insnIdx, minOff);
}

/** check_stack_write; `off` includes the register's fixed offset. */
export function checkStackWrite(
  env: Env,
  ptrRegno: number,
  off: number,
  size: number,
  valueRegno: number,
  insnIdx: number,
): void {
  const r = env.regs[ptrRegno]!;
  const f = frameOf(env, r);
  if ((r.maskLo | r.maskHi) === 0) writeFixed(env, f, off + r.valLo, size, valueRegno, insnIdx);
  else writeVarOff(env, f, ptrRegno, off, size, valueRegno, insnIdx);
}
