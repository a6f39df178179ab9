/** What a program may return (check_return_code). */
import { checkPtrOffReg } from "./mem.ts";
import { SCALAR_VALUE, SRC_OP, EACCES, EINVAL, ENOTSUPP } from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { VerifierReject } from "./errors.ts";
import { bitsWithin, rejectScalar, retvalWithin } from "./frames.ts";
import { regTypeStr } from "./log-state.ts";
import { markChainPrecision } from "./precision.ts";
import { checkRegArg, isPointerValue } from "./reg-arg.ts";
import type { RegState } from "./reg-state.ts";
import { BPF_ATTACH_TYPE } from "../uapi/attach-types.ts";
import { BPF_PROG_TYPE } from "../uapi/prog-types.ts";

const P = BPF_PROG_TYPE;
const A = BPF_ATTACH_TYPE;

const ALWAYS_ONE: ReadonlySet<number> = new Set([
  A.CGROUP_UDP4_RECVMSG,
  A.CGROUP_UDP6_RECVMSG,
  A.CGROUP_UNIX_RECVMSG,
  A.CGROUP_INET4_GETPEERNAME,
  A.CGROUP_INET6_GETPEERNAME,
  A.CGROUP_UNIX_GETPEERNAME,
  A.CGROUP_INET4_GETSOCKNAME,
  A.CGROUP_INET6_GETSOCKNAME,
  A.CGROUP_UNIX_GETSOCKNAME,
]);

interface Range {
  readonly min: number;
  readonly max: number;
  readonly is32bit: boolean;
}

const range = (min: number, max: number): Range => ({ min, max, is32bit: false });

const returnsVoid = (env: Env): boolean => env.attach !== null && env.attach.protoId !== 0 && returnTypeId(env) === 0;

function returnTypeId(env: Env): number {
  const proto = env.attach!.btf.typeById(env.attach!.protoId);
  return proto.kind === "func_proto" ? proto.type : 0;
}

/** The range a main program's r0 must be in; null: anything goes. */
function mainRange(env: Env): Range | null {
  const at = env.expectedAttachType;
  switch (env.progType) {
    case P.CGROUP_SOCK_ADDR:
      if (ALWAYS_ONE.has(at)) return range(1, 1);
      return at === A.CGROUP_INET4_BIND || at === A.CGROUP_INET6_BIND ? range(0, 3) : range(0, 1);
    case P.CGROUP_SKB:
      return at === A.CGROUP_INET_EGRESS ? range(0, 3) : range(0, 1);
    case P.CGROUP_SOCK:
    case P.SOCK_OPS:
    case P.CGROUP_DEVICE:
    case P.CGROUP_SYSCTL:
    case P.CGROUP_SOCKOPT:
      return range(0, 1);
    case P.RAW_TRACEPOINT:
      return env.load.attachBtfId === 0 ? null : range(0, 0);
    case P.TRACING:
      if (at === A.TRACE_FENTRY || at === A.TRACE_FEXIT) return range(0, 0);
      if (at === A.TRACE_RAW_TP || at === A.MODIFY_RETURN) return null;
      if (at === A.TRACE_ITER) return range(0, 1);
      throw new VerifierReject(ENOTSUPP);
    case P.KPROBE:
      return at === A.TRACE_KPROBE_SESSION || at === A.TRACE_UPROBE_SESSION ? range(0, 1) : null;
    case P.SK_LOOKUP:
    case P.NETFILTER:
      return range(0, 1);
    case P.LSM: {
      if (at === A.LSM_CGROUP) return returnsVoid(env) ? range(1, 1) : range(0, 1);
      const r = env.has.hookReturnRanges ? (env.attach?.retvalRange ?? null) : null;
      if (r === null || (r[0] === -0x8000_0000 && r[1] === 0x7fff_ffff)) return null;
      return { min: r[0], max: r[1], is32bit: true };
    }
    default:
      return null;
  }
}

/** A struct_ops operator that returns a referenced kernel object may return just that. */
function returnsReferencedObject(env: Env, r: RegState): boolean {
  if (env.attach === null || r.refObjId === 0 || r.btf !== env.attach.btf) return false;
  const ret = env.attach.btf.typeById(returnTypeId(env));
  if (ret.kind !== "ptr") return false;
  let id = ret.type;
  for (
    let t = env.attach.btf.typeById(id);
    t.kind === "const" ||
    t.kind === "volatile" ||
    t.kind === "typedef" ||
    t.kind === "type_tag" ||
    t.kind === "restrict";
    t = env.attach.btf.typeById(id)
  )
    id = t.type;
  return r.btfId === id;
}

/** check_return_code of register `regno` ("R0") when the outermost function exits. */
export function checkReturnCode(env: Env, regno: number, regName: string): void {
  const frame = env.state.frames[0]!;
  const isSubprog = frame.subprogno !== 0;
  const regs = env.regs;
  if (!isSubprog || frame.inExceptionCallbackFn) {
    const lsm = env.progType === P.LSM && env.expectedAttachType !== A.LSM_CGROUP;
    if ((lsm || env.progType === P.STRUCT_OPS) && returnsVoid(env)) return;
    if (env.progType === P.STRUCT_OPS && !frame.inExceptionCallbackFn && returnsReferencedObject(env, regs[regno]!)) {
      checkPtrOffReg(env, regs[regno]!, regno, false);
      return;
    }
  }
  checkRegArg(env, regno, SRC_OP);
  const r = regs[regno]!;
  if (isPointerValue(env, r)) reject(env, EACCES, `R${regno} leaks addr as return value\n`);
  let exitCtx = "At program exit";
  let want: Range | null;
  if (frame.inAsyncCallbackFn) {
    exitCtx = env.has.returnRangeTexts ? "At async callback return" : "At async callback";
    want = range(frame.callbackRetMin, frame.callbackRetMax);
  } else if (isSubprog && !frame.inExceptionCallbackFn) {
    if (r.type !== SCALAR_VALUE) {
      reject(env, EINVAL, `At subprogram exit the register R${regno} is not a scalar value (${regTypeStr(r.type)})\n`);
    }
    return;
  } else want = mainRange(env);
  if (want === null) return;
  if (r.type !== SCALAR_VALUE) {
    reject(env, EINVAL, `${exitCtx} the register R${regno} is not a known value (${regTypeStr(r.type)})\n`);
  }
  if (env.has.returnRangeTexts) {
    markChainPrecision(env, regno);
    if (retvalWithin(r, want.min, want.max, want.is32bit)) return;
  } else if (bitsWithin(r, want.min, want.max)) return;
  try {
    rejectScalar(env, r, want.min, want.max, exitCtx, regName);
  } finally {
    if (!isSubprog && env.progType === P.LSM && env.expectedAttachType === A.LSM_CGROUP && returnsVoid(env)) {
      env.log.write("Note, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!\n");
    }
  }
}
