/** Memory handed to helpers and kfuncs (check_helper_mem_access, check_stack_range_initialized). */
import {
  BPF_READ,
  BPF_WRITE,
  EACCES,
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
  baseType,
} from "./constants.ts";
import { BPF_PROG_TYPE } from "../uapi/prog-types.ts";
import { type Env, reject } from "./env.ts";
import { VerifierReject } from "./errors.ts";
import { regTypeStr } from "./log-state.ts";
import {
  checkBufferAccess,
  checkMapAccess,
  checkMapAccessType,
  checkMemAccess,
  checkMemRegionAccess,
  checkPacketAccess,
} from "./mem.ts";
import { checkStackRangeInitialized } from "./stack.ts";
import type { HelperMemMeta } from "./types.ts";

const BPF_B = 0x10;

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
      checkStackRangeInitialized(env, regno, r.off, size, zeroSizeAllowed, access, meta, true);
      return;
    case PTR_TO_BTF_ID:
      env.seams.checkPtrToBtfAccess(env, regno, r.off, size, BPF_READ, -1);
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
