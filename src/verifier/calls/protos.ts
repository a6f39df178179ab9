/** Prototypes of helpers as the verifier asks for them: numbers instead of the tables' names (bpf_func_proto). */
import { helperAllowed, helperProto } from "../../uapi/helper-access.ts";
import type { AttachTypeName } from "../../uapi/attach-types.ts";
import { HELPER_WIDENINGS } from "../../uapi/helper-widenings.ts";
import { BPF_FUNC, helperById } from "../../uapi/helpers.ts";
import type { ProgTypeName } from "../../uapi/prog-types.ts";
import type { ArgType, HelperRow, RetType, TypeFlag } from "../../uapi/helper-types.ts";
import * as c from "../constants.ts";
import type { Env } from "../env.ts";
import * as a from "./arg-types.ts";
import { factsOf } from "./facts.ts";

export interface HelperFn {
  readonly row: HelperRow;
  /** ARG_* with flags, of r1 to r5; ARG_DONTCARE beyond the last. */
  readonly args: readonly number[];
  readonly argSizes: readonly number[];
  /** Kernel struct of an ARG_PTR_TO_BTF_ID, or undefined when the map or kptr decides. */
  readonly argStructs: readonly (string | undefined)[];
  readonly numArgs: number;
  readonly retType: number;
  readonly retStruct: string | undefined;
  readonly gpl: boolean;
  readonly pktAccess: boolean;
  readonly mightSleep: boolean;
}

const FLAGS: Readonly<Record<TypeFlag, number>> = {
  PTR_MAYBE_NULL: c.PTR_MAYBE_NULL,
  MEM_RDONLY: c.MEM_RDONLY,
  MEM_RINGBUF: c.MEM_RINGBUF,
  MEM_UNINIT: c.MEM_UNINIT,
  MEM_WRITE: c.MEM_WRITE,
  MEM_FIXED_SIZE: c.MEM_FIXED_SIZE,
  MEM_ALIGNED: c.MEM_ALIGNED,
  OBJ_RELEASE: c.OBJ_RELEASE,
  PTR_TRUSTED: c.PTR_TRUSTED,
  DYNPTR_TYPE_LOCAL: c.DYNPTR_TYPE_LOCAL,
  DYNPTR_TYPE_RINGBUF: c.DYNPTR_TYPE_RINGBUF,
};

const flagBits = (flags: readonly TypeFlag[] | undefined): number =>
  (flags ?? []).reduce((bits, f) => bits | FLAGS[f], 0);

const ARGS: Readonly<Record<ArgType, number>> = a;
const RETS: Readonly<Record<RetType, number>> = a;

/** Parameters of the C prototype that the kernel's own prototype leaves out: it never looks at them. */
const CHECKED_ARGS: Readonly<Record<number, number>> = { [BPF_FUNC.get_branch_snapshot]: 2 };

/** Program types that have get_func_ip, of which most are told afterwards that it is not for them. */
const HAS_FUNC_IP: ReadonlySet<ProgTypeName> = new Set([
  "KPROBE",
  "TRACEPOINT",
  "PERF_EVENT",
  "RAW_TRACEPOINT",
  "RAW_TRACEPOINT_WRITABLE",
  "TRACING",
  "SYSCALL",
]);

/** Has this kernel the helper, but not yet for this kind of program? */
function comesLater(env: Env, row: HelperRow, prog: ProgTypeName, attach: AttachTypeName | undefined): boolean {
  return HELPER_WIDENINGS.some(
    (w) =>
      w.helper === row.name &&
      !env.kernel.atLeast(w.since) &&
      !w.before.some((b) => b === prog || b === `${prog}/${attach ?? ""}`),
  );
}

function compile(env: Env, row: HelperRow): HelperFn | null {
  const facts = factsOf(env);
  const allowed =
    row.id === BPF_FUNC.get_func_ip
      ? HAS_FUNC_IP.has(facts.progTypeName)
      : helperAllowed(row, facts.progTypeName, facts.attachTypeName);
  if (!allowed || comesLater(env, row, facts.progTypeName, facts.attachTypeName)) return null;
  const proto = helperProto(row, facts.progTypeName, facts.attachTypeName);
  const kept = env.has.trustedPointers ? -1 : ~c.PTR_TRUSTED;
  const checked = proto.args.slice(0, CHECKED_ARGS[row.id] ?? 5);
  const args = [0, 0, 0, 0, 0];
  const sizes = [0, 0, 0, 0, 0];
  const structs: (string | undefined)[] = [];
  checked.forEach((arg, i) => {
    args[i] = (ARGS[arg.type] | flagBits(arg.flags)) & kept;
    sizes[i] = arg.size ?? 0;
    structs[i] = arg.btf;
  });
  return {
    row,
    args,
    argSizes: sizes,
    argStructs: structs,
    numArgs: checked.length,
    retType: (RETS[proto.ret.type] | flagBits(proto.ret.flags)) & kept,
    retStruct: proto.ret.btf,
    gpl: proto.gpl,
    pktAccess: proto.pktAccess,
    mightSleep: row.mightSleep === true,
  };
}

/** get_helper_proto: null when this program may not call helper `id`; undefined when there is no such id. */
export function helperFn(env: Env, id: number): HelperFn | null | undefined {
  const row = id > 0 ? helperById(id) : undefined;
  if (row === undefined || !env.kernel.atLeast(row.since)) return id === 0 ? null : undefined;
  const { protos } = factsOf(env);
  let fn = protos[id];
  if (fn === undefined) {
    fn = compile(env, row);
    protos[id] = fn;
  }
  return fn;
}

/** func_id_name */
export function funcIdName(id: number): string {
  if (id === 0) return "bpf_unspec";
  const row = id > 0 ? helperById(id) : undefined;
  return row === undefined ? "unknown" : `bpf_${row.name}`;
}
