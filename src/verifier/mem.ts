/** Loads and stores through pointers (check_mem_access): which memory, how far, and what the loaded register becomes. */
import { BPF_PROG_TYPE } from "../uapi/prog-types.ts";
import {
  BPF_MAX_VAR_OFF,
  BPF_READ,
  BPF_WRITE,
  CONST_PTR_TO_MAP,
  EACCES,
  EINVAL,
  ENOTSUPP,
  MEM_RDONLY,
  PTR_MAYBE_NULL,
  PTR_TO_ARENA,
  PTR_TO_BTF_ID,
  PTR_TO_BUF,
  PTR_TO_CTX,
  PTR_TO_FLOW_KEYS,
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
  PTR_TO_TP_BUFFER,
  PTR_TO_XDP_SOCK,
  PTR_UNTRUSTED,
  SCALAR_VALUE,
  baseType,
} from "./constants.ts";
import { checkCtxAccess, checkFlowKeysAccess, checkSockAccess } from "./ctx-layout.ts";
import { type Env, reject } from "./env.ts";
import { VerifierReject } from "./errors.ts";
import { tnumText, udec64 } from "./log-num.ts";
import { printLineInfo, regTypeStr } from "./log-state.ts";
import { BPF_KPTR, BPF_UPTR, type VMap, recordFind } from "./map.ts";
import { fieldTypeName } from "./map-fields.ts";
import { s64, sizeBytes, u64 } from "./num.ts";
import { isPointerValue } from "./reg-arg.ts";
import { type RegState, markRegKnown, markRegKnownZero, markRegUnknown, setUnknownNumber } from "./reg-state.ts";
import { coerceRegToSize, coerceRegToSizeSx, regBoundsSync } from "./scalar/index.ts";
import { checkStackBounds, checkStackRead, checkStackWrite } from "./stack.ts";
import type { CtxAccess } from "./types.ts";

const BPF_MAP_TYPE_ARRAY = 2;
const BPF_F_RDONLY_PROG = 1 << 7;
const BPF_F_WRONLY_PROG = 1 << 8;

export const varOffText = (r: RegState): string => tnumText(r.valLo, r.valHi, r.maskLo, r.maskHi);

/** check_map_access_type */
export function checkMapAccessType(env: Env, regno: number, off: number, size: number, access: number): void {
  const map = env.regs[regno]!.map!;
  const flags = map.flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG);
  const what =
    access === BPF_WRITE && flags === BPF_F_RDONLY_PROG
      ? "write into"
      : access === BPF_READ && flags === BPF_F_WRONLY_PROG
        ? "read from"
        : "";
  if (what !== "") reject(env, EACCES, `${what} map forbidden, value_size=${map.valueSize} off=${off} size=${size}\n`);
}

/** __check_mem_access: [off, off + size) within `memSize` bytes. Logs and returns false when not. */
function memAccessOk(
  env: Env,
  regno: number,
  off: number,
  size: number,
  memSize: number,
  zeroSizeAllowed: boolean,
): boolean {
  if (off >= 0 && (size > 0 || (size === 0 && zeroSizeAllowed)) && off + size <= memSize) return true;
  const r = env.regs[regno]!;
  switch (r.type) {
    case PTR_TO_MAP_KEY:
      env.log.write(`invalid access to map key, key_size=${memSize | 0} off=${off} size=${size}\n`);
      break;
    case PTR_TO_MAP_VALUE:
      env.log.write(`invalid access to map value, value_size=${memSize | 0} off=${off} size=${size}\n`);
      break;
    case PTR_TO_PACKET:
    case PTR_TO_PACKET_META:
    case PTR_TO_PACKET_END:
      env.log.write(
        `invalid access to packet, off=${off} size=${size}, R${regno}(id=${r.id},off=${off},r=${memSize})\n`,
      );
      break;
    default:
      env.log.write(`invalid access to memory, mem_size=${memSize >>> 0} off=${off} size=${size}\n`);
  }
  return false;
}

