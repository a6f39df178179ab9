/** A program in the kernel. */
import { BpfkitError, NotSupportedError } from "../core/errors.ts";
import type { ProgSpec } from "../elf/spec.ts";
import { bpf, cstring } from "../syscall/attr.ts";
import {
  type ProgInfo,
  type TestRunOptions,
  type TestRunResult,
  progInfo,
  progTestRun,
  progXlated,
} from "../syscall/bpf.ts";
import { check } from "../syscall/errors.ts";
import type { Fd } from "../syscall/fd.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { BPF_ATTACH_TYPE } from "../uapi/attach-types.ts";
import { BPF_PROG_TYPE } from "../uapi/prog-types.ts";
import { attachCgroup, attachNetns, attachTcx, attachXdp } from "./attach/net.ts";
import { attachKprobe, attachUprobe, parseSymbol } from "./attach/probe.ts";
import {
  type PerfEventTarget,
  attachIter,
  attachPerfEvent,
  attachRawTracepoint,
  attachTracepoint,
  attachTracing,
} from "./attach/trace.ts";
import type { Link } from "./link.ts";

/** Where to attach, for what the section does not say. */
export interface AttachOptions {
  /** What bpf_get_attach_cookie returns. Linux 5.15 (tracing 5.18, raw tracepoints 6.10). */
  readonly cookie?: bigint;
  /** Network interface of xdp and tc programs. */
  readonly device?: string | number;
  /** cgroup v2 directory of cgroup programs. */
  readonly cgroup?: string;
  /** Sampling of perf_event programs. */
  readonly perf?: PerfEventTarget;
  /** Only this process, for uprobes. */
  readonly pid?: number;
  /** Executable or library of a uprobe whose section names none. */
  readonly binary?: string;
}

/** A loaded program. It stays in the kernel until `close()`, or while links hold it. */
export class Program {
  readonly kernel: Kernel;
  readonly spec: ProgSpec;
  readonly #fd: Fd;

  constructor(kernel: Kernel, spec: ProgSpec, fd: Fd) {
    this.kernel = kernel;
    this.spec = spec;
    this.#fd = fd;
  }

  get name(): string {
    return this.spec.name;
  }
  /** The descriptor; it belongs to this program. Throws code "CLOSED" after `close()`. */
  get fd(): number {
    return this.#fd.fd;
  }
  get closed(): boolean {
    return this.#fd.closed;
  }

  /** What the kernel knows about it: id, sizes, run statistics. */
  info(): ProgInfo {
    return progInfo(this.kernel, this.fd);
  }

  /** The instructions as the kernel runs them, 8 bytes each. */
  xlated(): Uint8Array {
    return progXlated(this.kernel, this.fd);
  }

  /**
   * Runs it once (or `repeat` times) in the kernel without attaching it. xdp, tc, cgroup_skb
   * and socket filters take `data` (a packet of at least 14 bytes), raw tracepoints and
   * syscall programs take `ctx`. Throws `SyscallError`.
   *
   * @example
   * const { returnValue } = collection.prog("count").testRun({ data: new Uint8Array(64) });
   */
  testRun(options: TestRunOptions = {}): TestRunResult {
    return progTestRun(this.kernel, this.fd, options);
  }

  /** Attaches it where its section says; `options` adds what sections do not say. */
  attach(options: AttachOptions = {}): Link {
    return attachBySection(this, options);
  }

  /** Keeps the program loaded after this process ends, under `path` in a mounted bpffs. */
  pin(path: string): void {
    check(this.kernel, bpf(this.kernel, "OBJ_PIN", { pathname: cstring(path), bpf_fd: this.fd }), "BPF_OBJ_PIN", {
      subject: `program ${this.name} at ${path}`,
    });
  }

