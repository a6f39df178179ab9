/**
 * Helpers that more program types got after the helper itself: the release, and who had it before
 * (git log of kernel/trace/bpf_trace.c, kernel/bpf/helpers.c, net/core/filter.c; verdicts of 6.1).
 */
import type { ProgTypeName } from "./prog-types.ts";

export interface HelperWidening {
  readonly helper: string;
  readonly since: string;
  /** Program types, "TYPE/ATTACH" for one attach type, that had it before `since`. */
  readonly before: readonly (ProgTypeName | `${ProgTypeName}/${string}`)[];
}

export const HELPER_WIDENINGS: readonly HelperWidening[] = [
  {
    helper: "get_attach_cookie",
    since: "6.10",
    before: [
      "KPROBE",
      "TRACEPOINT",
      "PERF_EVENT",
      "TRACING/TRACE_FENTRY",
      "TRACING/TRACE_FEXIT",
      "TRACING/MODIFY_RETURN",
      "LSM",
    ],
  },
  {
    helper: "get_ns_current_pid_tgid",
    since: "6.10",
    before: ["KPROBE", "TRACEPOINT", "PERF_EVENT", "RAW_TRACEPOINT", "RAW_TRACEPOINT_WRITABLE", "TRACING", "SYSCALL"],
  },
];