/** check_mem_region_access: a region of known size, offset fixed plus variable. */
export function checkMemRegionAccess(
  env: Env,
  regno: number,
  off: number,
  size: number,
  memSize: number,
  zeroSizeAllowed: boolean,
): void {
  const r = env.regs[regno]!;
  const smin = s64(r.sminLo, r.sminHi);
  if (smin < 0 && (r.sminHi === -0x8000_0000 || smin + off !== ((smin + off) | 0) || smin + off < 0)) {
    reject(env, EACCES, `R${regno} min value is negative, either use unsigned index or do a if (index >=0) check.\n`);
  }
  if (!memAccessOk(env, regno, (r.sminLo + off) | 0, size, memSize, zeroSizeAllowed)) {
    reject(env, EACCES, `R${regno} min value is outside of the allowed memory range\n`);
  }
  if (u64(r.umaxLo, r.umaxHi) >= BPF_MAX_VAR_OFF) {
    reject(env, EACCES, `R${regno} unbounded memory access, make sure to bounds check any such access\n`);
  }
  if (!memAccessOk(env, regno, (r.umaxLo + off) | 0, size, memSize, zeroSizeAllowed)) {
    reject(env, EACCES, `R${regno} max value is outside of the allowed memory range\n`);
  }
}

/** __check_ptr_off_reg: the pointer is unmodified (or has a fixed non-negative offset when that is allowed). */
export function checkPtrOffReg(env: Env, r: RegState, regno: number, fixedOffOk: boolean): void {
  if (r.off < 0) reject(env, EACCES, `negative offset ${regTypeStr(r.type)} ptr R${regno} off=${r.off} disallowed\n`);
  if (!fixedOffOk && r.off !== 0)
    reject(env, EACCES, `dereference of modified ${regTypeStr(r.type)} ptr R${regno} off=${r.off} disallowed\n`);
  if ((r.maskLo | r.maskHi | r.valLo | r.valHi) !== 0) {
    reject(env, EACCES, `variable ${regTypeStr(r.type)} access var_off=${varOffText(r)} disallowed\n`);
  }
}

/** check_map_access: a map value, with its special fields off limits. */
export function checkMapAccess(
  env: Env,
  regno: number,
  off: number,
  size: number,
  zeroSizeAllowed: boolean,
  fromHelper: boolean,
): void {
  const r = env.regs[regno]!;
  const map = r.map!;
  checkMemRegionAccess(env, regno, off, size, map.valueSize, zeroSizeAllowed);
  if (map.record === null) return;
  const first = s64(r.sminLo, r.sminHi) + off;
  const end = u64(r.umaxLo, r.umaxHi) + off + size;
  for (const field of map.record.fields) {
    const p = field.offset;
    if (first >= p + field.size || p >= end) continue;
    const name = fieldTypeName(field.type);
    if ((field.type & (BPF_KPTR | BPF_UPTR)) === 0)
      reject(env, EACCES, `${name} cannot be accessed directly by load/store\n`);
    if (fromHelper) reject(env, EACCES, `${name} cannot be accessed indirectly by helper\n`);
    if ((r.maskLo | r.maskHi) !== 0) reject(env, EACCES, `${name} access cannot have variable offset\n`);
    if (p !== off + s64(r.valLo, r.valHi)) {
      const at = off + r.valLo;
      reject(env, EACCES, `${name} access misaligned expected=${p} off=${udec64(at | 0, (at | 0) >> 31)}\n`);
    }
    if (size !== 8) reject(env, EACCES, `${name} access size must be BPF_DW\n`);
  }
}

/** check_packet_access */
export function checkPacketAccess(env: Env, regno: number, off: number, size: number, zeroSizeAllowed: boolean): void {
  const r = env.regs[regno]!;
  if (r.sminHi < 0) {
    reject(env, EACCES, `R${regno} min value is negative, either use unsigned index or do a if (index >=0) check.\n`);
  }
  if (r.range < 0) reject(env, EINVAL, `R${regno} offset is outside of the packet\n`);
  if (!memAccessOk(env, regno, off, size, r.range, zeroSizeAllowed))
    reject(env, EACCES, `R${regno} offset is outside of the packet\n`);
  env.maxPktOffset = Math.max(env.maxPktOffset, off + u64(r.umaxLo, r.umaxHi) + size - 1);
}

function checkBuffer(env: Env, r: RegState, regno: number, off: number, size: number, what: string): void {
  if (off < 0) reject(env, EACCES, `R${regno} invalid ${what} buffer access: off=${off}, size=${size}\n`);
  if ((r.maskLo | r.maskHi | r.valLo | r.valHi) !== 0) {
    reject(env, EACCES, `R${regno} invalid variable buffer offset: off=${off}, var_off=${varOffText(r)}\n`);
  }
}

