/**
 * How the verifier changed: one row a change of behaviour, with the release that first has it. What a kernel has
 * (helpers, program types, map types …) is in the `since` columns of the other tables.
 *
 * Sources: kernel/bpf of linux 6.1 and 6.12 (Debian's, with the stable fixes), the log of kernel/bpf for what came
 * before, between and after. `stable`: the long-term series that took the change, and its patch level there.
 */

export interface KernelChange {
  /** First release with the change, as "6.8". */
  readonly since: string;
  /** Series that took it later: { "6.1": 91 } is 6.1.91. */
  readonly stable?: Readonly<Record<string, number>>;
  /** Where in the kernel's source. */
  readonly source: string;
  /** What a program (or its log) sees of it. */
  readonly what: string;
}

export const KERNEL_CHANGES = {
  staticRegLiveness: {
    since: "6.15",
    source: "verifier.c compute_live_registers",
    what: "registers nobody reads any more come from a data-flow analysis; states are compared without them",
  },
  staticStackLiveness: {
    since: "6.18",
    source: "liveness.c",
    what: "stack slots nobody reads any more come from a data-flow analysis; no read and write marks, mark_read is 0",
  },
  sccLoops: {
    since: "6.17",
    source: "verifier.c compute_scc, propagate_backedges",
    what: "loops are strongly connected components of the program; before, entries of loops were found as states met",
  },
} as const satisfies Readonly<Record<string, KernelChange>>;

export type KernelChangeName = keyof typeof KERNEL_CHANGES;
