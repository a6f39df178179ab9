/**
 * perf_event_open(2): attr, sample and record types, ioctls, the control page of the ring. Values and offsets from
 * include/uapi/linux/perf_event.h of 6.18. Bit numbers of bit-fields count from the least significant bit of their
 * u64 on little-endian machines; s390x and other big-endian ones count from the most significant.
 */
import type { StructRow } from "./layout.ts";

export const PERF_TYPE = {
  HARDWARE: 0,
  SOFTWARE: 1,
  TRACEPOINT: 2,
  HW_CACHE: 3,
  RAW: 4,
  BREAKPOINT: 5,
} as const;

export const PERF_COUNT_HW = {
  CPU_CYCLES: 0,
  INSTRUCTIONS: 1,
  CACHE_REFERENCES: 2,
  CACHE_MISSES: 3,
  BRANCH_INSTRUCTIONS: 4,
  BRANCH_MISSES: 5,
  BUS_CYCLES: 6,
  STALLED_CYCLES_FRONTEND: 7,
  STALLED_CYCLES_BACKEND: 8,
  REF_CPU_CYCLES: 9,
} as const;

export const PERF_COUNT_SW = {
  CPU_CLOCK: 0,
  TASK_CLOCK: 1,
  PAGE_FAULTS: 2,
  CONTEXT_SWITCHES: 3,
  CPU_MIGRATIONS: 4,
  PAGE_FAULTS_MIN: 5,
  PAGE_FAULTS_MAJ: 6,
  ALIGNMENT_FAULTS: 7,
  EMULATION_FAULTS: 8,
  DUMMY: 9,
  BPF_OUTPUT: 10,
  CGROUP_SWITCHES: 11,
} as const;

/** Cache events: config = cache | op << 8 | result << 16. */
export const PERF_COUNT_HW_CACHE = {
  L1D: 0,
  L1I: 1,
  LL: 2,
  DTLB: 3,
  ITLB: 4,
  BPU: 5,
  NODE: 6,
  OP_READ: 0,
  OP_WRITE: 1,
  OP_PREFETCH: 2,
  RESULT_ACCESS: 0,
  RESULT_MISS: 1,
} as const;

export const PERF_SAMPLE = {
  IP: 1,
  TID: 2,
  TIME: 4,
  ADDR: 8,
  READ: 16,
  CALLCHAIN: 32,
  ID: 64,
  CPU: 128,
  PERIOD: 0x100,
  STREAM_ID: 0x200,
  RAW: 0x400,
  BRANCH_STACK: 0x800,
  REGS_USER: 0x1000,
  STACK_USER: 0x2000,
  WEIGHT: 0x4000,
  DATA_SRC: 0x8000,
  IDENTIFIER: 0x10000,
  TRANSACTION: 0x20000,
  REGS_INTR: 0x40000,
  PHYS_ADDR: 0x80000,
  AUX: 0x100000,
  CGROUP: 0x200000,
  DATA_PAGE_SIZE: 0x400000,
  CODE_PAGE_SIZE: 0x800000,
  WEIGHT_STRUCT: 0x1000000,
} as const;

export type PerfSampleName = keyof typeof PERF_SAMPLE;

/** Bits of perf_event_attr.read_format. */
export const PERF_FORMAT = {
  TOTAL_TIME_ENABLED: 1,
  TOTAL_TIME_RUNNING: 2,
  ID: 4,
  GROUP: 8,
  LOST: 16,
} as const;

/** Record types in the ring. */
export const PERF_RECORD = {
  MMAP: 1,
  LOST: 2,
  COMM: 3,
  EXIT: 4,
  THROTTLE: 5,
  UNTHROTTLE: 6,
  FORK: 7,
  READ: 8,
  SAMPLE: 9,
  MMAP2: 10,
  AUX: 11,
  ITRACE_START: 12,
  LOST_SAMPLES: 13,
  SWITCH: 14,
  SWITCH_CPU_WIDE: 15,
  NAMESPACES: 16,
  KSYMBOL: 17,
  BPF_EVENT: 18,
  CGROUP: 19,
  TEXT_POKE: 20,
  AUX_OUTPUT_HW_ID: 21,
} as const;

/** perf_event_header.misc. */
export const PERF_RECORD_MISC = {
  CPUMODE_MASK: 7,
  KERNEL: 1,
  USER: 2,
  HYPERVISOR: 3,
  GUEST_KERNEL: 4,
  GUEST_USER: 5,
  COMM_EXEC: 0x2000,
  EXACT_IP: 0x4000,
  MMAP_BUILD_ID: 0x4000,
} as const;