/** check_buffer_access */
export function checkBufferAccess(env: Env, r: RegState, regno: number, off: number, size: number): void {
  checkBuffer(env, r, regno, off, size, r.type & MEM_RDONLY ? "rdonly" : "rdwr");
  if (r.type & MEM_RDONLY) env.maxRdonlyAccess = Math.max(env.maxRdonlyAccess, off + size);
  else env.maxRdwrAccess = Math.max(env.maxRdwrAccess, off + size);
}

// Program types with direct access to packet data.
const P = BPF_PROG_TYPE;
const PKT_READ_ONLY: ReadonlySet<number> = new Set([
  P.LWT_IN,
  P.LWT_OUT,
  P.LWT_SEG6LOCAL,
  P.SK_REUSEPORT,
  P.FLOW_DISSECTOR,
  P.CGROUP_SKB,
]);
const PKT_READ_WRITE: ReadonlySet<number> = new Set([P.SCHED_CLS, P.SCHED_ACT, P.XDP, P.LWT_XMIT, P.SK_SKB, P.SK_MSG]);

/** may_access_direct_pkt_data; `pktAccess`: for a helper, whether its prototype allows packet pointers; null: an insn's own access. */
export function mayAccessDirectPktData(env: Env, pktAccess: boolean | null, access: number): boolean {
  const t = env.progType;
  if (PKT_READ_ONLY.has(t) && access === BPF_WRITE) return false;
  if (PKT_READ_ONLY.has(t) || PKT_READ_WRITE.has(t)) {
    if (pktAccess !== null) return pktAccess;
    env.seenDirectWrite = true;
    return true;
  }
  if (t !== P.CGROUP_SOCKOPT) return false;
  if (access === BPF_WRITE) env.seenDirectWrite = true;
  return true;
}

const POINTER_DESC: Readonly<Record<number, string>> = {
  [PTR_TO_FLOW_KEYS]: "flow keys ",
  [PTR_TO_MAP_KEY]: "key ",
  [PTR_TO_MAP_VALUE]: "value ",
  [PTR_TO_CTX]: "context ",
  [PTR_TO_STACK]: "stack ",
  [PTR_TO_SOCKET]: "sock ",
  [PTR_TO_SOCK_COMMON]: "sock_common ",
  [PTR_TO_TCP_SOCK]: "tcp_sock ",
  [PTR_TO_XDP_SOCK]: "xdp_sock ",
};

function alignedAt(r: RegState, add: number, size: number): boolean {
  const sv = (r.valLo + add) | 0;
  const mu = (((r.maskLo + sv) | 0) ^ sv) | r.maskLo;
  return (((sv & ~mu) | mu) & (size - 1)) === 0;
}

/** check_ptr_alignment */
export function checkPtrAlignment(env: Env, r: RegState, off: number, size: number, strictOnce: boolean): void {
  let strict = env.strictAlignment || strictOnce;
  if (r.type === PTR_TO_STACK) strict = true;
  if (!strict || size === 1 || r.type === PTR_TO_ARENA) return;
  if (r.type === PTR_TO_PACKET || r.type === PTR_TO_PACKET_META) {
    if (!alignedAt(r, 2 + r.off + off, size)) {
      reject(env, EACCES, `misaligned packet access off 2+${varOffText(r)}+${r.off}+${off} size ${size}\n`);
    }
    return;
  }
  if (!alignedAt(r, r.off + off, size)) {
    reject(
      env,
      EACCES,
      `misaligned ${POINTER_DESC[r.type] ?? ""}access off ${varOffText(r)}+${r.off}+${off} size ${size}\n`,
    );
  }
}

const isSkPointer = (type: number): boolean =>
  type === PTR_TO_SOCKET || type === PTR_TO_SOCK_COMMON || type === PTR_TO_TCP_SOCK || type === PTR_TO_XDP_SOCK;

const isFrozenRdonly = (map: VMap): boolean =>
  (map.flags & BPF_F_RDONLY_PROG) !== 0 && map.frozen && map.type === BPF_MAP_TYPE_ARRAY;

