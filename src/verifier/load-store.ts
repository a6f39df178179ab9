/** Load, store and atomic instructions. */
import {
  BPF_ADD,
  BPF_AND,
  BPF_CMPXCHG,
  BPF_DW,
  BPF_FETCH,
  BPF_LOAD_ACQ,
  BPF_OR,
  BPF_STORE_REL,
  BPF_W,
  BPF_XCHG,
  BPF_XOR,
  sizeOf,
} from "../asm/opcode.ts";
import {
  BPF_READ,
  BPF_WRITE,
  DST_OP,
  DST_OP_NO_MARK,
  EACCES,
  EINVAL,
  MEM_RDONLY,
  NOT_INIT,
  PTR_TO_ARENA,
  PTR_TO_BTF_ID,
  PTR_TO_CTX,
  PTR_TO_FLOW_KEYS,
  PTR_TO_MEM,
  PTR_TO_PACKET,
  PTR_TO_PACKET_META,
  PTR_TO_SOCKET,
  PTR_TO_SOCK_COMMON,
  PTR_TO_TCP_SOCK,
  PTR_TO_XDP_SOCK,
  PTR_UNTRUSTED,
  SRC_OP,
  baseType,
} from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { regTypeStr } from "./log-state.ts";
import { checkMemAccess } from "./mem.ts";
import { checkRegArg, isPointerValue } from "./reg-arg.ts";
import { regBoundsSanity } from "./scalar/check.ts";

/** Types that code generation treats differently: an insn may not see them mixed with others. */
function mismatchMatters(type: number): boolean {
  switch (baseType(type)) {
    case PTR_TO_CTX:
    case PTR_TO_SOCKET:
    case PTR_TO_SOCK_COMMON:
    case PTR_TO_TCP_SOCK:
    case PTR_TO_XDP_SOCK:
    case PTR_TO_BTF_ID:
    case PTR_TO_ARENA:
      return true;
    default:
      return false;
  }
}

/** save_aux_ptr_type: the same insn on another path must see a compatible pointer. */
export function saveAuxPtrType(env: Env, i: number, type: number, allowTrustMismatch: boolean): void {
  const aux = env.aux[i]!;
  const prev = aux.ptrType;
  if (prev === NOT_INIT) {
    aux.ptrType = type;
    return;
  }
  if (prev === type || (!mismatchMatters(type) && !mismatchMatters(prev))) return;
  const memOrBtf = (t: number): boolean => baseType(t) === PTR_TO_MEM || baseType(t) === PTR_TO_BTF_ID;
  if (!allowTrustMismatch || !memOrBtf(type) || !memOrBtf(prev)) {
    reject(env, EINVAL, "same insn cannot be used with different pointers\n");
  }
  const base = baseType(type) === PTR_TO_MEM || baseType(prev) === PTR_TO_MEM ? PTR_TO_MEM : PTR_TO_BTF_ID;
  aux.ptrType = base | ((type | prev) & (PTR_UNTRUSTED | MEM_RDONLY));
}

/** check_load_mem: dst = *(size *)(src + off) */
export function checkLoad(
  env: Env,
  i: number,
  strictOnce: boolean,
  isLdsx: boolean,
  allowTrustMismatch: boolean,
  what: string,
): void {
  const src = env.src[i]!;
  const dst = env.dst[i]!;
  checkRegArg(env, src, SRC_OP);
  checkRegArg(env, dst, DST_OP_NO_MARK);
  const type = env.regs[src]!.type;
  checkMemAccess(env, i, src, env.off[i]!, sizeOf(env.code[i]!), BPF_READ, dst, strictOnce, isLdsx);
  saveAuxPtrType(env, i, type, allowTrustMismatch);
  regBoundsSanity(env, env.regs[dst]!, what);
}

/** check_store_reg: *(size *)(dst + off) = src */
export function checkStoreReg(env: Env, i: number, strictOnce: boolean): void {
  const src = env.src[i]!;
  const dst = env.dst[i]!;
  checkRegArg(env, src, SRC_OP);
  checkRegArg(env, dst, SRC_OP);
  const type = env.regs[dst]!.type;
  checkMemAccess(env, i, dst, env.off[i]!, sizeOf(env.code[i]!), BPF_WRITE, src, strictOnce, false);
  saveAuxPtrType(env, i, type, false);
}

