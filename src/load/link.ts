/** What holds a program to its attach point. Closing it (or ending the process) detaches the program, unless it was pinned. */
import { bpf, cstring } from "../syscall/attr.ts";
import { check, syscallError } from "../syscall/errors.ts";
import { Fd, Owned } from "../syscall/fd.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { PERF_EVENT_IOC } from "../syscall/perf.ts";
import { NotSupportedError } from "../core/errors.ts";
import { ERRNO } from "../uapi/errno.ts";
import { linkCreate } from "../syscall/attr.ts";

/** The least that attaching needs of a program. */
export interface Attachable {
  readonly kernel: Kernel;
  readonly name: string;
  /** Descriptor of the loaded program. */
  readonly fd: number;
}

/** An attachment. Closing twice is harmless. */
export class Link {
  readonly program: string;
  /** Where it is attached, such as "tracepoint sched:sched_switch". */
  readonly target: string;
  readonly kernel: Kernel;
  readonly #owned: Owned;
  readonly #fd: Fd | undefined;
  #open = true;

  /** `fd` is the BPF link's descriptor where there is one (`owned` closes it). */
  constructor(prog: Attachable, target: string, owned: Owned, fd?: Fd) {
    this.kernel = prog.kernel;
    this.program = prog.name;
    this.target = target;
    this.#owned = owned;
    this.#fd = fd;
  }

  get closed(): boolean {
    return !this.#open;
  }
  /** Descriptor of the BPF link; undefined where the attachment is not a BPF link (kernels before 5.15 for perf events). */
  get fd(): number | undefined {
    return this.#open ? this.#fd?.fd : undefined;
  }

  /** Keeps the program attached after this process ends, under `path` in a mounted bpffs. */
  pin(path: string): void {
    if (this.#fd === undefined) {
      throw new NotSupportedError(
        "link pinning",
        `${this.target}: this kernel attaches it without a BPF link, so it cannot be pinned`,
        { minKernel: "5.15" },
      );
    }
    check(this.kernel, bpf(this.kernel, "OBJ_PIN", { pathname: cstring(path), bpf_fd: this.#fd.fd }), "BPF_OBJ_PIN", {
      subject: `link at ${path}`,
    });
  }

  /** Detaches. */
  close(): void {
    this.#open = false;
    this.#owned.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

/** Turns the result of a link-making call into a `Link`; what `owned` holds goes with it or is released. */
export function linkFrom(
  prog: Attachable,
  target: string,
  command: string,
  result: number,
  owned = new Owned(),
  reasons: readonly string[] = [],
): Link {
  if (result < 0) {
    owned.close();
    throw attachError(prog, target, command, result, reasons);
  }
  const fd = owned.own(new Fd(prog.kernel, result, `link of ${prog.name} to ${target}`));
  return new Link(prog, target, owned, fd);
}

export function attachError(
  prog: Attachable,
  target: string,
  command: string,
  result: number,
  reasons: readonly string[] = [],
): Error {
  return syscallError(prog.kernel, command, result, { subject: `program ${prog.name} to ${target}`, reasons });
}

/** `BPF_PERF_EVENT` of `enum bpf_attach_type`. */
const ATTACH_PERF_EVENT = 41;

/**
 * Attaches to a perf event, which `owned` holds: by a BPF link (Linux 5.15), else by
 * ioctl. The event starts when everything is in place.
 */
export function attachToPerfEvent(prog: Attachable, event: Fd, target: string, owned: Owned, cookie?: bigint): Link {
  const { kernel } = prog;
  try {
    const link = linkCreate(kernel, "perf_event", {
      prog_fd: prog.fd,
      target_fd: event.fd,
      attach_type: ATTACH_PERF_EVENT,
      bpf_cookie: cookie,
    });
    let fd: Fd | undefined;
    if (link >= 0) {
      fd = owned.own(new Fd(kernel, link, `link of ${prog.name} to ${target}`));
    } else if (link !== -ERRNO.EINVAL && link !== -ERRNO.EOPNOTSUPP) {
      throw attachError(prog, target, "BPF_LINK_CREATE", link);
    } else {
      if (cookie !== undefined && cookie !== 0n) {
        throw new NotSupportedError("attach cookies", `${target}: cookies need Linux 5.15, this is ${kernel.release}`, {
          minKernel: "5.15",
        });
      }
      const set = kernel.ioctl(event.fd, PERF_EVENT_IOC.SET_BPF, prog.fd);
      if (set < 0) throw attachError(prog, target, "PERF_EVENT_IOC_SET_BPF", set);
    }
    const enabled = kernel.ioctl(event.fd, PERF_EVENT_IOC.ENABLE, 0);
    if (enabled < 0) throw attachError(prog, target, "PERF_EVENT_IOC_ENABLE", enabled);
    return new Link(prog, target, owned, fd);
  } catch (error) {
    owned.close();
    throw error;
  }
}
