/** Attaching to tracepoints, raw tracepoints, kernel functions with BTF, iterators and perf events. */
import { ArgumentError } from "../../core/errors.ts";
import { bpf, cstring, linkCreate } from "../../syscall/attr.ts";
import { check } from "../../syscall/errors.ts";
import { Fd, Owned } from "../../syscall/fd.ts";
import { onlineCpus } from "../../syscall/cpus.ts";
import { perfEventOpen } from "../../syscall/perf.ts";
import { tracepointId } from "../../syscall/tracefs.ts";
import { ERRNO } from "../../uapi/errno.ts";
import { PERF_COUNT_HW, PERF_COUNT_SW, PERF_TYPE } from "../../uapi/perf.ts";
import { type Attachable, Link, attachToPerfEvent, linkFrom } from "../link.ts";

export interface CookieOption {
  /** What bpf_get_attach_cookie returns in the program. Linux 5.15. */
  readonly cookie?: bigint;
}

/**
 * Attaches to the tracepoint `category:name`, by its id from tracefs.
 *
 * @example
 * const link = attachTracepoint(prog, "syscalls", "sys_enter_execve");
 */
export function attachTracepoint(prog: Attachable, category: string, name: string, options: CookieOption = {}): Link {
  const target = `tracepoint ${category}:${name}`;
  const config = tracepointId(prog.kernel, category, name);
  const owned = new Owned();
  // On CPU 0 and for every process: a tracepoint's BPF programs run on all CPUs.
  const event = owned.own(
    perfEventOpen(prog.kernel, target, { type: PERF_TYPE.TRACEPOINT, config, samplePeriod: 1, cpu: 0, disabled: true }),
  );
  return attachToPerfEvent(prog, event, target, owned, options.cookie);
}

/** Attaches a raw tracepoint program to the tracepoint `name`. Linux 4.17; cookies 6.10. */
export function attachRawTracepoint(prog: Attachable, name: string, options: CookieOption = {}): Link {
  const result = bpf(prog.kernel, "RAW_TRACEPOINT_OPEN", {
    name: cstring(name),
    prog_fd: prog.fd,
    cookie: options.cookie,
  });
  const reasons = result === -ERRNO.ENOENT ? [`this kernel has no raw tracepoint ${name}`] : [];
  return linkFrom(prog, `raw tracepoint ${name}`, "BPF_RAW_TRACEPOINT_OPEN", result, new Owned(), reasons);
}

/**
 * Attaches a program whose target was chosen when it was loaded: tp_btf, fentry, fexit,
 * fmod_ret, lsm. Linux 5.5; cookies 5.18.
 */
export function attachTracing(prog: Attachable, attachType: number, target: string, options: CookieOption = {}): Link {
  if (options.cookie !== undefined && options.cookie !== 0n) {
    const result = linkCreate(prog.kernel, "tracing", {
      prog_fd: prog.fd,
      attach_type: attachType,
      cookie: options.cookie,
    });
    return linkFrom(prog, target, "BPF_LINK_CREATE", result);
  }
  return linkFrom(
    prog,
    target,
    "BPF_RAW_TRACEPOINT_OPEN",
    bpf(prog.kernel, "RAW_TRACEPOINT_OPEN", { prog_fd: prog.fd }),
  );
}

/** `BPF_TRACE_ITER`. */
const TRACE_ITER = 28;