/** BPF_ST: *(size *)(dst + off) = imm */
export function checkStoreImm(env: Env, i: number): void {
  const dst = env.dst[i]!;
  checkRegArg(env, dst, SRC_OP);
  const type = env.regs[dst]!.type;
  checkMemAccess(env, i, dst, env.off[i]!, sizeOf(env.code[i]!), BPF_WRITE, -1, false, false);
  saveAuxPtrType(env, i, type, false);
}

function atomicPtrOk(type: number): boolean {
  switch (type) {
    case PTR_TO_CTX:
    case PTR_TO_PACKET:
    case PTR_TO_PACKET_META:
    case PTR_TO_FLOW_KEYS:
    case PTR_TO_SOCKET:
    case PTR_TO_SOCK_COMMON:
    case PTR_TO_TCP_SOCK:
    case PTR_TO_XDP_SOCK:
      return false;
    default:
      return true;
  }
}

function rmw(env: Env, i: number): void {
  const size = sizeOf(env.code[i]!);
  if (size !== BPF_W && size !== BPF_DW) reject(env, EINVAL, "invalid atomic operand size\n");
  const src = env.src[i]!;
  const dst = env.dst[i]!;
  const imm = env.imm[i]!;
  const off = env.off[i]!;
  checkRegArg(env, src, SRC_OP);
  checkRegArg(env, dst, SRC_OP);
  if (imm === BPF_CMPXCHG) {
    checkRegArg(env, 0, SRC_OP);
    if (isPointerValue(env, env.regs[0]!)) reject(env, EACCES, "R0 leaks addr into mem\n");
  }
  if (isPointerValue(env, env.regs[src]!)) reject(env, EACCES, `R${src} leaks addr into mem\n`);
  const type = env.regs[dst]!.type;
  if (!atomicPtrOk(type)) reject(env, EACCES, `BPF_ATOMIC stores into R${dst} ${regTypeStr(type)} is not allowed\n`);
  let loadReg = -1;
  if ((imm & BPF_FETCH) !== 0) {
    loadReg = imm === BPF_CMPXCHG ? 0 : src;
    checkRegArg(env, loadReg, DST_OP);
  }
  checkMemAccess(env, i, dst, off, size, BPF_READ, -1, true, false);
  if (loadReg >= 0) checkMemAccess(env, i, dst, off, size, BPF_READ, loadReg, true, false);
  if (env.regs[dst]!.type === PTR_TO_ARENA) saveAuxPtrType(env, i, PTR_TO_ARENA, false);
  checkMemAccess(env, i, dst, off, size, BPF_WRITE, -1, true, false);
}

/** check_atomic */
export function checkAtomic(env: Env, i: number): void {
  const imm = env.imm[i]!;
  if (!env.has.atomicOps && imm !== BPF_ADD) reject(env, EINVAL, "BPF_XADD uses reserved fields\n");
  const old = !env.has.loadAcquire && (imm === BPF_LOAD_ACQ || imm === BPF_STORE_REL);
  switch (old ? -1 : imm) {
    case BPF_ADD:
    case BPF_ADD | BPF_FETCH:
    case BPF_AND:
    case BPF_AND | BPF_FETCH:
    case BPF_OR:
    case BPF_OR | BPF_FETCH:
    case BPF_XOR:
    case BPF_XOR | BPF_FETCH:
    case BPF_XCHG:
    case BPF_CMPXCHG:
      rmw(env, i);
      return;
    case BPF_LOAD_ACQ: {
      checkLoad(env, i, true, false, false, "atomic_load");
      const src = env.src[i]!;
      const type = env.regs[src]!.type;
      if (!atomicPtrOk(type)) reject(env, EACCES, `BPF_ATOMIC loads from R${src} ${regTypeStr(type)} is not allowed\n`);
      return;
    }
    case BPF_STORE_REL: {
      checkStoreReg(env, i, true);
      const dst = env.dst[i]!;
      const type = env.regs[dst]!.type;
      if (!atomicPtrOk(type))
        reject(env, EACCES, `BPF_ATOMIC stores into R${dst} ${regTypeStr(type)} is not allowed\n`);
      return;
    }
    default:
      reject(env, EINVAL, `BPF_ATOMIC uses invalid atomic opcode ${(imm >>> 0).toString(16).padStart(2, "0")}\n`);
  }
}
