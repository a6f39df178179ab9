/** Objects pinned in a BPF file system: they outlive the process that made them. */
import { BpfkitError } from "../core/errors.ts";
import { bpf, cstring } from "../syscall/attr.ts";
import { mapInfo, objectInfo } from "../syscall/bpf.ts";
import { check } from "../syscall/errors.ts";
import { Fd, Owned } from "../syscall/fd.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { realKernel } from "../syscall/kernel-real.ts";
import { ERRNO } from "../uapi/errno.ts";
import { Link } from "./link.ts";
import type { BpfMap, MapSchemas } from "./map.ts";
import { mapObject } from "./map-kinds.ts";

/** BPF_OBJ_GET: a new descriptor of what is pinned at `path`. Linux 4.4. */
export function openPinned(path: string, kernel: Kernel = realKernel()): Fd {
  const result = bpf(kernel, "OBJ_GET", { pathname: cstring(path) });
  const reasons =
    result === -ERRNO.ENOENT
      ? ["nothing is pinned there"]
      : result === -ERRNO.EPERM
        ? ["the path is not on a BPF file system, or the process lacks CAP_BPF"]
        : [];
  return new Fd(kernel, check(kernel, result, "BPF_OBJ_GET", { subject: path, reasons }), path);
}

/**
 * The map pinned at `path`, with the keys and values of `schemas`.
 *
 * @example
 * const counts = openPinnedMap("/sys/fs/bpf/counts", { key: u32, value: u64 });
 */
export function openPinnedMap(path: string, schemas: MapSchemas = {}, kernel: Kernel = realKernel()): BpfMap {
  const fd = openPinned(path, kernel);
  try {
    const info = mapInfo(kernel, fd.fd);
    if (info.id === 0 || info.maxEntries === 0) throw new BpfkitError("PINNED", `what is pinned at ${path} is no map`);
    return mapObject(kernel, fd, { ...info, name: info.name === "" ? path : info.name }, schemas);
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** The link pinned at `path`: closing it does not detach the program as long as the pin is there. */
export function openPinnedLink(path: string, kernel: Kernel = realKernel()): Link {
  const owned = new Owned();
  const fd = owned.own(openPinned(path, kernel));
  try {
    const view = new DataView(objectInfo(kernel, fd.fd, 16).slice().buffer);
    return new Link(
      { kernel, name: `program ${view.byteLength >= 12 ? view.getUint32(8, true) : "?"}`, fd: -1 },
      `pinned link ${path}`,
      owned,
      fd,
    );
  } catch (error) {
    owned.close();
    throw error;
  }
}
