/** Memory handed to helpers and kfuncs (check_helper_mem_access, check_stack_range_initialized). */
import {
  BPF_READ,
  BPF_WRITE,
  EACCES,
  EFAULT,
  MEM_RDONLY,
  PTR_TO_BTF_ID,
  PTR_TO_BUF,
  PTR_TO_CTX,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_PACKET,
  PTR_TO_PACKET_META,
  PTR_TO_STACK,
  SCALAR_VALUE,
  STACK_DYNPTR,
  STACK_INVALID,
  STACK_MISC,
  STACK_ZERO,
  baseType,
} from "./constants.ts";
import { BPF_PROG_TYPE } from "../uapi/prog-types.ts";
import { checkPtrToBtfAccess } from "./ctx/index.ts";
import { type Env, reject } from "./env.ts";
import { VerifierReject } from "./errors.ts";
import { tnumText } from "./log-num.ts";
import { regTypeStr } from "./log-state.ts";
import {
  checkBufferAccess,
  checkMapAccess,
  checkMapAccessType,
  checkMemAccess,
  checkMemRegionAccess,
  checkPacketAccess,
} from "./mem.ts";
import { markRegUnknown } from "./reg-state.ts";
import { checkStackBounds, frameOf, scrubSlot } from "./stack.ts";
import { isSpilledSlot, slotByte, withSlotByte } from "./state.ts";
import type { HelperMemMeta } from "./types.ts";

const BPF_B = 0x10;

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
  access: number,
  metaIn: HelperMemMeta | null,
): void {
  let meta = metaIn;
  const r = env.regs[regno]!;
  const f = frameOf(env, r);
  if (size === 0 && !zeroSizeAllowed) reject(env, EACCES, "invalid zero-sized read\n");
  const clobber = access === BPF_WRITE;
  checkStackBounds(env, regno, off, size, access);
  const isConst = (r.maskLo | r.maskHi) === 0;
  let minOff: number;
  let maxOff: number;
  if (isConst) {
    minOff = r.valLo + off;
    maxOff = minOff;
  } else {
    if (!env.bypassSpecV1) {
      const tn = tnumText(r.valLo, r.valHi, r.maskLo, r.maskHi);
      reject(env, EACCES, `R${regno} variable offset stack access prohibited for !root, var_off=${tn}\n`);
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
      reject(env, EACCES, `invalid read from stack R${regno} off ${minOff}+${i - minOff} size ${size}\n`);
    } else {
      const tn = tnumText(r.valLo, r.valHi, r.maskLo, r.maskHi);
      reject(env, EACCES, `invalid read from stack R${regno} var_off ${tn}+${i - minOff} size ${size}\n`);
    }
    env.liveStack.markRead(r.frameno, env.insnIdx, spi);
  }
}

// Contexts that are plain memory or args: nothing converts accesses to them.
const NO_CONVERT: ReadonlySet<number> = new Set([
  BPF_PROG_TYPE.SYSCALL,
  BPF_PROG_TYPE.KPROBE,
  BPF_PROG_TYPE.TRACEPOINT,
  BPF_PROG_TYPE.RAW_TRACEPOINT,
  BPF_PROG_TYPE.RAW_TRACEPOINT_WRITABLE,
  BPF_PROG_TYPE.TRACING,
  BPF_PROG_TYPE.LSM,
  BPF_PROG_TYPE.STRUCT_OPS,
  BPF_PROG_TYPE.NETFILTER,
  BPF_PROG_TYPE.LIRC_MODE2,
]);
const hasConvertCtxAccess = (progType: number): boolean => !NO_CONVERT.has(progType);

/** check_helper_mem_access: `size` bytes at register `regno`, read or written by a helper. */
export function checkHelperMemAccess(
  env: Env,
  regno: number,
  size: number,
  access: number,
  zeroSizeAllowed: boolean,
  meta: HelperMemMeta | null,
): void {
  const r = env.regs[regno]!;
  const rdonly = (r.type & MEM_RDONLY) !== 0;
  const noWrite = (): never => reject(env, EACCES, `R${regno} cannot write into ${regTypeStr(r.type)}\n`);
  switch (baseType(r.type)) {
    case PTR_TO_PACKET:
    case PTR_TO_PACKET_META:
      checkPacketAccess(env, regno, r.off, size, zeroSizeAllowed);
      return;
    case PTR_TO_MAP_KEY:
      if (access === BPF_WRITE) noWrite();
      checkMemRegionAccess(env, regno, r.off, size, r.map!.keySize, false);
      return;
    case PTR_TO_MAP_VALUE:
      checkMapAccessType(env, regno, r.off, size, access);
      checkMapAccess(env, regno, r.off, size, zeroSizeAllowed, true);
      return;
    case PTR_TO_MEM:
      if (rdonly && access === BPF_WRITE) noWrite();
      checkMemRegionAccess(env, regno, r.off, size, r.memSize, zeroSizeAllowed);
      return;
    case PTR_TO_BUF:
      if (rdonly && access === BPF_WRITE) noWrite();
      checkBufferAccess(env, r, regno, r.off, size);
      return;
    case PTR_TO_STACK:
      checkStackRangeInitialized(env, regno, r.off, size, zeroSizeAllowed, access, meta);
      return;
    case PTR_TO_BTF_ID:
      checkPtrToBtfAccess(env, regno, r.off, size, BPF_READ, -1);
      return;
    case PTR_TO_CTX:
      if (!hasConvertCtxAccess(env.progType)) {
        if (size === 0) {
          if (zeroSizeAllowed) return;
          throw new VerifierReject(EACCES);
        }
        checkMemAccess(env, env.insnIdx, regno, size - 1, BPF_B, access, -1, false, false);
        return;
      }
      break;
    default:
  }
  if (zeroSizeAllowed && size === 0 && r.isNull()) return;
  env.log.write(`R${regno} type=${regTypeStr(r.type)} `);
  reject(env, EACCES, `expected=${regTypeStr(PTR_TO_STACK)}\n`);
}