/** Flags of the system call. */
export const PERF_FLAG = {
  FD_NO_GROUP: 1,
  FD_OUTPUT: 2,
  PID_CGROUP: 4,
  FD_CLOEXEC: 8,
} as const;

/** Markers inside a call chain: what follows was run in this context. */
export const PERF_CONTEXT = {
  HV: -32n,
  KERNEL: -128n,
  USER: -512n,
  GUEST: -2048n,
  GUEST_KERNEL: -2176n,
  GUEST_USER: -2560n,
} as const;

/** A part of a PERF_RECORD_SAMPLE. */
export interface PerfSampleRow {
  readonly name: PerfSampleName;
  readonly bit: number;
  readonly holds: string;
  readonly since: string;
}

/** Parts of a PERF_RECORD_SAMPLE in the order in which the record holds them (a part is there when its bit is set in sample_type). */
export const PERF_SAMPLE_PARTS: readonly PerfSampleRow[] = [
  { name: "IDENTIFIER", bit: 0x10000, holds: "u64 id", since: "3.12" },
  { name: "IP", bit: 1, holds: "u64 ip", since: "2.6.31" },
  { name: "TID", bit: 2, holds: "u32 pid, u32 tid", since: "2.6.31" },
  { name: "TIME", bit: 4, holds: "u64 time, ns of the event's clock", since: "2.6.31" },
  { name: "ADDR", bit: 8, holds: "u64 addr", since: "2.6.31" },
  { name: "ID", bit: 64, holds: "u64 id", since: "2.6.31" },
  { name: "STREAM_ID", bit: 0x200, holds: "u64 stream_id", since: "2.6.31" },
  { name: "CPU", bit: 128, holds: "u32 cpu, u32 reserved", since: "2.6.31" },
  { name: "PERIOD", bit: 0x100, holds: "u64 period", since: "2.6.31" },
  { name: "READ", bit: 16, holds: "struct read_format", since: "2.6.31" },
  { name: "CALLCHAIN", bit: 32, holds: "u64 nr, u64 ips[nr]", since: "2.6.31" },
  { name: "RAW", bit: 0x400, holds: "u32 size, u8 data[size]", since: "2.6.31" },
  { name: "BRANCH_STACK", bit: 0x800, holds: "u64 nr, (u64 hw_idx), struct perf_branch_entry lbr[nr]", since: "3.4" },
  { name: "REGS_USER", bit: 0x1000, holds: "u64 abi, u64 regs[weight(mask)]", since: "3.7" },
  { name: "STACK_USER", bit: 0x2000, holds: "u64 size, u8 data[size], u64 dyn_size", since: "3.7" },
  { name: "WEIGHT", bit: 0x4000, holds: "u64 weight", since: "3.10" },
  { name: "WEIGHT_STRUCT", bit: 0x1000000, holds: "u64 weight", since: "5.12" },
  { name: "DATA_SRC", bit: 0x8000, holds: "u64 data_src", since: "3.10" },
  { name: "TRANSACTION", bit: 0x20000, holds: "u64 transaction", since: "3.13" },
  { name: "REGS_INTR", bit: 0x40000, holds: "u64 abi, u64 regs[weight(mask)]", since: "3.19" },
  { name: "PHYS_ADDR", bit: 0x80000, holds: "u64 phys_addr", since: "4.14" },
  { name: "CGROUP", bit: 0x200000, holds: "u64 cgroup", since: "5.7" },
  { name: "DATA_PAGE_SIZE", bit: 0x400000, holds: "u64 data_page_size", since: "5.11" },
  { name: "CODE_PAGE_SIZE", bit: 0x800000, holds: "u64 code_page_size", since: "5.11" },
  { name: "AUX", bit: 0x100000, holds: "u64 size, u8 data[size]", since: "5.5" },
];

