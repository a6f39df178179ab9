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
  tailCallForks: {
    since: "7.0",
    stable: { "6.18": 44 },
    source: "verifier.c check_helper_call",
    what: "a tail call in a function has a second path, on which the function returns",
  },
  packetLoadForks: {
    since: "7.0",
    stable: { "6.12": 117, "6.18": 44 },
    source: "verifier.c check_ld_abs",
    what: "a packet load (ld_abs, ld_ind) in a function has a second path, on which the function returns 0",
  },
  swappedBits: {
    since: "7.0",
    stable: { "6.18": 44 },
    source: "verifier.c adjust_scalar_min_max_vals, tnum_bswap",
    what: "byte swaps keep what is known of the bits; before, the result was unknown",
  },
  tnumSingleMember: {
    since: "7.0",
    stable: { "6.18": 44 },
    source: "verifier.c __update_reg64_bounds, tnum_step",
    what: "a range that holds only one value of the known bits makes that value known",
  },
  widerLinks: {
    since: "7.0",
    stable: { "6.18": 44 },
    source: "verifier.c sync_linked_regs, collect_linked_regs",
    what: "scalars stay linked over subtractions and 32-bit sums; only live ones are refined; ranges are synced",
  },
  callbackArgsKept: {
    since: "7.1",
    stable: { "6.12": 117 },
    source: "verifier.c backtrack_insn",
    what: "arguments of a call with a callback stay wanted precise over the callback's exit",
  },
  atomicFetchPrecision: {
    since: "7.1",
    stable: { "6.12": 117 },
    source: "verifier.c backtrack_insn, is_atomic_fetch_insn",
    what: "what an atomic fetch read is followed back as a load is; before, its precision was lost",
  },
  nullArgsPrecise: {
    since: "7.1",
    stable: { "6.12": 117 },
    source: "verifier.c check_func_arg",
    what: "a constant NULL (or 0) argument that decided how a call is checked is precise",
  },
  tnumMulUnion: {
    since: "6.18",
    source: "tnum.c tnum_mul",
    what: "products know more bits: an unknown bit gives the union of both sums",
  },
  negRanges: {
    since: "6.17",
    source: "verifier.c BPF_NEG in adjust_scalar_min_max_vals",
    what: "the ranges of a negated scalar are followed; before, the result was unknown",
  },
  wrappingSums: {
    since: "6.17",
    source: "verifier.c scalar_min_max_add, scalar_min_max_sub",
    what: "unsigned sums and differences that all wrap around still form a range",
  },
  productRanges: {
    since: "6.16",
    source: "verifier.c scalar_min_max_mul",
    what: "ranges of products of signed numbers and of factors above 32 bits are followed",
  },
  untrustedMem: {
    since: "6.17",
    source: "btf.c btf_struct_walk, verifier.c PTR_TO_MEM | PTR_UNTRUSTED",
    what: "pointers to primitive types in kernel structs are untrusted memory that may be read; before, scalars",
  },
  bugTexts: {
    since: "6.16",
    source: "verifier.c verifier_bug",
    what: "consistency checks of the verifier itself begin with \"verifier bug: \"",
  },
  refcountedRbNodes: {
    since: "6.16",
    source: "verifier.c check_kfunc_args, bpf_rbtree_remove",
    what: "bpf_rbtree_remove takes a refcounted node, and nodes are walked by left and right",
  },
  timedMayGoto: {
    since: "6.15",
    source: "verifier.c do_misc_fixups, bpf_jit_supports_timed_may_goto",
    what: "may_goto takes 16 bytes of stack (a count and a time), 8 before",
  },
  sleepableGlobalFuncs: {
    since: "6.15",
    source: "verifier.c check_func_call, might_sleep",
    what: "global functions that do not sleep may be called with preemption disabled",
  },
  helperAccessTypes: {
    since: "6.14",
    source: "verifier.c check_stack_range_initialized",
    what: "memory that a helper only reads keeps its contents; the word \"indirect\" left the messages about it",
  },
  fewerMemIds: {
    since: "6.13",
    source: "verifier.c do_check_common",
    what: "memory arguments of global functions have an id only where they may be NULL",
  },
  elidedLookupNull: {
    since: "6.14",
    source: "verifier.c get_constant_map_key",
    what: "a lookup in an array with a constant index in range is not NULL",
  },
  lockReferences: {
    since: "6.14",
    source: "verifier.c acquire_lock_state",
    what: "locks are among the references of a state, and print with them",
  },
  resourceLeakTexts: {
    since: "6.13",
    source: "verifier.c check_resource_leak",
    what: "one check and one wording for references, locks, RCU and preemption sections held at an exit",
  },
} as const satisfies Readonly<Record<string, KernelChange>>;

export type KernelChangeName = keyof typeof KERNEL_CHANGES;
