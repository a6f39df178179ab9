/**
 * tracefs: ids and record layouts of tracepoints. Where nobody has mounted it, it is
 * reached through a mount of its own that is attached nowhere (Linux 5.2), so the
 * machine is left as it was.
 */
import { type TracepointFormat, parseTracepointFormat } from "../btf/tracepoint-format.ts";
import { editDistance } from "../core/edit-distance.ts";
import { BpfkitError, NotSupportedError } from "../core/errors.ts";
import { ERRNO, errnoName } from "../uapi/errno.ts";
import { Fd } from "./fd.ts";
import type { Kernel } from "./kernel.ts";

const MOUNT_POINTS = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

const roots = new WeakMap<Kernel, { path: string; fd: Fd | undefined }>();

/** Directory of tracefs: a mount point, or `/proc/self/fd/N` of a detached mount. Throws when it cannot be had. */
export function tracefsRoot(kernel: Kernel): string {
  const known = roots.get(kernel);
  if (known !== undefined && known.fd?.closed !== true) return known.path;
  for (const path of MOUNT_POINTS) {
    if (typeof kernel.readDir(`${path}/events`) !== "number") {
      roots.set(kernel, { path, fd: undefined });
      return path;
    }
  }
  const mount = kernel.detachedMount("tracefs");
  if (mount < 0) throw unreachable(kernel, -mount);
  const fd = new Fd(kernel, mount, "detached tracefs");
  const path = `/proc/self/fd/${mount}`;
  roots.set(kernel, { path, fd });
  return path;
}

/** Closes the detached mount, if there is one; the next use makes another. */
export function closeTracefs(kernel: Kernel): void {
  roots.get(kernel)?.fd?.close();
  roots.delete(kernel);
}

function unreachable(kernel: Kernel, errno: number): Error {
  const why =
    errno === ERRNO.EPERM
      ? "it is mounted nowhere, and reaching it without a mount needs CAP_SYS_ADMIN. Run as root, or have it mounted: sudo mount -t tracefs tracefs /sys/kernel/tracing"
      : errno === ERRNO.ENODEV
        ? "this kernel is built without tracing (CONFIG_TRACING)"
        : errno === ERRNO.ENOSYS
          ? `it is mounted nowhere, and this kernel (${kernel.release}) has no fsopen(2), which is of Linux 5.2. Mount it: sudo mount -t tracefs tracefs /sys/kernel/tracing`
          : `it is mounted nowhere and fsopen or fsmount failed with ${errnoName(errno)}`;
  return new NotSupportedError("tracefs", `tracefs cannot be reached: ${why}`, { minKernel: "5.2" });
}

/**
 * The record layout of a tracepoint, read from tracefs.
 *
 * @example
 * tracepointFormat(realKernel(), "sched", "sched_switch").fields.map((f) => f.name);
 */
export function tracepointFormat(kernel: Kernel, category: string, name: string): TracepointFormat {
  return parseTracepointFormat(readEvent(kernel, category, name, "format"), category);
}

/** The id by which perf_event_open(2) knows a tracepoint. Throws code "NO_TRACEPOINT" with similar names. */
export function tracepointId(kernel: Kernel, category: string, name: string): number {
  return Number(readEvent(kernel, category, name, "id"));
}

function readEvent(kernel: Kernel, category: string, name: string, file: string): string {
  for (const part of [category, name]) {
    if (!/^[\w.-]+$/.test(part)) throw noTracepoint(category, name, "a name has letters, digits, _, - and . only");
  }
  const root = tracefsRoot(kernel);
  const bytes = kernel.readFile(`${root}/events/${category}/${name}/${file}`);
  if (typeof bytes !== "number") return new TextDecoder().decode(bytes).trimEnd();
  if (bytes === -ERRNO.EACCES || bytes === -ERRNO.EPERM) {
    throw new BpfkitError(
      "NO_TRACEPOINT",
      `the tracepoint ${category}:${name} cannot be read: tracefs is for root only. Run as root, or give the files to a group: sudo mount -o remount,gid=GROUP,mode=750 /sys/kernel/tracing`,
    );
  }
  const events = kernel.readDir(`${root}/events/${category}`);
  if (typeof events !== "number")
    throw noTracepoint(
      category,
      name,
      similar(name, events, (e) => `${category}:${e}`),
    );
  const categories = kernel.readDir(`${root}/events`);
  throw noTracepoint(
    category,
    name,
    typeof categories === "number"
      ? ""
      : `there is no category ${category}; ${similar(category, categories, (c) => c)}`,
  );
}

function noTracepoint(category: string, name: string, hint: string): BpfkitError {
  return new BpfkitError(
    "NO_TRACEPOINT",
    `this kernel has no tracepoint ${category}:${name}${hint === "" ? "" : `: ${hint}`}`,
  );
}

function similar(name: string, candidates: readonly string[], show: (name: string) => string): string {
  const near = candidates
    .map((c) => ({ c, d: editDistance(name, c) }))
    .filter(({ c, d }) => d <= Math.max(2, name.length / 3) || c.includes(name) || name.includes(c))
    .toSorted((a, b) => a.d - b.d)
    .slice(0, 3);
  return near.length === 0
    ? `its neighbours are ${candidates.slice(0, 5).map(show).join(", ")}, …`
    : `did you mean ${near.map(({ c }) => show(c)).join(" or ")}?`;
}