/** `struct perf_event_attr`. Older kernels know a prefix only: `PERF_ATTR_SIZES`. */
export const PERF_EVENT_ATTR: StructRow = {
  name: "perf_event_attr",
  size: 136,
  since: "2.6.31",
  fields: [
    { name: "type", offset: 0, size: 4, type: "u32", since: "2.6.31" },
    { name: "size", offset: 4, size: 4, type: "u32", since: "2.6.31" },
    { name: "config", offset: 8, size: 8, type: "u64", since: "2.6.31" },
    { name: "sample_period", offset: 16, size: 8, type: "u64", since: "2.6.31" },
    { name: "sample_freq", offset: 16, size: 8, type: "u64", since: "2.6.31" },
    { name: "sample_type", offset: 24, size: 8, type: "u64", since: "2.6.31" },
    { name: "read_format", offset: 32, size: 8, type: "u64", since: "2.6.31" },
    { name: "disabled", offset: 40, size: 8, type: "u64", bit: 320, bits: 1, since: "2.6.31" },
    { name: "inherit", offset: 40, size: 8, type: "u64", bit: 321, bits: 1, since: "2.6.31" },
    { name: "pinned", offset: 40, size: 8, type: "u64", bit: 322, bits: 1, since: "2.6.31" },
    { name: "exclusive", offset: 40, size: 8, type: "u64", bit: 323, bits: 1, since: "2.6.31" },
    { name: "exclude_user", offset: 40, size: 8, type: "u64", bit: 324, bits: 1, since: "2.6.31" },
    { name: "exclude_kernel", offset: 40, size: 8, type: "u64", bit: 325, bits: 1, since: "2.6.31" },
    { name: "exclude_hv", offset: 40, size: 8, type: "u64", bit: 326, bits: 1, since: "2.6.31" },
    { name: "exclude_idle", offset: 40, size: 8, type: "u64", bit: 327, bits: 1, since: "2.6.31" },
    { name: "mmap", offset: 40, size: 8, type: "u64", bit: 328, bits: 1, since: "2.6.31" },
    { name: "comm", offset: 40, size: 8, type: "u64", bit: 329, bits: 1, since: "2.6.31" },
    { name: "freq", offset: 40, size: 8, type: "u64", bit: 330, bits: 1, since: "2.6.31" },
    { name: "inherit_stat", offset: 40, size: 8, type: "u64", bit: 331, bits: 1, since: "2.6.31" },
    { name: "enable_on_exec", offset: 40, size: 8, type: "u64", bit: 332, bits: 1, since: "2.6.31" },
    { name: "task", offset: 40, size: 8, type: "u64", bit: 333, bits: 1, since: "2.6.31" },
    { name: "watermark", offset: 40, size: 8, type: "u64", bit: 334, bits: 1, since: "2.6.32" },
    { name: "precise_ip", offset: 40, size: 8, type: "u64", bit: 335, bits: 2, since: "2.6.35" },
    { name: "mmap_data", offset: 40, size: 8, type: "u64", bit: 337, bits: 1, since: "2.6.36" },
    { name: "sample_id_all", offset: 40, size: 8, type: "u64", bit: 338, bits: 1, since: "2.6.38" },
    { name: "exclude_host", offset: 40, size: 8, type: "u64", bit: 339, bits: 1, since: "3.2" },
    { name: "exclude_guest", offset: 40, size: 8, type: "u64", bit: 340, bits: 1, since: "3.2" },
    { name: "exclude_callchain_kernel", offset: 40, size: 8, type: "u64", bit: 341, bits: 1, since: "3.7" },
    { name: "exclude_callchain_user", offset: 40, size: 8, type: "u64", bit: 342, bits: 1, since: "3.7" },
    { name: "mmap2", offset: 40, size: 8, type: "u64", bit: 343, bits: 1, since: "3.16" },
    { name: "comm_exec", offset: 40, size: 8, type: "u64", bit: 344, bits: 1, since: "3.16" },
    { name: "use_clockid", offset: 40, size: 8, type: "u64", bit: 345, bits: 1, since: "4.1" },
    { name: "context_switch", offset: 40, size: 8, type: "u64", bit: 346, bits: 1, since: "4.3" },
    { name: "write_backward", offset: 40, size: 8, type: "u64", bit: 347, bits: 1, since: "4.7" },
    { name: "namespaces", offset: 40, size: 8, type: "u64", bit: 348, bits: 1, since: "4.12" },
    { name: "ksymbol", offset: 40, size: 8, type: "u64", bit: 349, bits: 1, since: "5.1" },
    { name: "bpf_event", offset: 40, size: 8, type: "u64", bit: 350, bits: 1, since: "5.1" },
    { name: "aux_output", offset: 40, size: 8, type: "u64", bit: 351, bits: 1, since: "5.4" },
    { name: "cgroup", offset: 40, size: 8, type: "u64", bit: 352, bits: 1, since: "5.7" },
    { name: "text_poke", offset: 40, size: 8, type: "u64", bit: 353, bits: 1, since: "5.9" },
    { name: "build_id", offset: 40, size: 8, type: "u64", bit: 354, bits: 1, since: "5.12" },
    { name: "inherit_thread", offset: 40, size: 8, type: "u64", bit: 355, bits: 1, since: "5.13" },
    { name: "remove_on_exec", offset: 40, size: 8, type: "u64", bit: 356, bits: 1, since: "5.13" },
    { name: "sigtrap", offset: 40, size: 8, type: "u64", bit: 357, bits: 1, since: "5.13" },
    { name: "wakeup_events", offset: 48, size: 4, type: "u32", since: "2.6.31" },
    { name: "wakeup_watermark", offset: 48, size: 4, type: "u32", since: "2.6.32" },
    { name: "bp_type", offset: 52, size: 4, type: "u32", since: "2.6.33" },
    { name: "bp_addr", offset: 56, size: 8, type: "u64", since: "2.6.33" },
    { name: "kprobe_func", offset: 56, size: 8, type: "u64", pointer: true, since: "4.17" },
    { name: "uprobe_path", offset: 56, size: 8, type: "u64", pointer: true, since: "4.17" },
    { name: "config1", offset: 56, size: 8, type: "u64", since: "2.6.39" },
    { name: "bp_len", offset: 64, size: 8, type: "u64", since: "2.6.33" },
    { name: "kprobe_addr", offset: 64, size: 8, type: "u64", since: "4.17" },
    { name: "probe_offset", offset: 64, size: 8, type: "u64", since: "4.17" },
    { name: "config2", offset: 64, size: 8, type: "u64", since: "2.6.39" },
    { name: "branch_sample_type", offset: 72, size: 8, type: "u64", since: "3.4" },
    { name: "sample_regs_user", offset: 80, size: 8, type: "u64", since: "3.7" },
    { name: "sample_stack_user", offset: 88, size: 4, type: "u32", since: "3.7" },
    { name: "clockid", offset: 92, size: 4, type: "s32", since: "4.1" },
    { name: "sample_regs_intr", offset: 96, size: 8, type: "u64", since: "3.19" },
    { name: "aux_watermark", offset: 104, size: 4, type: "u32", since: "4.1" },
    { name: "sample_max_stack", offset: 108, size: 2, type: "u16", since: "4.8" },
    { name: "aux_sample_size", offset: 112, size: 4, type: "u32", since: "5.5" },
    { name: "aux_action", offset: 116, size: 4, type: "u32", since: "6.13" },
    { name: "aux_start_paused", offset: 116, size: 4, type: "u32", bit: 928, bits: 1, since: "6.13" },
    { name: "aux_pause", offset: 116, size: 4, type: "u32", bit: 929, bits: 1, since: "6.13" },
    { name: "aux_resume", offset: 116, size: 4, type: "u32", bit: 930, bits: 1, since: "6.13" },
    { name: "sig_data", offset: 120, size: 8, type: "u64", since: "5.13" },
    { name: "config3", offset: 128, size: 8, type: "u64", since: "6.3" },
  ],
};

