/** Looks around on this machine for what explains an errno of bpf(2) or perf_event_open(2). */
import { ERRNO, errnoRow } from "../uapi/errno.ts";
import { BPF_MAP_TYPE, MAP_TYPES } from "../uapi/map-types.ts";
import { BPF_PROG_TYPE, PROG_TYPES } from "../uapi/prog-types.ts";
import type { CallContext } from "./errors.ts";
import type { Kernel } from "./kernel.ts";

export interface Explanation {
  readonly reasons: readonly string[];
  readonly help: string | undefined;
}

/** Bits of `CapEff` (include/uapi/linux/capability.h). */
const CAP = { NET_ADMIN: 12, SYS_ADMIN: 21, SYS_RESOURCE: 24, PERFMON: 38, BPF: 39 } as const;
type CapName = keyof typeof CAP;

/** Program types that read kernel memory (CAP_PERFMON) or touch packets (CAP_NET_ADMIN): kernel/bpf/syscall.c, is_perfmon_prog_type, is_net_admin_prog_type. */
const PERFMON_PROGS: ReadonlySet<number> = new Set([
  BPF_PROG_TYPE.KPROBE,
  BPF_PROG_TYPE.TRACEPOINT,
  BPF_PROG_TYPE.PERF_EVENT,
  BPF_PROG_TYPE.RAW_TRACEPOINT,
  BPF_PROG_TYPE.RAW_TRACEPOINT_WRITABLE,
  BPF_PROG_TYPE.TRACING,
  BPF_PROG_TYPE.LSM,
  BPF_PROG_TYPE.STRUCT_OPS,
  BPF_PROG_TYPE.EXT,
]);
const UNPRIVILEGED_PROGS: ReadonlySet<number> = new Set([BPF_PROG_TYPE.SOCKET_FILTER, BPF_PROG_TYPE.CGROUP_SKB]);
const PLAIN_PROGS: ReadonlySet<number> = new Set([
  BPF_PROG_TYPE.SYSCALL,
  BPF_PROG_TYPE.LIRC_MODE2,
  ...UNPRIVILEGED_PROGS,
]);

/** Is the kernel release `release` older than `version` ("5.11")? */
export function olderThan(release: string, version: string): boolean {
  const have = release.split(/[^0-9]+/).map(Number);
  const want = version.replace(/^v/, "").split(".").map(Number);
  for (let i = 0; i < want.length; i++) {
    const d = (have[i] ?? 0) - (want[i] ?? 0);
    if (d !== 0) return d < 0;
  }
  return false;
}

export function explainErrno(kernel: Kernel, command: string, errno: number, context: CallContext): Explanation {
  const given = [...(context.reasons ?? [])];
  const found = explain(kernel, command, errno, context);
  const reasons = [...given, ...found.reasons];
  if (reasons.length === 0) {
    const usual = errnoRow(errno)?.bpf;
    return { reasons: usual === undefined ? [] : [usual], help: found.help };
  }
  return { reasons, help: found.help };
}

const NOTHING: Explanation = { reasons: [], help: undefined };

function explain(kernel: Kernel, command: string, errno: number, context: CallContext): Explanation {
  const perf = command === "perf_event_open";
  switch (errno) {
    case ERRNO.EPERM:
    case ERRNO.EACCES:
      return permission(kernel, perf, context);
    case ERRNO.ENOSYS:
      return perf
        ? { reasons: ["this kernel is built without CONFIG_PERF_EVENTS"], help: undefined }
        : {
            reasons: ["this kernel is built without CONFIG_BPF_SYSCALL, or a seccomp filter hides bpf(2)"],
            help: undefined,
          };
    case ERRNO.E2BIG:
      return perf || command === "BPF_PROG_LOAD"
        ? NOTHING
        : { reasons: [`this kernel (${kernel.release}) is older than a field that was set`], help: undefined };
    case ERRNO.EMFILE:
      return { reasons: ["this process has as many files open as it may"], help: "Raise the limit: ulimit -n 65536" };
    case ERRNO.EINVAL:
      return tooOld(kernel, context);
    case ERRNO.ENOENT:
    case ERRNO.ENODEV:
    case ERRNO.EOPNOTSUPP:
      return perf
        ? {
            reasons: ["this machine has no such event (virtual machines often have no hardware counters)"],
            help: "Use a software event such as cpu-clock instead",
          }
        : NOTHING;
    default:
      return NOTHING;
  }
}

