/** Attaching to network devices, cgroups and network namespaces by BPF links: they go away with the process. */
import { ArgumentError, BpfkitError, NotSupportedError } from "../../core/errors.ts";
import { linkCreate } from "../../syscall/attr.ts";
import { Fd, Owned } from "../../syscall/fd.ts";
import type { Kernel } from "../../syscall/kernel.ts";
import { check } from "../../syscall/errors.ts";
import { BPF_ATTACH_TYPE } from "../../uapi/attach-types.ts";
import { ERRNO } from "../../uapi/errno.ts";
import { olderThan } from "../../syscall/explain.ts";
import { type Attachable, type Link, linkFrom } from "../link.ts";

/** Index of a network interface given by name or index. */
export function interfaceIndex(kernel: Kernel, device: string | number): number {
  if (typeof device === "number") return device;
  if (!/^[^/\s]{1,15}$/.test(device))
    throw new ArgumentError("device", `expected the name of a network interface, got ${JSON.stringify(device)}`);
  const text = kernel.readFile(`/sys/class/net/${device}/ifindex`);
  if (typeof text === "number") {
    const names = kernel.readDir("/sys/class/net");
    throw new BpfkitError(
      "NO_DEVICE",
      `there is no network interface ${device}${typeof names === "number" ? "" : `; there are ${names.join(", ")}`}`,
    );
  }
  return Number(new TextDecoder().decode(text));
}

/** `XDP_FLAGS_*` of include/uapi/linux/if_link.h. */
const XDP_MODES = { auto: 0, generic: 2, native: 4, offload: 8 } as const;

/** Attaches an XDP program to a network interface. Linux 5.9. */
export function attachXdp(
  prog: Attachable,
  device: string | number,
  options: { mode?: keyof typeof XDP_MODES } = {},
): Link {
  const result = linkCreate(prog.kernel, "target_btf", {
    prog_fd: prog.fd,
    target_fd: interfaceIndex(prog.kernel, device),
    attach_type: BPF_ATTACH_TYPE.XDP,
    flags: XDP_MODES[options.mode ?? "auto"],
  });
  const reasons =
    result === -ERRNO.EBUSY
      ? ["another XDP program is attached to this interface"]
      : since(prog.kernel, result, "XDP links", "5.9");
  return linkFrom(prog, `XDP on ${device}`, "BPF_LINK_CREATE", result, new Owned(), reasons);
}

/** Attaches a tc program to a network interface, after those that are there. Linux 6.6 (tcx). */
export function attachTcx(
  prog: Attachable,
  device: string | number,
  direction: "ingress" | "egress" = "ingress",
): Link {
  if (olderThan(prog.kernel.release, "6.6")) {
    throw new NotSupportedError(
      "tcx",
      `attaching tc programs by link needs Linux 6.6, this is ${prog.kernel.release}`,
      { minKernel: "6.6" },
    );
  }
  const result = linkCreate(prog.kernel, "tcx", {
    prog_fd: prog.fd,
    target_fd: interfaceIndex(prog.kernel, device),
    attach_type: direction === "ingress" ? BPF_ATTACH_TYPE.TCX_INGRESS : BPF_ATTACH_TYPE.TCX_EGRESS,
  });
  return linkFrom(prog, `tc ${direction} of ${device}`, "BPF_LINK_CREATE", result);
}

/** Attaches to the cgroup at `path` (of a cgroup v2 mount) and everything below it. Linux 5.7. */
export function attachCgroup(prog: Attachable, path: string, attachType: number): Link {
  return byDescriptor(prog, path, attachType, `cgroup ${path}`);
}

/** Attaches a flow dissector or sk_lookup program to a network namespace (this one by default). Linux 5.8. */
export function attachNetns(prog: Attachable, attachType: number, path = "/proc/self/ns/net"): Link {
  return byDescriptor(prog, path, attachType, `network namespace ${path}`);
}

function byDescriptor(prog: Attachable, path: string, attachType: number, target: string): Link {
  using fd = new Fd(prog.kernel, check(prog.kernel, prog.kernel.open(path, 0), "open", { subject: path }), path);
  const result = linkCreate(prog.kernel, "target_btf", { prog_fd: prog.fd, target_fd: fd.fd, attach_type: attachType });
  return linkFrom(
    prog,
    target,
    "BPF_LINK_CREATE",
    result,
    new Owned(),
    since(prog.kernel, result, "links of this kind", "5.8"),
  );
}

function since(kernel: Kernel, result: number, what: string, version: string): readonly string[] {
  return result < 0 && olderThan(kernel.release, version)
    ? [`${what} need Linux ${version}, this is ${kernel.release}`]
    : [];
}