/** Sizes of `perf_event_attr` by the release that grew it. */
export const PERF_ATTR_SIZES: readonly { readonly since: string; readonly size: number }[] = [
  { since: "2.6.31", size: 64 },
  { since: "2.6.33", size: 72 },
  { since: "3.4", size: 80 },
  { since: "3.7", size: 96 },
  { since: "3.19", size: 104 },
  { since: "4.1", size: 112 },
  { since: "5.5", size: 120 },
  { since: "5.13", size: 128 },
  { since: "6.3", size: 136 },
];

/** The control page: the first page of the mapping. data_head and data_tail run freely; the data starts at data_offset. */
export const PERF_EVENT_MMAP_PAGE: StructRow = {
  name: "perf_event_mmap_page",
  size: 1088,
  since: "2.6.31",
  fields: [
    { name: "version", offset: 0, size: 4, type: "u32", since: "2.6.31" },
    { name: "compat_version", offset: 4, size: 4, type: "u32", since: "2.6.31" },
    { name: "lock", offset: 8, size: 4, type: "u32", since: "2.6.31" },
    { name: "index", offset: 12, size: 4, type: "u32", since: "2.6.31" },
    { name: "offset", offset: 16, size: 8, type: "s64", since: "2.6.31" },
    { name: "time_enabled", offset: 24, size: 8, type: "u64", since: "2.6.31" },
    { name: "time_running", offset: 32, size: 8, type: "u64", since: "2.6.31" },
    { name: "pmc_width", offset: 48, size: 2, type: "u16", since: "3.4" },
    { name: "time_shift", offset: 50, size: 2, type: "u16", since: "3.4" },
    { name: "time_mult", offset: 52, size: 4, type: "u32", since: "3.4" },
    { name: "time_offset", offset: 56, size: 8, type: "u64", since: "3.4" },
    { name: "time_zero", offset: 64, size: 8, type: "u64", since: "3.12" },
    { name: "size", offset: 72, size: 4, type: "u32", since: "3.12" },
    { name: "time_cycles", offset: 80, size: 8, type: "u64", since: "5.10" },
    { name: "time_mask", offset: 88, size: 8, type: "u64", since: "5.10" },
    { name: "data_head", offset: 1024, size: 8, type: "u64", since: "2.6.31" },
    { name: "data_tail", offset: 1032, size: 8, type: "u64", since: "2.6.31" },
    { name: "data_offset", offset: 1040, size: 8, type: "u64", since: "4.1" },
    { name: "data_size", offset: 1048, size: 8, type: "u64", since: "4.1" },
    { name: "aux_head", offset: 1056, size: 8, type: "u64", since: "4.1" },
    { name: "aux_tail", offset: 1064, size: 8, type: "u64", since: "4.1" },
    { name: "aux_offset", offset: 1072, size: 8, type: "u64", since: "4.1" },
    { name: "aux_size", offset: 1080, size: 8, type: "u64", since: "4.1" },
  ],
};

