/** perf_event_open(2): `struct perf_event_attr` and the ioctls of an event. Source: include/uapi/linux/perf_event.h of 6.18. */
import { hostEndian } from "../core/index.ts";
import { check } from "./errors.ts";
import { Fd } from "./fd.ts";
import type { Kernel } from "./kernel.ts";

const LITTLE = hostEndian === "little";

/** `enum perf_type_id`. Dynamic PMUs (uprobe, kprobe) have their number in sysfs. */
export const PERF_TYPE = { HARDWARE: 0, SOFTWARE: 1, TRACEPOINT: 2, HW_CACHE: 3, RAW: 4, BREAKPOINT: 5 } as const;

/** `enum perf_sw_ids`. */
export const PERF_COUNT_SW = {
  CPU_CLOCK: 0, TASK_CLOCK: 1, PAGE_FAULTS: 2, CONTEXT_SWITCHES: 3, CPU_MIGRATIONS: 4, PAGE_FAULTS_MIN: 5, PAGE_FAULTS_MAJ: 6,
  ALIGNMENT_FAULTS: 7, EMULATION_FAULTS: 8, DUMMY: 9, BPF_OUTPUT: 10, CGROUP_SWITCHES: 11,
} as const;

/** `enum perf_hw_id`. */
export const PERF_COUNT_HW = {
  CPU_CYCLES: 0, INSTRUCTIONS: 1, CACHE_REFERENCES: 2, CACHE_MISSES: 3, BRANCH_INSTRUCTIONS: 4, BRANCH_MISSES: 5, BUS_CYCLES: 6,
  STALLED_CYCLES_FRONTEND: 7, STALLED_CYCLES_BACKEND: 8, REF_CPU_CYCLES: 9,
} as const;

/** `PERF_SAMPLE_RAW`: what bpf_perf_event_output writes. */
export const PERF_SAMPLE_RAW = 1 << 10;

/** `PERF_EVENT_IOC_*`: _IO('$', n), on powerpc with its own direction bits. */
const ppc = process.arch === "ppc64";
const io = (n: number): number => (ppc ? 0x2000_0000 : 0) + 0x2400 + n;
export const PERF_EVENT_IOC = {
  ENABLE: io(0),
  DISABLE: io(1),
  RESET: io(3),
  /** _IOW('$', 8, __u32) */
  SET_BPF: (ppc ? 0x8000_0000 : 0x4000_0000) + 0x0004_2408,
} as const;

/** `PERF_FLAG_FD_CLOEXEC`. */
const PERF_FLAG_FD_CLOEXEC = 8;

export interface PerfEventOptions {
  readonly type: number;
  readonly config: number | bigint;
  /** Every so many events; nanoseconds for the clocks. Excludes `freq`. */
  readonly samplePeriod?: number;
  /** Samples a second. */
  readonly freq?: number;
  readonly sampleType?: number;
  readonly wakeupEvents?: number;
  readonly disabled?: boolean;
  readonly inherit?: boolean;
  readonly excludeKernel?: boolean;
  readonly excludeUser?: boolean;
  /** Probes: address of the path or function name. */
  readonly config1?: Uint8Array | number | bigint;
  /** Probes: offset in the file, or address. */
  readonly config2?: number | bigint;
  /** -1 (the default): every process. */
  readonly pid?: number;
  /** -1 (the default): every CPU, which needs a pid. */
  readonly cpu?: number;
}

/** `PERF_ATTR_SIZE_VER1` (2.6.33) is enough for what is set here and known to every kernel with BPF. */
const ATTR_SIZE = 72;

/** Encodes `struct perf_event_attr`. */
export function encodePerfAttr(kernel: Kernel, o: PerfEventOptions): Uint8Array {
  const bytes = new Uint8Array(ATTR_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, o.type, LITTLE);
  view.setUint32(4, ATTR_SIZE, LITTLE);
  view.setBigUint64(8, BigInt(o.config), LITTLE);
  view.setBigUint64(16, BigInt(o.freq ?? o.samplePeriod ?? 0), LITTLE);
  view.setBigUint64(24, BigInt(o.sampleType ?? 0), LITTLE);
  // Bit fields: the first declared is the lowest bit on little-endian, the highest on big-endian.
  const flag = (bit: number, on: boolean | undefined): bigint => (on === true ? 1n << BigInt(LITTLE ? bit : 63 - bit) : 0n);
  const flags = flag(0, o.disabled) | flag(1, o.inherit) | flag(4, o.excludeUser) | flag(5, o.excludeKernel) | flag(10, o.freq !== undefined);
  view.setBigUint64(40, flags, LITTLE);
  view.setUint32(48, o.wakeupEvents ?? 0, LITTLE);
  const config1 = o.config1 instanceof Uint8Array ? kernel.address(o.config1) : (o.config1 ?? 0);
  view.setBigUint64(56, BigInt(config1), LITTLE);
  view.setBigUint64(64, BigInt(o.config2 ?? 0), LITTLE);
  return bytes;
}

const inFlight: { options: unknown } = { options: undefined };

/** Opens a perf event: an fd, or -errno. */
export function perfEventOpenRaw(kernel: Kernel, o: PerfEventOptions): number {
  inFlight.options = o;
  return kernel.perfEventOpen(encodePerfAttr(kernel, o), o.pid ?? -1, o.cpu ?? -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/** Opens a perf event. Throws `SyscallError` with what is in the way. */
export function perfEventOpen(kernel: Kernel, what: string, o: PerfEventOptions, reasons?: readonly string[]): Fd {
  const result = perfEventOpenRaw(kernel, o);
  return new Fd(kernel, check(kernel, result, "perf_event_open", { subject: what, ...(reasons === undefined ? {} : { reasons }) }), what);
}

/** Number of a dynamic PMU ("uprobe", "kprobe"), or undefined when this kernel has none of that name. */
export function pmuType(kernel: Kernel, name: string): number | undefined {
  const text = kernel.readFile(`/sys/bus/event_source/devices/${name}/type`);
  return typeof text === "number" ? undefined : Number(new TextDecoder().decode(text));
}

/** Config bit that makes a probe PMU's event a return probe: `format/retprobe` says "config:0". */
export function retprobeBit(kernel: Kernel, name: string): number {
  const text = kernel.readFile(`/sys/bus/event_source/devices/${name}/format/retprobe`);
  const bit = typeof text === "number" ? undefined : /^config:(\d+)/.exec(new TextDecoder().decode(text))?.[1];
  return Number(bit ?? 0);
}
