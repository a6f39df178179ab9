import { type Bpf, u32 } from "bpfkit";

export const LIMIT = 2n ** 60n;
/** A subroutine in another file. */
export function parentPid(bpf: Bpf<"tracepoint" | "kprobe">): number {
  return u32(bpf.task().real_parent.tgid);
}