function permission(kernel: Kernel, perf: boolean, context: CallContext): Explanation {
  const reasons: string[] = [];
  const helps: string[] = [];
  const status = readText(kernel, "/proc/self/status");
  const caps = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const has = (cap: CapName): boolean => ((caps >> BigInt(CAP[cap])) & 1n) === 1n;
  const admin = has("SYS_ADMIN");
  const split = !olderThan(kernel.release, "5.8");

  const missing: CapName[] = [];
  for (const cap of needed(perf, context)) if (!has(cap) && !admin) missing.push(cap);
  if (missing.length > 0) {
    const names = (split ? missing : (["SYS_ADMIN"] as const)).map((c) => `CAP_${c}`).join(" and ");
    reasons.push(`the process lacks ${names}`);
    helps.push(
      `Run it as root (sudo), or give node the capabilities: sudo setcap ${missing.map((c) => `cap_${c.toLowerCase()}`).join(",")}+ep "$(readlink -f "$(command -v node)")"`,
    );
    const sysctl = readText(kernel, "/proc/sys/kernel/unprivileged_bpf_disabled").trim();
    if (!perf && sysctl !== "" && sysctl !== "0")
      reasons.push(`kernel.unprivileged_bpf_disabled is ${sysctl}, so nothing is allowed without it`);
  }
  if (perf && !admin && !has("PERFMON")) {
    const paranoid = readText(kernel, "/proc/sys/kernel/perf_event_paranoid").trim();
    if (paranoid !== "" && Number(paranoid) > -1) {
      reasons.push(`kernel.perf_event_paranoid is ${paranoid}`);
      helps.push("Or allow it for everybody: sudo sysctl kernel.perf_event_paranoid=-1");
    }
  }
  if (missing.length === 0 && !reasons.length) {
    const uidMap = readText(kernel, "/proc/self/uid_map").trim();
    if (uidMap !== "" && !/^0\s+0\s+4294967295$/.test(uidMap)) {
      reasons.push("this is a user namespace, and capabilities of a user namespace do not count here");
      helps.push("Run it outside the container, or with --privileged");
    }
  }
  const lockdown = /\[(integrity|confidentiality)\]/.exec(readText(kernel, "/sys/kernel/security/lockdown"))?.[1];
  if (lockdown === "confidentiality") {
    reasons.push("kernel lockdown is in confidentiality mode, which forbids reading kernel memory");
    helps.push("Boot without lockdown=confidentiality");
  }
  if (/^Seccomp:\s*2$/m.test(status)) {
    reasons.push("a seccomp filter is active, which may forbid the call (containers do)");
    helps.push("In Docker: --cap-add BPF --cap-add PERFMON --security-opt seccomp=unconfined");
  }
  if (!perf && olderThan(kernel.release, "5.11")) {
    const memlock = /^Max locked memory\s+(\S+)/m.exec(readText(kernel, "/proc/self/limits"))?.[1];
    if (memlock !== undefined && memlock !== "unlimited") {
      reasons.push(`RLIMIT_MEMLOCK is ${memlock} bytes, and kernels before 5.11 count BPF memory against it`);
      helps.push("Raise it: ulimit -l unlimited");
    }
  }
  return { reasons, help: helps.length === 0 ? undefined : helps.join(". ") };
}

function needed(perf: boolean, context: CallContext): CapName[] {
  if (perf) return ["PERFMON"];
  const type = context.progType;
  if (type === undefined) return ["BPF"];
  if (PERFMON_PROGS.has(type)) return ["BPF", "PERFMON"];
  return PLAIN_PROGS.has(type) ? ["BPF"] : ["BPF", "NET_ADMIN"];
}

function tooOld(kernel: Kernel, context: CallContext): Explanation {
  if (context.mapType !== undefined) {
    const row = MAP_TYPES.find((r) => r.id === context.mapType);
    if (row !== undefined && olderThan(kernel.release, row.since)) {
      return {
        reasons: [`maps of type ${row.name.toLowerCase()} need Linux ${row.since}, this is ${kernel.release}`],
        help: undefined,
      };
    }
    if (context.mapType === BPF_MAP_TYPE.RINGBUF) {
      return {
        reasons: [
          `max_entries of a ring buffer must be a power of two and a multiple of the page size ${kernel.pageSize}`,
        ],
        help: undefined,
      };
    }
  }
  if (context.progType !== undefined) {
    const row = PROG_TYPES.find((r) => r.id === context.progType);
    if (row !== undefined && olderThan(kernel.release, row.since)) {
      return {
        reasons: [`programs of type ${row.name.toLowerCase()} need Linux ${row.since}, this is ${kernel.release}`],
        help: undefined,
      };
    }
  }
  return NOTHING;
}

function readText(kernel: Kernel, path: string): string {
  const bytes = kernel.readFile(path);
  return typeof bytes === "number" ? "" : new TextDecoder().decode(bytes);
}
