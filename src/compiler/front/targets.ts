/** What the caller says of the machine and of its tracepoints. */
import type { PT_REGS } from "../../uapi/index.ts";

/** Architectures by `process.arch`. */
export type Arch = keyof typeof PT_REGS;

/** One field of a trace event, as its `format` file in tracefs has it. Offset and size in bytes. */
export interface TracepointField {
  readonly name: string;
  /** C type without the name, such as "const char *", "pid_t", "char[16]", "__data_loc char[]". */
  readonly type: string;
  readonly offset: number;
  readonly size: number;
  readonly signed: boolean;
  /** The field holds offset and length of the data, not the data (`__data_loc`, `__rel_loc`). */
  readonly dynamic?: "data_loc" | "rel_loc" | undefined;
}
export interface TracepointFormat {
  readonly fields: readonly TracepointField[];
}
