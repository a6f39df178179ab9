/** Shapes of the rows of `helpers.ts`. Terms are those of include/linux/bpf.h. */
import type { AttachTypeName } from "./attach-types.ts";
import type { HelperName } from "./helpers.ts";
import type { ProgTypeName } from "./prog-types.ts";

/** `enum bpf_arg_type` without the flags. */
export type ArgType =
  | "ARG_ANYTHING"
  | "ARG_CONST_ALLOC_SIZE_OR_ZERO"
  | "ARG_CONST_MAP_PTR"
  | "ARG_CONST_SIZE"
  | "ARG_CONST_SIZE_OR_ZERO"
  | "ARG_DONTCARE"
  | "ARG_KPTR_XCHG_DEST"
  | "ARG_PTR_TO_BTF_ID"
  | "ARG_PTR_TO_BTF_ID_SOCK_COMMON"
  | "ARG_PTR_TO_CONST_STR"
  | "ARG_PTR_TO_CTX"
  | "ARG_PTR_TO_DYNPTR"
  | "ARG_PTR_TO_FUNC"
  | "ARG_PTR_TO_MAP_KEY"
  | "ARG_PTR_TO_MAP_VALUE"
  | "ARG_PTR_TO_MEM"
  | "ARG_PTR_TO_PERCPU_BTF_ID"
  | "ARG_PTR_TO_RINGBUF_MEM"
  | "ARG_PTR_TO_SOCKET"
  | "ARG_PTR_TO_SOCK_COMMON"
  | "ARG_PTR_TO_SPIN_LOCK"
  | "ARG_PTR_TO_STACK"
  | "ARG_PTR_TO_TIMER";

/** `enum bpf_return_type` without the flags. */
export type RetType =
  | "RET_INTEGER"
  | "RET_PTR_TO_BTF_ID"
  | "RET_PTR_TO_MAP_VALUE"
  | "RET_PTR_TO_MEM"
  | "RET_PTR_TO_MEM_OR_BTF_ID"
  | "RET_PTR_TO_SOCKET"
  | "RET_PTR_TO_SOCK_COMMON"
  | "RET_PTR_TO_TCP_SOCK"
  | "RET_VOID";

/** `enum bpf_type_flag`, as far as a helper's prototype uses them. */
export type TypeFlag =
  | "PTR_MAYBE_NULL"
  | "MEM_RDONLY"
  | "MEM_RINGBUF"
  | "MEM_UNINIT"
  | "MEM_WRITE"
  | "MEM_FIXED_SIZE"
  | "MEM_ALIGNED"
  | "OBJ_RELEASE"
  | "PTR_TRUSTED"
  | "DYNPTR_TYPE_LOCAL"
  | "DYNPTR_TYPE_RINGBUF";

/** One argument of a helper, in r1 to r5 by position. */
export interface HelperArg {
  /** Parameter name of the uapi header. */
  readonly name: string;
  /** C type of the uapi header, with u8…u64 for __u8…__u64. */
  readonly c: string;
  readonly type: ArgType;
  readonly flags?: readonly TypeFlag[];
  /** Bytes behind the pointer when it is `MEM_FIXED_SIZE`; else an `ARG_CONST_SIZE*` argument follows it. */
  readonly size?: number;
  /** The kernel struct it must point to (`ARG_PTR_TO_BTF_ID`); absent when the verifier works it out from the map or kptr. */
  readonly btf?: string;
}

/** What r0 holds afterwards. */
export interface HelperRet {
  readonly c: string;
  readonly type: RetType;
  readonly flags?: readonly TypeFlag[];
  readonly btf?: string;
}

/** Where a prototype differs for some program types; a field that is absent is as in the row. */
export interface HelperVariant {
  readonly progTypes: readonly ProgTypeName[];
  /** Only with these expected attach types. */
  readonly attachTypes?: readonly AttachTypeName[];
  readonly ret?: HelperRet;
  readonly args?: readonly HelperArg[];
  readonly gpl?: boolean;
  readonly pktAccess?: boolean;
  readonly allowed?: string;
}

/** One helper function. */
export interface HelperRow {
  readonly id: number;
  /** Without `bpf_`. */
  readonly name: HelperName;
  /** Release that brought it, such as "5.8". */
  readonly since: string;
  readonly ret: HelperRet;
  readonly args: readonly HelperArg[];
  /** Only for programs with a GPL-compatible licence. */
  readonly gpl?: boolean;
  /** Memory arguments may point into the packet. */
  readonly pktAccess?: boolean;
  /** Packet pointers are invalid afterwards (bpf_helper_changes_pkt_data). */
  readonly changesPacket?: boolean;
  /** Only in sleepable programs. */
  readonly mightSleep?: boolean;
  /** Keeps r1 to r5 when the JIT inlines it (bpf_fastcall, 6.12). */
  readonly fastcall?: boolean;
  /** The last argument stands for more (printf style): up to 3 with trace_printk. */
  readonly variadic?: boolean;
  /** A further check of the attach target: `d_path`: the allow-list of kernel/trace/bpf_trace.c, … */
  readonly allowed?: string;
  /** Program types that may call it on 6.18; `HELPER_LIMITS` has what depends on the attach type. */
  readonly progs: readonly ProgTypeName[];
  readonly variants?: readonly HelperVariant[];
}

/** A helper that a program type has with some attach types only. */
export interface HelperLimit {
  readonly helper: HelperName;
  readonly progType: ProgTypeName;
  readonly attachTypes: readonly AttachTypeName[];
  /** A further condition on the attach target. */
  readonly note?: string;
}

/** Program types that got a helper later than the helper itself came. */
export interface HelperLater {
  readonly helper: HelperName;
  readonly progTypes: readonly ProgTypeName[];
  /** Only with these attach types. */
  readonly attachTypes?: readonly AttachTypeName[];
  readonly since: string;
  /** False: `since` is the first kernel measured that has it (6.12 or 6.18), the one before (6.1 or 6.12) has not. */
  readonly exact: boolean;
}
