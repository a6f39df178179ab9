/** An errno from the kernel, explained: what is in the way on this machine, and what to do about it. */
import { BpfkitError } from "../core/errors.ts";
import { errnoName, errnoRow } from "../uapi/errno.ts";
import { type Explanation, explainErrno } from "./explain.ts";
import type { Kernel } from "./kernel.ts";

/**
 * A system call failed. `command` is the bpf(2) command ("BPF_PROG_LOAD") or the system
 * call ("perf_event_open"); `reasons` are facts found on this machine that explain it.
 */
export class SyscallError extends BpfkitError {
  override readonly name = "SyscallError";
  /** Positive, such as 1 for EPERM. */
  readonly errno: number;
  /** Such as "EPERM". */
  readonly errnoName: string;
  readonly command: string;
  /** What it was about, such as `map "events"`; "" when there is nothing to name. */
  readonly subject: string;
  readonly reasons: readonly string[];
  readonly help: string | undefined;

  constructor(command: string, errno: number, subject: string, explanation: Explanation, cause?: unknown) {
    const name = errnoName(errno);
    const text = errnoRow(errno)?.text;
    const head = `${command}${subject === "" ? "" : ` of ${subject}`}: ${name}${text === undefined ? "" : ` (${text})`}`;
    const why = explanation.reasons.length === 0 ? "" : `: ${explanation.reasons.join("; ")}`;
    super("SYSCALL", `${head}${why}${explanation.help === undefined ? "" : `. ${explanation.help}`}`, { cause });
    this.command = command;
    this.errno = errno;
    this.errnoName = name;
    this.subject = subject;
    this.reasons = explanation.reasons;
    this.help = explanation.help;
  }
}

/** What a call was about; used to explain its errno. */
export interface CallContext {
  /** `map "events"`, `program onExec (tracepoint)`, … */
  readonly subject?: string;
  /** `BPF_PROG_TYPE_*` of a program being loaded. */
  readonly progType?: number;
  /** `BPF_MAP_TYPE_*` of a map being created. */
  readonly mapType?: number;
  /** Facts that the caller knows and this module cannot. */
  readonly reasons?: readonly string[];
}

/** The error for a negative result of `command`. */
export function syscallError(kernel: Kernel, command: string, result: number, context: CallContext = {}): SyscallError {
  const errno = Math.abs(result);
  return new SyscallError(command, errno, context.subject ?? "", explainErrno(kernel, command, errno, context));
}

/**
 * `result` when it is a success, else the explained `SyscallError`.
 *
 * @example
 * const fd = check(kernel, kernel.open("/sys/kernel/btf/vmlinux", 0), "open");
 */
export function check(kernel: Kernel, result: number, command: string, context?: CallContext): number {
  if (result < 0) throw syscallError(kernel, command, result, context);
  return result;
}