/** Head of every record in the ring; `size` counts it. */
export const PERF_EVENT_HEADER: StructRow = {
  name: "perf_event_header",
  size: 8,
  since: "2.6.31",
  fields: [
    { name: "type", offset: 0, size: 4, type: "u32", since: "2.6.31" },
    { name: "misc", offset: 4, size: 2, type: "u16", since: "2.6.31" },
    { name: "size", offset: 6, size: 2, type: "u16", since: "2.6.31" },
  ],
};

/** An ioctl of a perf event; `number` within type '$', `size` bytes of its argument. */
export interface PerfIoctlRow {
  readonly name: string;
  readonly direction: "none" | "read" | "write" | "readwrite";
  readonly number: number;
  readonly size: number;
  readonly since: string;
}

export const PERF_IOCTLS = [
  { name: "ENABLE", direction: "none", number: 0, size: 0, since: "2.6.31" },
  { name: "DISABLE", direction: "none", number: 1, size: 0, since: "2.6.31" },
  { name: "REFRESH", direction: "none", number: 2, size: 0, since: "2.6.31" },
  { name: "RESET", direction: "none", number: 3, size: 0, since: "2.6.31" },
  { name: "PERIOD", direction: "write", number: 4, size: 8, since: "2.6.31" },
  { name: "SET_OUTPUT", direction: "none", number: 5, size: 0, since: "2.6.32" },
  { name: "SET_FILTER", direction: "write", number: 6, size: 8, since: "2.6.33" },
  { name: "ID", direction: "read", number: 7, size: 8, since: "3.12" },
  { name: "SET_BPF", direction: "write", number: 8, size: 4, since: "4.1" },
  { name: "PAUSE_OUTPUT", direction: "write", number: 9, size: 4, since: "4.7" },
  { name: "QUERY_BPF", direction: "readwrite", number: 10, size: 8, since: "4.16" },
  { name: "MODIFY_ATTRIBUTES", direction: "write", number: 11, size: 8, since: "4.17" },
] as const satisfies readonly PerfIoctlRow[];

export type PerfIoctlName = (typeof PERF_IOCTLS)[number]["name"];

/** Argument of the ioctls that may reach a whole group. */
export const PERF_IOC_FLAG_GROUP = 1;

/**
 * The request number of PERF_EVENT_IOC_`name` on `arch` (a `process.arch`): include/uapi/asm-generic/ioctl.h, and
 * arch/powerpc/include/uapi/asm/ioctl.h for ppc64, which orders the direction bits differently.
 *
 * @example
 * import { perfIoctl } from "bpfkit/uapi";
 * perfIoctl("x64", "SET_BPF"); // 0x40042408
 */
export function perfIoctl(arch: string, name: PerfIoctlName): number {
  const row = PERF_IOCTLS.find((r) => r.name === name) as PerfIoctlRow;
  const directions =
    arch === "ppc64"
      ? { none: 0x2000_0000, read: 0x4000_0000, write: 0x8000_0000, readwrite: 0xc000_0000 }
      : { none: 0, read: 0x8000_0000, write: 0x4000_0000, readwrite: 0xc000_0000 };
  return directions[row.direction] + row.size * 0x1_0000 + 0x2400 + row.number;
}