  close(): void {
    this.#fd.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

const TRACING_VERBS: Readonly<Record<number, string>> = {
  [BPF_ATTACH_TYPE.TRACE_RAW_TP]: "tp_btf",
  [BPF_ATTACH_TYPE.TRACE_FENTRY]: "fentry",
  [BPF_ATTACH_TYPE.TRACE_FEXIT]: "fexit",
  [BPF_ATTACH_TYPE.MODIFY_RETURN]: "fmod_ret",
};

function attachBySection(prog: Program, options: AttachOptions): Link {
  const { spec } = prog;
  const target = spec.attachTo ?? "";
  const cookie = options.cookie === undefined ? {} : { cookie: options.cookie };
  switch (spec.type) {
    case BPF_PROG_TYPE.TRACEPOINT: {
      const [category, name] = target.split(/[/:]/);
      if (category === undefined || name === undefined || name === "") throw noTarget(prog, "tracepoint/CATEGORY/NAME");
      return attachTracepoint(prog, category, name, cookie);
    }
    case BPF_PROG_TYPE.RAW_TRACEPOINT:
    case BPF_PROG_TYPE.RAW_TRACEPOINT_WRITABLE:
      if (target === "") throw noTarget(prog, "raw_tracepoint/NAME");
      return attachRawTracepoint(prog, target, cookie);
    case BPF_PROG_TYPE.TRACING:
      if (spec.expectedAttachType === BPF_ATTACH_TYPE.TRACE_ITER) return attachIter(prog, target);
      return attachTracing(
        prog,
        spec.expectedAttachType,
        `${TRACING_VERBS[spec.expectedAttachType] ?? "tracing"} ${target}`,
        cookie,
      );
    case BPF_PROG_TYPE.LSM:
      if (spec.expectedAttachType === BPF_ATTACH_TYPE.LSM_CGROUP)
        return attachCgroup(prog, cgroupOf(prog, options), spec.expectedAttachType);
      return attachTracing(prog, spec.expectedAttachType, `lsm ${target}`, cookie);
    case BPF_PROG_TYPE.KPROBE:
      return attachProbe(prog, target, options);
    case BPF_PROG_TYPE.PERF_EVENT:
      return attachPerfEvent(prog, { ...cookie, ...options.perf });
    case BPF_PROG_TYPE.XDP:
      return attachXdp(prog, deviceOf(prog, options));
    case BPF_PROG_TYPE.SCHED_CLS:
      return attachTcx(
        prog,
        deviceOf(prog, options),
        spec.expectedAttachType === BPF_ATTACH_TYPE.TCX_EGRESS || /egress/.test(spec.section) ? "egress" : "ingress",
      );
    case BPF_PROG_TYPE.SK_LOOKUP:
    case BPF_PROG_TYPE.FLOW_DISSECTOR:
      return attachNetns(
        prog,
        spec.type === BPF_PROG_TYPE.SK_LOOKUP ? BPF_ATTACH_TYPE.SK_LOOKUP : BPF_ATTACH_TYPE.FLOW_DISSECTOR,
      );
    case BPF_PROG_TYPE.CGROUP_SKB:
    case BPF_PROG_TYPE.CGROUP_SOCK:
    case BPF_PROG_TYPE.CGROUP_SOCK_ADDR:
    case BPF_PROG_TYPE.CGROUP_SOCKOPT:
    case BPF_PROG_TYPE.CGROUP_SYSCTL:
    case BPF_PROG_TYPE.CGROUP_DEVICE:
    case BPF_PROG_TYPE.SOCK_OPS:
      return attachCgroup(prog, cgroupOf(prog, options), spec.expectedAttachType);
    default:
      throw new NotSupportedError(
        "attach",
        `programs of section ${JSON.stringify(spec.section)} cannot be attached from here; run them with testRun()`,
      );
  }
}

/** kprobe, kretprobe, ksyscall, uprobe, … share one program type: the section's first word tells. */
function attachProbe(prog: Program, target: string, options: AttachOptions): Link {
  const verb = prog.spec.section.split("/")[0]?.replace(/\.s$/, "") ?? "";
  const cookie = options.cookie === undefined ? {} : { cookie: options.cookie };
  switch (verb) {
    case "kprobe":
    case "kretprobe":
      if (target === "") throw noTarget(prog, `${verb}/FUNCTION`);
      return attachKprobe(prog, { ...parseSymbol(target), ret: verb === "kretprobe", ...cookie });
    case "ksyscall":
    case "kretsyscall":
      if (target === "") throw noTarget(prog, `${verb}/NAME`);
      return attachKprobe(prog, {
        symbol: `${SYSCALL_PREFIX[process.arch] ?? ""}sys_${target}`,
        ret: verb === "kretsyscall",
        ...cookie,
      });
    case "uprobe":
    case "uretprobe": {
      const colon = target.lastIndexOf(":");
      const place = colon < 0 ? target : target.slice(colon + 1);
      const binary = colon < 0 ? options.binary : target.slice(0, colon);
      if (binary === undefined || place === "") throw noTarget(prog, `${verb}/BINARY:FUNCTION`);
      const at = /^(0x[0-9a-f]+|\d+)$/i.test(place) ? { offset: Number(place) } : parseSymbol(place);
      return attachUprobe(prog, {
        binary,
        ...at,
        ret: verb === "uretprobe",
        ...(options.pid === undefined ? {} : { pid: options.pid }),
        ...cookie,
      });
    }
    default:
      throw new NotSupportedError(
        "attach",
        `programs of section ${JSON.stringify(prog.spec.section)} cannot be attached from here`,
      );
  }
}

/** What a system call's function is called behind the wrapper (ARCH_HAS_SYSCALL_WRAPPER, Linux 4.17). */
const SYSCALL_PREFIX: Readonly<Record<string, string>> = {
  x64: "__x64_",
  arm64: "__arm64_",
  s390x: "__s390x_",
  riscv64: "__riscv_",
};

function noTarget(prog: Program, shape: string): BpfkitError {
  return new BpfkitError(
    "ATTACH",
    `program ${prog.name}: its section ${JSON.stringify(prog.spec.section)} does not say where to attach: expected ${shape}`,
  );
}
function deviceOf(prog: Program, options: AttachOptions): string | number {
  if (options.device === undefined)
    throw new BpfkitError("ATTACH", `program ${prog.name}: say which network interface with the option device`);
  return options.device;
}
function cgroupOf(prog: Program, options: AttachOptions): string {
  if (options.cgroup === undefined)
    throw new BpfkitError("ATTACH", `program ${prog.name}: say which cgroup v2 directory with the option cgroup`);
  return options.cgroup;
}
