/** What contexts are made from. */
import type { PtRegsArch } from "../../../uapi/pt-regs.ts";
import type { KernelObjects } from "../objects.ts";
import type { KernelTypes, MadeContext } from "../types.ts";

/** The world that a context belongs to. */
export interface ContextEnv {
  readonly kernel: KernelTypes;
  readonly objects: KernelObjects;
  /** Whose registers kprobes see, by `process.arch`. Default "x64". */
  readonly arch?: PtRegsArch;
  /** Thread id of the current task: `common_pid` of trace events. Default 1. */
  readonly pid?: number;
}

/** A context whose memory somebody else keeps count of. */
export type BareContext = Omit<MadeContext, "release">;
