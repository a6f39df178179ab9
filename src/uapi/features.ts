/**
 * Kernel releases and what each brought, beyond single helpers, map types and so on (their rows have `since`).
 * `probe`: the name of libbpf's feature probe (tools/lib/bpf/features.c). Releases are those of the commits in kernel/bpf,
 * kernel/trace and net; `exact: false`: later than 6.18, which lacks it; the release given is a lower bound.
 */

/** One feature. */
export interface FeatureRow {
  readonly name: string;
  readonly since: string;
  readonly what: string;
  /** Name of libbpf's probe for it. */
  readonly probe?: string;
  readonly exact?: false;
}

export const FEATURES = [
  { name: "prog_name", since: "4.15", what: "names of programs and maps", probe: "prog_name" },
  { name: "bpf_to_bpf_calls", since: "4.16", what: "subprograms (BPF_PSEUDO_CALL)" },
  { name: "expected_attach_type", since: "4.17", what: "expected_attach_type of PROG_LOAD", probe: "exp_attach_type" },
  { name: "syscall_wrapper", since: "4.17", what: "system calls take pt_regs (__x64_sys_…)", probe: "syscall_wrapper" },
  { name: "btf", since: "4.18", what: "BTF_LOAD", probe: "btf" },
  { name: "map_in_map_btf", since: "4.18", what: "BTF key and value types of maps" },
  { name: "any_alignment", since: "5.0", what: "BPF_F_ANY_ALIGNMENT" },
  { name: "func_info", since: "5.0", what: "BTF functions, func_info and line_info", probe: "btf_func" },
  { name: "jmp32", since: "5.1", what: "32-bit conditional jumps (ISA v3)" },
  { name: "map_value_spin_lock", since: "5.1", what: "bpf_spin_lock in map values" },
  { name: "global_data", since: "5.2", what: ".data, .rodata and .bss maps (BPF_PSEUDO_MAP_VALUE)", probe: "global_data" },
  { name: "btf_datasec", since: "5.2", what: "BTF kinds VAR and DATASEC", probe: "btf_datasec" },
  { name: "map_freeze", since: "5.2", what: "MAP_FREEZE; constants of frozen maps are known to the verifier" },
  { name: "insns_1m", since: "5.2", what: "a million instructions for privileged programs (4096 before)" },
  { name: "bounded_loops", since: "5.3", what: "backward jumps" },
  { name: "array_mmap", since: "5.5", what: "BPF_F_MMAPABLE", probe: "array_mmap" },
  { name: "probe_read_kernel", since: "5.5", what: "bpf_probe_read_{kernel,user}[_str]", probe: "probe_read_kern" },
  { name: "trampoline", since: "5.5", what: "fentry, fexit, tp_btf" },
  { name: "vmlinux_btf", since: "5.4", what: "/sys/kernel/btf/vmlinux" },
  { name: "global_func", since: "5.6", what: "global functions verified on their own", probe: "btf_global_func" },
  { name: "batch_ops", since: "5.6", what: "MAP_*_BATCH" },
  { name: "bpf_link", since: "5.7", what: "LINK_CREATE" },
  { name: "cap_bpf", since: "5.8", what: "CAP_BPF and CAP_PERFMON" },
  { name: "ringbuf", since: "5.8", what: "BPF_MAP_TYPE_RINGBUF" },
  { name: "bpf_iter", since: "5.8", what: "iterator programs" },
  { name: "tail_call_in_subprog", since: "5.10", what: "tail calls from subprograms (x86-64; arm64: 6.0)" },
  { name: "sleepable", since: "5.10", what: "BPF_F_SLEEPABLE" },
  { name: "prog_bind_map", since: "5.10", what: "PROG_BIND_MAP", probe: "prog_bind_map" },
  { name: "memcg_accounting", since: "5.11", what: "memory is charged to the cgroup, not to RLIMIT_MEMLOCK", probe: "memcg_account" },
  { name: "module_btf", since: "5.11", what: "BTF of modules", probe: "module_btf" },
  { name: "atomics", since: "5.12", what: "fetching atomics, xchg, cmpxchg (ISA v3)" },
  { name: "kfunc", since: "5.13", what: "calls of kernel functions" },
  { name: "callbacks", since: "5.13", what: "subprograms as callbacks (BPF_PSEUDO_FUNC)" },
  { name: "btf_float", since: "5.13", what: "BTF kind FLOAT", probe: "btf_float" },
  { name: "fd_array", since: "5.14", what: "fd_array of PROG_LOAD, map indices in ld_imm64" },
  { name: "perf_link", since: "5.15", what: "links of kprobe, uprobe, tracepoint and perf_event programs", probe: "perf_link" },
  { name: "bpf_cookie", since: "5.15", what: "bpf_get_attach_cookie", probe: "bpf_cookie" },
  { name: "timer", since: "5.15", what: "bpf_timer" },
  { name: "btf_decl_tag", since: "5.16", what: "BTF kind DECL_TAG", probe: "btf_decl_tag" },
  { name: "btf_type_tag", since: "5.17", what: "BTF kind TYPE_TAG", probe: "btf_type_tag" },
  { name: "core_in_kernel", since: "5.17", what: "CO-RE relocation by the kernel" },
  { name: "bpf_loop", since: "5.17", what: "bpf_loop" },
  { name: "kprobe_multi", since: "5.18", what: "one link on many kernel functions" },
  { name: "xdp_frags", since: "5.18", what: "XDP programs on packets of several buffers" },
  { name: "kptr", since: "5.19", what: "kernel pointers in map values" },
  { name: "dynptr", since: "5.19", what: "bpf_dynptr" },
  { name: "btf_enum64", since: "6.0", what: "BTF kind ENUM64", probe: "btf_enum64" },
  { name: "user_ringbuf", since: "6.1", what: "BPF_MAP_TYPE_USER_RINGBUF" },
  { name: "rcu_read_lock", since: "6.2", what: "bpf_rcu_read_lock, allocated objects, linked lists" },
  { name: "cpumask", since: "6.3", what: "bpf_cpumask_*, red-black trees" },
  { name: "open_coded_iterators", since: "6.4", what: "bpf_iter_num_* and the like" },
  { name: "log_true_size", since: "6.4", what: "log_true_size; a log that does not fit is truncated at its start" },
  { name: "isa_v4", since: "6.6", what: "movsx, ldsx, bswap, sdiv, smod, gotol" },
  { name: "tcx", since: "6.6", what: "tcx links" },
  { name: "uprobe_multi_link", since: "6.6", what: "one link on many user functions", probe: "uprobe_multi_link" },
  { name: "exceptions", since: "6.7", what: "bpf_throw" },
  { name: "arg_ctx_tag", since: "6.8", what: "__arg_ctx and the like on global functions", probe: "arg_ctx_tag" },
  { name: "arena", since: "6.9", what: "BPF_MAP_TYPE_ARENA, addr_space_cast" },
  { name: "may_goto", since: "6.9", what: "may_goto" },
  { name: "token", since: "6.9", what: "TOKEN_CREATE" },
  { name: "btf_qmark_datasec", since: "6.9", what: "DATASEC names of any printable characters (?.struct_ops)", probe: "btf_qmark_datasec" },
  { name: "kprobe_session", since: "6.10", what: "one program at entry and return" },
  { name: "fastcall", since: "6.12", what: "bpf_fastcall: inlined calls that keep r1 to r5" },
  { name: "private_stack", since: "6.13", what: "private stacks (x86-64, arm64 later)" },
  { name: "uprobe_session", since: "6.13", what: "one program at entry and return of a user function" },
  { name: "fd_array_cnt", since: "6.14", what: "maps bound by fd_array_cnt" },
  { name: "load_acquire", since: "6.15", what: "load_acquire and store_release" },
  { name: "res_spin_lock", since: "6.15", what: "bpf_res_spin_lock" },
  { name: "streams", since: "6.17", what: "PROG_STREAM_READ_BY_FD, bpf_stream_vprintk_impl" },
  { name: "prog_signature", since: "6.18", what: "signed programs, exclusive maps" },
  { name: "task_work", since: "6.18", what: "bpf_task_work_schedule_*" },
  { name: "uprobe_syscall", since: "6.18", what: "uprobes by system call instead of a breakpoint (x86-64)", probe: "uprobe_syscall" },
  { name: "insn_array", since: "6.19", what: "BPF_MAP_TYPE_INSN_ARRAY, indirect jumps" },
  { name: "ldimm64_full_range_off", since: "6.19", what: "offsets above 2^29 in ld_imm64 of a map value", probe: "ldimm64_full_range_off", exact: false },
  { name: "btf_layout", since: "6.19", what: "BTF headers that describe their kinds", probe: "btf_layout", exact: false },
  { name: "bpf_syscall_common_attrs", since: "6.19", what: "attributes common to all commands", probe: "bpf_syscall_common_attrs", exact: false },
] as const satisfies readonly FeatureRow[];

export type FeatureName = (typeof FEATURES)[number]["name"];

/**
 * Major and minor of a kernel release: [6, 18] for "6.18.44-x", "v6.18" or "6.18". Undefined for anything else.
 */
export function parseKernel(release: string): readonly [major: number, minor: number] | undefined {
  const match = /^v?(\d{1,4})\.(\d{1,4})(?![\d])/.exec(release);
  return match === null ? undefined : [Number(match[1]), Number(match[2])];
}

/**
 * True when kernel `release` is `since` or newer. Distributions back-port: where the running kernel can be asked, ask it. False
 * when either is no kernel release.
 *
 * @example
 * import { kernelAtLeast } from "bpfkit/uapi";
 * kernelAtLeast("6.1.0-56-cloud-amd64", "5.8"); // true
 */
export function kernelAtLeast(release: string, since: string): boolean {
  const a = parseKernel(release);
  const b = parseKernel(since);
  if (a === undefined || b === undefined) return false;
  return a[0] !== b[0] ? a[0] > b[0] : a[1] >= b[1];
}

/** Release that brought a feature, such as "5.8". */
export function featureSince(name: FeatureName): string {
  return FEATURES.find((row) => row.name === name)?.since ?? "";
}