/** A link to an iterator: reading it runs the program over all objects. Linux 5.8. */
export class IterLink extends Link {
  readonly #linkFd: Fd;
  constructor(prog: Attachable, target: string, owned: Owned, fd: Fd) {
    super(prog, target, owned, fd);
    this.#linkFd = fd;
  }
  /** Runs the iterator once and returns everything it wrote. */
  read(): Uint8Array {
    using fd = new Fd(
      this.kernel,
      check(this.kernel, bpf(this.kernel, "ITER_CREATE", { link_fd: this.#linkFd.fd }), "BPF_ITER_CREATE"),
      "iterator",
    );
    const chunks: Uint8Array[] = [];
    const chunk = new Uint8Array(64 * 1024);
    for (;;) {
      const n = this.kernel.read(fd.fd, chunk);
      if (n === -ERRNO.EINTR || n === -ERRNO.EAGAIN) continue;
      if (check(this.kernel, n, "read", { subject: this.target }) === 0) break;
      chunks.push(chunk.slice(0, n));
    }
    return Buffer.concat(chunks);
  }
  text(): string {
    return new TextDecoder().decode(this.read());
  }
}

/** Attaches an iterator program. `mapFd` is the map to walk for map-element iterators. */
export function attachIter(prog: Attachable, target: string, options: { mapFd?: number } = {}): IterLink {
  const info =
    options.mapFd === undefined ? undefined : new Uint8Array(new Uint32Array([options.mapFd, 0, 0, 0]).buffer);
  const result = linkCreate(prog.kernel, "iter", {
    prog_fd: prog.fd,
    attach_type: TRACE_ITER,
    iter_info: info,
    iter_info_len: info?.length,
  });
  const owned = new Owned();
  const what = `iterator ${target}`;
  const fd = owned.own(
    new Fd(
      prog.kernel,
      check(prog.kernel, result, "BPF_LINK_CREATE", { subject: `program ${prog.name} to ${what}` }),
      what,
    ),
  );
  return new IterLink(prog, what, owned, fd);
}

/** What a perf-event program samples on. */
export interface PerfEventTarget extends CookieOption {
  /** "cpu-clock" (the default) works everywhere; hardware events need a PMU. */
  readonly event?: PerfEventName | { readonly type: number; readonly config: number | bigint };
  /** Samples a second for each CPU. */
  readonly freq?: number;
  /** Every so many events; nanoseconds for the clocks. */
  readonly period?: number;
  /** CPUs to sample; the online ones by default. */
  readonly cpus?: readonly number[];
  /** Only this process (and its threads that exist); all by default. */
  readonly pid?: number;
}
const EVENTS = {
  "cpu-clock": [PERF_TYPE.SOFTWARE, PERF_COUNT_SW.CPU_CLOCK],
  "task-clock": [PERF_TYPE.SOFTWARE, PERF_COUNT_SW.TASK_CLOCK],
  "page-faults": [PERF_TYPE.SOFTWARE, PERF_COUNT_SW.PAGE_FAULTS],
  "minor-faults": [PERF_TYPE.SOFTWARE, PERF_COUNT_SW.PAGE_FAULTS_MIN],
  "major-faults": [PERF_TYPE.SOFTWARE, PERF_COUNT_SW.PAGE_FAULTS_MAJ],
  "context-switches": [PERF_TYPE.SOFTWARE, PERF_COUNT_SW.CONTEXT_SWITCHES],
  "cpu-migrations": [PERF_TYPE.SOFTWARE, PERF_COUNT_SW.CPU_MIGRATIONS],
  "alignment-faults": [PERF_TYPE.SOFTWARE, PERF_COUNT_SW.ALIGNMENT_FAULTS],
  "emulation-faults": [PERF_TYPE.SOFTWARE, PERF_COUNT_SW.EMULATION_FAULTS],
  cycles: [PERF_TYPE.HARDWARE, PERF_COUNT_HW.CPU_CYCLES],
  instructions: [PERF_TYPE.HARDWARE, PERF_COUNT_HW.INSTRUCTIONS],
  "cache-references": [PERF_TYPE.HARDWARE, PERF_COUNT_HW.CACHE_REFERENCES],
  "cache-misses": [PERF_TYPE.HARDWARE, PERF_COUNT_HW.CACHE_MISSES],
  branches: [PERF_TYPE.HARDWARE, PERF_COUNT_HW.BRANCH_INSTRUCTIONS],
  "branch-misses": [PERF_TYPE.HARDWARE, PERF_COUNT_HW.BRANCH_MISSES],
  "bus-cycles": [PERF_TYPE.HARDWARE, PERF_COUNT_HW.BUS_CYCLES],
} as const;
export type PerfEventName = keyof typeof EVENTS;

/**
 * Attaches to a sampling event on each CPU: a profiler is `{ freq: 99 }`, an interval
 * `{ period: 1_000_000_000, cpus: [0] }`. All or none of the CPUs: one that fails
 * releases the others.
 */
export function attachPerfEvent(prog: Attachable, target: PerfEventTarget = {}): Link {
  const name = target.event ?? "cpu-clock";
  const known: readonly [number, number | bigint] | undefined =
    typeof name === "string" ? (Object.hasOwn(EVENTS, name) ? EVENTS[name] : undefined) : [name.type, name.config];
  if (known === undefined)
    throw new ArgumentError("event", `expected one of ${Object.keys(EVENTS).join(", ")}, got ${String(name)}`);
  if (target.freq !== undefined && target.period !== undefined)
    throw new ArgumentError("freq", "give freq or period, not both");
  const [type, config] = known;
  const sampling = target.period !== undefined ? { samplePeriod: target.period } : { freq: target.freq ?? 99 };
  const what = `perf event ${typeof name === "string" ? name : `${type}:${config}`}`;
  const all = new Owned();
  try {
    const cpus = target.pid === undefined ? (target.cpus ?? onlineCpus(prog.kernel)) : (target.cpus ?? [-1]);
    for (const cpu of cpus) {
      const owned = new Owned();
      const event = owned.own(
        perfEventOpen(prog.kernel, `${what} on CPU ${cpu}`, {
          type,
          config,
          ...sampling,
          cpu,
          disabled: true,
          ...(target.pid === undefined ? {} : { pid: target.pid }),
        }),
      );
      all.own(attachToPerfEvent(prog, event, what, owned, target.cookie));
    }
    return new Link(prog, what, all);
  } catch (error) {
    all.close();
    throw error;
  }
}
