/** perf_event_open(2): `struct perf_event_attr` and the ioctls of an event. Source: include/uapi/linux/perf_event.h of 6.18. */
import { hostEndian } from "../core/bytes.ts";
import { PERF_FLAG, perfIoctl } from "../uapi/perf.ts";
import { check } from "./errors.ts";
import { Fd } from "./fd.ts";
import type { Kernel } from "./kernel.ts";

const LITTLE = hostEndian === "little";

/** `PERF_EVENT_IOC_*` of this machine. */
export const PERF_EVENT_IOC = {
  ENABLE: perfIoctl(process.arch, "ENABLE"),
  DISABLE: perfIoctl(process.arch, "DISABLE"),
  SET_BPF: perfIoctl(process.arch, "SET_BPF"),
} as const;

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
  const flag = (bit: number, on: boolean | undefined): bigint =>
    on === true ? 1n << BigInt(LITTLE ? bit : 63 - bit) : 0n;
  const flags =
    flag(0, o.disabled) |
    flag(1, o.inherit) |
    flag(4, o.excludeUser) |
    flag(5, o.excludeKernel) |
    flag(10, o.freq !== undefined);
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
  return kernel.perfEventOpen(encodePerfAttr(kernel, o), o.pid ?? -1, o.cpu ?? -1, -1, PERF_FLAG.FD_CLOEXEC);
}

/** Opens a perf event. Throws `SyscallError` with what is in the way. */
export function perfEventOpen(kernel: Kernel, what: string, o: PerfEventOptions, reasons?: readonly string[]): Fd {
  const result = perfEventOpenRaw(kernel, o);
  return new Fd(
    kernel,
    check(kernel, result, "perf_event_open", { subject: what, ...(reasons === undefined ? {} : { reasons }) }),
    what,
  );
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
