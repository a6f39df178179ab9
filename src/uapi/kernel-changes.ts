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
    stable: { "6.1": 192, "6.12": 117, "6.18": 44 },
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
    stable: { "6.1": 192, "6.12": 117 },
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
  privateStacks: {
    since: "6.13",
    stable: { "6.12": 117 },
    source: "verifier.c bpf_enable_priv_stack",
    what: "tracing programs have a stack of their own for each function of 64 bytes or more",
  },
  packetDataOfCalls: {
    since: "6.13",
    stable: { "6.12": 10 },
    source: "verifier.c changes_pkt_data",
    what: "calls of global functions, and tail calls, that may move packet data end the checked ranges of packet pointers",
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
  scalarForks: {
    since: "7.0",
    stable: { "6.12": 117, "6.18": 44 },
    source: "verifier.c maybe_fork_scalars",
    what: "a value that is 0 or -1 and meets a constant by and, or: both cases are explored apart",
  },
  loadAcquire: {
    since: "6.15",
    source: "verifier.c check_atomic",
    what: "instructions load_acquire and store_release, atomics of 8 and 16 bits among them",
  },
  forcedCheckpoints: {
    since: "6.13",
    stable: { "6.12": 10, "6.6": 70 },
    source: "verifier.c is_state_visited",
    what: "a state is saved after 40 jumps whatever the other rules say",
  },
  hookReturnRanges: {
    since: "6.12",
    source: "bpf_lsm.c bpf_lsm_get_retval_range",
    what: "what a program of an LSM hook returns has to be in the hook's range",
  },
  linkHistory: {
    since: "6.12",
    source: "verifier.c collect_linked_regs",
    what: "at most six scalars are linked at a branch, and precision follows the links back",
  },
  addConstLinks: {
    since: "6.11",
    source: "verifier.c BPF_ADD_CONST",
    what: "scalars that differ by a constant stay linked",
  },
  helperTexts: {
    since: "6.10",
    source: "verifier.c check_helper_call",
    what: "a helper that exists, but not for this program type, is said to be so; before, it was unknown",
  },
  forEachManyMaps: {
    since: "6.10",
    source: "verifier.c set_map_elem_callback_state",
    what: "one call of bpf_for_each_map_elem may be given different maps on different ways",
  },
  unknownOperands: {
    since: "6.10",
    source: "verifier.c is_safe_to_compute_dst_reg_range",
    what: "products and bit operations with an operand of unknown value have ranges",
  },
  signsOfBitOps: {
    since: "6.10",
    source: "verifier.c scalar_min_max_and",
    what: "signed ranges of and, or, xor come from the unsigned ones whatever the operands' signs",
  },
  sourceFileInLog: {
    since: "6.10",
    source: "log.c verbose_linfo",
    what: "source lines in the log end with the file's name and the line's number",
  },
  stackRounding: {
    since: "6.9",
    source: "verifier.c round_up_stack_depth",
    what: "stacks of functions are rounded up to 16 bytes, and private ones (6.13) not added up; before, to 32, at least 32",
  },
  staticCallsUnderLock: {
    since: "6.9",
    source: "verifier.c do_check",
    what: "static functions may be called while a lock is held; before, nothing, and an exit of any function needed the unlock",
  },
  mayGoto: {
    since: "6.9",
    source: "verifier.c is_may_goto_insn, BPF_ADDR_SPACE_CAST",
    what: "instructions may_goto and addr_space_cast",
  },
  rangeDeductions: {
    since: "6.8",
    source: "verifier.c __reg_deduce_bounds",
    what: "64-bit and 32-bit ranges tighten each other, three times over",
  },
  rangesCompared: {
    since: "6.8",
    source: "verifier.c is_scalar_branch_taken, regs_refine_cond_op",
    what: "branches compare and refine two ranges; before, one side had to be a constant",
  },
  scalarSpills: {
    since: "6.8",
    source: "verifier.c check_stack_write_fixed_off",
    what: "every aligned scalar is spilled with its range, zero and unknown ones too; parts of it can be read back",
  },
  scalarIds: {
    since: "6.8",
    source: "verifier.c assign_scalar_id_before_mov",
    what: "spills, and 32-bit moves that lose nothing, keep scalars linked; constants have no id",
  },
  zeroSizeTexts: {
    since: "6.8",
    source: "verifier.c check_mem_size_reg",
    what: "a size that may be 0 where it must not is said to be so; before, the access itself was the error",
  },
  stackHistory: {
    since: "6.8",
    source: "verifier.c INSN_F_STACK_ACCESS",
    what: "precision follows stack accesses through any register, not through r10 alone",
  },
  lazyGlobalFuncs: {
    since: "6.8",
    source: "verifier.c do_check_subprogs",
    what: "global functions are verified only when something calls them",
  },
  funcArgTags: {
    since: "6.8",
    source: "btf.c btf_prepare_func_args",
    what: "arguments of global functions are described by tags (arg:ctx, arg:nonnull, …), and checked against them",
  },
  returnRangeTexts: {
    since: "6.8",
    source: "verifier.c check_return_code",
    what: "return values are checked as ranges, precisely; before, as known bits",
  },
  stateFormat: {
    since: "6.8",
    source: "log.c print_verifier_state",
    what: "printed states: equal bounds together, hexadecimal for large numbers, names of maps, no zero offsets",
  },
  exceptions: {
    since: "6.7",
    source: "verifier.c bpf_throw, exception callbacks",
    what: "bpf_throw, and a callback for it named by a tag of the program",
  },
  callbackLoops: {
    since: "6.7",
    stable: { "6.6": 8 },
    source: "verifier.c push_callback_call",
    what: "callbacks of bpf_loop and others are explored as loops; before, once",
  },
  exactLoopStates: {
    since: "6.7",
    stable: { "6.6": 8 },
    source: "verifier.c is_state_visited",
    what: "a loop is infinite only when states are the same exactly; both states are printed",
  },
  isaV4: {
    since: "6.6",
    source: "verifier.c BPF_MEMSX, BPF_MOVSX, BPF_SDIV, BSWAP, gotol",
    what: "instructions of -mcpu=v4: sign extension, signed division, unconditional bswap, long jumps",
  },
  longJumps: {
    since: "6.6",
    stable: { "6.1": 192 },
    source: "core.c, verifier.c BPF_JMP32 | BPF_JA",
    what: "unconditional jumps with a 32-bit offset (gotol)",
  },
  scalarIdsCompared: {
    since: "6.5",
    source: "verifier.c check_scalar_ids",
    what: "states are compared with their linked scalars",
  },
  kptrTags: {
    since: "6.4",
    source: "btf.c btf_find_kptr",
    what: "type tags kptr (referenced) and kptr_untrusted; before, kptr_ref and kptr",
  },
  kernelTypesGpl: {
    since: "6.4",
    source: "verifier.c check_ptr_to_btf_access",
    what: "kernel structs are read by programs with a GPL compatible licence only",
  },
  untrustedUnions: {
    since: "6.4",
    source: "btf.c btf_struct_walk",
    what: "what is read of a union of several members is untrusted, and may be read across its members",
  },
  callPrecision: {
    since: "6.4",
    source: "verifier.c __mark_chain_precision, backtrack_state",
    what: "precision is followed through calls; before, a call made every scalar precise",
  },
  loopsOverCalls: {
    since: "6.4",
    source: "verifier.c push_insn",
    what: "loops may be closed by falling through",
  },
  fmodRetSets: {
    since: "6.2",
    source: "btf.c btf_kfunc_is_modify_return",
    what: "functions are declared for fmod_ret programs one by one, beside the error injection list",
  },
  trustedPointers: {
    since: "6.2",
    source: "verifier.c PTR_TRUSTED, MEM_RCU",
    what: "BTF pointers are trusted, RCU protected or neither; before, all were taken for valid",
  },
  funcSymbols: {
    since: "6.2",
    source: "verifier.c check_pseudo_btf_id",
    what: "kernel symbols in ld_imm64 may be functions",
  },
  specialFieldRecords: {
    since: "6.2",
    source: "btf.c btf_parse_fields",
    what: "special fields of a value are found together: one bad one makes all of them unknown; before, kptrs alone",
  },
  dynptrSlots: {
    since: "6.3",
    source: "verifier.c destroy_if_dynptr_stack_slot",
    what: "overwriting a dynptr ends it and its slices; before, its bytes changed and nothing else",
  },
  typedStates: {
    since: "6.3",
    source: "verifier.c regsafe",
    what: "states are compared with ids of pointers and references, by type without exceptions",
  },
  uninitStackReads: {
    since: "6.3",
    stable: { "6.1": 30 },
    source: "verifier.c allow_uninit_stack",
    what: "privileged programs may read stack that was never written",
  },
  scalarTypeName: {
    since: "5.18",
    source: "verifier.c reg_type_str",
    what: "numbers are called scalar in messages; before, inv",
  },
  narrowSpills: {
    since: "5.16",
    source: "verifier.c save_register_state",
    what: "scalars of 1, 2 and 4 bytes are spilled with their range",
  },
  mapIndexes: {
    since: "5.14",
    source: "verifier.c BPF_PSEUDO_MAP_IDX",
    what: "instructions name maps by index into fd_array",
  },
  callbackFuncs: {
    since: "5.13",
    source: "verifier.c BPF_PSEUDO_FUNC",
    what: "addresses of functions in ld_imm64: callbacks",
  },
  kernelFuncs: {
    since: "5.13",
    source: "verifier.c BPF_PSEUDO_KFUNC_CALL",
    what: "calls of kernel functions",
  },
  atomicOps: {
    since: "5.12",
    source: "verifier.c check_atomic",
    what: "atomic operations beside the plain addition, and their results",
  },
  boundedSpills: {
    since: "5.10",
    source: "verifier.c check_stack_write",
    what: "scalars with a range are spilled with it; before, constants alone",
  },
  kernelSymbols: {
    since: "5.10",
    source: "verifier.c BPF_PSEUDO_BTF_ID",
    what: "addresses of kernel variables in ld_imm64",
  },
  sleepablePrograms: {
    since: "5.10",
    source: "syscall.c BPF_F_SLEEPABLE",
    what: "programs that may sleep",
  },
  tailCallsWithCalls: {
    since: "5.10",
    source: "verifier.c allow_tail_call_in_subprogs",
    what: "programs with functions may make tail calls",
  },
  subregRanges: {
    since: "5.7",
    source: "verifier.c u32_min_value",
    what: "the low 32 bits of numbers have ranges of their own",
  },
  globalFuncs: {
    since: "5.6",
    source: "verifier.c do_check_subprogs, btf.c btf_check_func_arg_match",
    what: "global functions are verified once, by their prototypes",
  },
} as const satisfies Readonly<Record<string, KernelChange>>;

export type KernelChangeName = keyof typeof KERNEL_CHANGES;