/** bpf_map_direct_read: the constant that a frozen read-only array holds. */
function readConstant(env: Env, map: VMap, off: number, size: number, isLdsx: boolean, dst: RegState): void {
  if (map.maxEntries !== 1) throw new VerifierReject(ENOTSUPP);
  const data = map.data;
  const at = (i: number): number => data?.[off + i] ?? 0;
  let lo = 0;
  for (let i = Math.min(size, 4) - 1; i >= 0; i--) lo = (lo << 8) | at(i);
  let hi = 0;
  for (let i = 7; i >= 4 && size === 8; i--) hi = (hi << 8) | at(i);
  if (size < 8 && isLdsx) {
    const shift = 32 - 8 * size;
    lo = (lo << shift) >> shift;
    hi = lo >> 31;
  }
  dst.type = SCALAR_VALUE;
  markRegKnown(dst, lo | 0, hi | 0);
}

function accessMapValue(
  env: Env,
  insnIdx: number,
  regno: number,
  off: number,
  size: number,
  access: number,
  valueRegno: number,
  isLdsx: boolean,
): void {
  const r = env.regs[regno]!;
  leakCheck(env, access, valueRegno, "map");
  checkMapAccessType(env, regno, off, size, access);
  checkMapAccess(env, regno, off, size, false, false);
  const map = r.map!;
  const isConst = (r.maskLo | r.maskHi) === 0;
  const field = isConst ? recordFind(map.record, off + r.valLo, BPF_KPTR | BPF_UPTR) : null;
  if (field !== null) env.seams.checkMapKptrAccess(env, regno, valueRegno, insnIdx, field);
  else if (access === BPF_READ && valueRegno >= 0) {
    if (isConst && isFrozenRdonly(map)) readConstant(env, map, off + r.valLo, size, isLdsx, env.regs[valueRegno]!);
    else markRegUnknown(env.regs[valueRegno]!, env.bpfCapable);
  }
}

function leakCheck(env: Env, access: number, valueRegno: number, where: string): void {
  if (access === BPF_WRITE && valueRegno >= 0 && isPointerValue(env, env.regs[valueRegno]!)) {
    reject(env, EACCES, `R${valueRegno} leaks addr into ${where}\n`);
  }
}

/** check_ctx_access; a rejection shows the source line after its text. */
function ctxAccessWithLine(
  env: Env,
  insnIdx: number,
  off: number,
  size: number,
  access: number,
  isLdsx: boolean,
): CtxAccess {
  try {
    return checkCtxAccess(env, insnIdx, off, size, access, isLdsx);
  } catch (e) {
    if (e instanceof VerifierReject) printLineInfo(env, insnIdx, "; ");
    throw e;
  }
}

function accessCtx(
  env: Env,
  insnIdx: number,
  regno: number,
  off: number,
  size: number,
  access: number,
  valueRegno: number,
  isLdsx: boolean,
): void {
  const r = env.regs[regno]!;
  leakCheck(env, access, valueRegno, "ctx");
  checkPtrOffReg(env, r, regno, false);
  const info = ctxAccessWithLine(env, insnIdx, off, size, access, isLdsx);
  if (access !== BPF_READ || valueRegno < 0) return;
  const dst = env.regs[valueRegno]!;
  if (info.regType === SCALAR_VALUE) {
    markRegUnknown(dst, env.bpfCapable);
    if (info.retvalRange !== null) markS32Range(dst, info.retvalRange[0], info.retvalRange[1]);
  } else {
    markRegKnownZero(dst);
    if (info.regType & PTR_MAYBE_NULL) dst.id = env.newId();
    if (baseType(info.regType) === PTR_TO_BTF_ID) {
      dst.btf = info.btf;
      dst.btfId = info.btfId;
      dst.refObjId = info.refObjId;
    }
  }
  dst.type = info.regType;
}

/** __mark_reg_s32_range: an unknown scalar limited to [min, max], sign-extended. */
export function markS32Range(r: RegState, min: number, max: number): void {
  setUnknownNumber(r);
  r.s32Min = min;
  r.s32Max = max;
  r.sminLo = min;
  r.sminHi = min >> 31;
  r.smaxLo = max;
  r.smaxHi = max >> 31;
  regBoundsSync(r);
}

/**
 * check_mem_access of register `regno` + off. Read with valueRegno >= 0: that register gets the value;
 * write: it is the value stored; -1: none. `off` is the insn's own offset; alignment is checked here.
 */
export function checkMemAccess(
  env: Env,
  insnIdx: number,
  regno: number,
  insnOff: number,
  bpfSize: number,
  access: number,
  valueRegno: number,
  strictOnce: boolean,
  isLdsx: boolean,
): void {
  const r = env.regs[regno]!;
  const size = sizeBytes(bpfSize);
  checkPtrAlignment(env, r, insnOff, size, strictOnce);
  const off = insnOff + r.off;
  const unknown = (): void => {
    if (valueRegno >= 0 && access === BPF_READ) markRegUnknown(env.regs[valueRegno]!, env.bpfCapable);
  };
  const t = r.type;
  const base = baseType(t);
  if (t === PTR_TO_STACK) {
    checkStackBounds(env, regno, off, size, access);
    if (access === BPF_READ) checkStackRead(env, regno, off, size, valueRegno);
    else checkStackWrite(env, regno, off, size, valueRegno, insnIdx);
  } else if (t === PTR_TO_MAP_KEY) {
    if (access === BPF_WRITE) reject(env, EACCES, `write to change key R${regno} not allowed\n`);
    checkMemRegionAccess(env, regno, off, size, r.map!.keySize, false);
    unknown();
  } else if (t === PTR_TO_MAP_VALUE) {
    accessMapValue(env, insnIdx, regno, off, size, access, valueRegno, isLdsx);
  } else if (base === PTR_TO_MEM) {
    const rdonly = (t & MEM_RDONLY) !== 0;
    if (t & PTR_MAYBE_NULL) reject(env, EACCES, `R${regno} invalid mem access '${regTypeStr(t)}'\n`);
    if (access === BPF_WRITE && rdonly) reject(env, EACCES, `R${regno} cannot write into ${regTypeStr(t)}\n`);
    leakCheck(env, access, valueRegno, "mem");
    if (!(rdonly && (t & PTR_UNTRUSTED) !== 0)) checkMemRegionAccess(env, regno, off, size, r.memSize, false);
    unknown();
  } else if (t === PTR_TO_CTX) {
    accessCtx(env, insnIdx, regno, off, size, access, valueRegno, isLdsx);
  } else if (t === PTR_TO_PACKET || t === PTR_TO_PACKET_META) {
    if (access === BPF_WRITE && !mayAccessDirectPktData(env, null, access))
      reject(env, EACCES, "cannot write into packet\n");
    leakCheck(env, access, valueRegno, "packet");
    checkPacketAccess(env, regno, off, size, false);
    unknown();
  } else if (t === PTR_TO_FLOW_KEYS) {
    leakCheck(env, access, valueRegno, "flow keys");
    checkFlowKeysAccess(env, off, size);
    unknown();
  } else if (isSkPointer(t)) {
    if (access === BPF_WRITE) reject(env, EACCES, `R${regno} cannot write into ${regTypeStr(t)}\n`);
    checkSockAccess(env, insnIdx, regno, off, size);
    unknown();
  } else if (t === PTR_TO_TP_BUFFER) {
    checkBuffer(env, r, regno, off, size, "tracepoint");
    env.maxTpAccess = Math.max(env.maxTpAccess, off + size);
    unknown();
  } else if (base === PTR_TO_BTF_ID && (t & PTR_MAYBE_NULL) === 0) {
    env.seams.checkPtrToBtfAccess(env, regno, off, size, access, valueRegno);
  } else if (t === CONST_PTR_TO_MAP) {
    env.seams.checkPtrToMapAccess(env, regno, off, size, access, valueRegno);
  } else if (base === PTR_TO_BUF && (t & PTR_MAYBE_NULL) === 0) {
    if ((t & MEM_RDONLY) !== 0 && access === BPF_WRITE)
      reject(env, EACCES, `R${regno} cannot write into ${regTypeStr(t)}\n`);
    checkBufferAccess(env, r, regno, off, size);
    unknown();
  } else if (t === PTR_TO_ARENA) {
    unknown();
  } else reject(env, EACCES, `R${regno} invalid mem access '${regTypeStr(t)}'\n`);

  if (size < 8 && valueRegno >= 0 && access === BPF_READ) {
    const dst = env.regs[valueRegno]!;
    if (dst.type === SCALAR_VALUE) {
      if (isLdsx) coerceRegToSizeSx(dst, size);
      else coerceRegToSize(dst, size);
    }
  }
}
