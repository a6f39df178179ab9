/** Making one map from its spec: sizes that depend on the machine, what older kernels lack, initial data. */
import { BpfkitError, NotSupportedError } from "../core/errors.ts";
import type { MapSpec } from "../elf/spec.ts";
import { bpf, cstring } from "../syscall/attr.ts";
import { mapCreateRaw, mapInfo, type MapCreateOptions } from "../syscall/bpf.ts";
import { possibleCpus } from "../syscall/cpus.ts";
import { check, syscallError } from "../syscall/errors.ts";
import { Fd } from "../syscall/fd.ts";
import type { Kernel } from "../syscall/kernel.ts";
import { ERRNO } from "../uapi/errno.ts";
import { BPF_F } from "../uapi/flags.ts";
import { BPF_MAP_TYPE, mapTypeName } from "../uapi/map-types.ts";
import { hasMmapableArrays, hasObjectNames } from "./features.ts";

export interface MapContext {
  readonly kernel: Kernel;
  /** fd of the collection's BTF; undefined where this kernel takes none. */
  readonly btfFd: number | undefined;
  readonly pinDirectory: string;
  note(text: string): void;
}

/** Creates (or, for pinned ones, opens) the map. Its data is not written yet. */
export function createMap(spec: MapSpec, context: MapContext): Fd {
  const { kernel } = context;
  const what = `map ${spec.name}`;
  if (spec.structOps !== undefined) {
    throw new NotSupportedError("struct_ops", `map ${spec.name}: loading struct_ops maps is not supported`, {
      minKernel: "5.6",
    });
  }
  if (spec.pinning === "by-name") {
    const pinned = openPinned(spec, context);
    if (pinned !== undefined) return pinned;
  }
  let inner: Fd | undefined;
  try {
    if (spec.inner !== undefined)
      inner = createMap(
        { ...spec.inner, name: `${spec.name}.inner`, pinning: "none" },
        { ...context, pinDirectory: "" },
      );
    const fd = new Fd(kernel, create(spec, context, inner?.fd), what);
    if (spec.pinning === "by-name") pinNew(kernel, fd, spec, context);
    return fd;
  } finally {
    inner?.close();
  }
}

function create(spec: MapSpec, context: MapContext, innerMapFd: number | undefined): number {
  const { kernel } = context;
  const btf = context.btfFd !== undefined && (spec.btfKeyTypeId !== 0 || spec.btfValueTypeId !== 0);
  let options: MapCreateOptions = {
    type: spec.type,
    keySize: spec.keySize,
    valueSize: spec.valueSize,
    maxEntries: maxEntriesOf(spec, kernel),
    name: spec.name,
    flags: spec.flags | (spec.numaNode === undefined ? 0 : BPF_F.NUMA_NODE),
    mapExtra: spec.mapExtra,
    ...(spec.numaNode === undefined ? {} : { numaNode: spec.numaNode }),
    ...(innerMapFd === undefined ? {} : { innerMapFd }),
    ...(btf ? { btfFd: context.btfFd ?? 0, btfKeyTypeId: spec.btfKeyTypeId, btfValueTypeId: spec.btfValueTypeId } : {}),
  };
  const first = mapCreateRaw(kernel, options);
  if (first >= 0) return first;

  // Not every map type takes BTF, and older kernels lack names or flags: leave out what is in the way.
  const without = (...keys: (keyof MapCreateOptions)[]): MapCreateOptions =>
    Object.fromEntries(Object.entries(options).filter(([k]) => !keys.includes(k as never))) as never;
  let result = first;
  if (btf) {
    options = without("btfFd", "btfKeyTypeId", "btfValueTypeId");
    result = mapCreateRaw(kernel, options);
  }
  if (result < 0 && !hasObjectNames(kernel)) {
    context.note("this kernel takes no names of maps and programs (Linux 4.15)");
    options = without("name");
    result = mapCreateRaw(kernel, options);
  }
  if (
    result < 0 &&
    ((options.flags ?? 0) & BPF_F.MMAPABLE) !== 0 &&
    spec.type !== BPF_MAP_TYPE.ARENA &&
    !hasMmapableArrays(kernel)
  ) {
    context.note("this kernel cannot map arrays into memory (Linux 5.5)");
    options = { ...options, flags: (options.flags ?? 0) & ~BPF_F.MMAPABLE };
    result = mapCreateRaw(kernel, options);
  }
  if (result < 0) {
    // The first errno is the one that says what is wrong with the spec as it stands.
    throw syscallError(kernel, "BPF_MAP_CREATE", btf ? result : first, {
      subject: `map ${spec.name} (${mapTypeName(spec.type)?.toLowerCase() ?? spec.type}, key ${spec.keySize}, value ${spec.valueSize}, ${options.maxEntries} entries)`,
      mapType: spec.type,
    });
  }
  return result;
}

function maxEntriesOf(spec: MapSpec, kernel: Kernel): number {
  if (spec.type === BPF_MAP_TYPE.RINGBUF || spec.type === BPF_MAP_TYPE.USER_RINGBUF) {
    // The kernel wants a power of two of whole pages.
    let size = kernel.pageSize;
    while (size < spec.maxEntries) size *= 2;
    return size;
  }
  return spec.maxEntries === 0 && spec.type === BPF_MAP_TYPE.PERF_EVENT_ARRAY ? possibleCpus(kernel) : spec.maxEntries;
}

function openPinned(spec: MapSpec, context: MapContext): Fd | undefined {
  const { kernel } = context;
  const path = `${context.pinDirectory}/${spec.name}`;
  const result = bpf(kernel, "OBJ_GET", { pathname: cstring(path) });
  if (result === -ERRNO.ENOENT) return undefined;
  const fd = new Fd(kernel, check(kernel, result, "BPF_OBJ_GET", { subject: path }), `map ${spec.name}`);
  const info = mapInfo(kernel, fd.fd);
  if (info.type !== spec.type || info.keySize !== spec.keySize || info.valueSize !== spec.valueSize) {
    fd.close();
    throw new BpfkitError(
      "PINNED_MAP",
      `the map pinned at ${path} has another shape (type ${info.type}, key ${info.keySize}, value ${info.valueSize} bytes) than ${spec.name} (type ${spec.type}, key ${spec.keySize}, value ${spec.valueSize}). Remove it, or rename the map`,
    );
  }
  return fd;
}

function pinNew(kernel: Kernel, fd: Fd, spec: MapSpec, context: MapContext): void {
  const path = `${context.pinDirectory}/${spec.name}`;
  const result = bpf(kernel, "OBJ_PIN", { pathname: cstring(path), bpf_fd: fd.fd });
  if (result < 0) {
    fd.close();
    throw syscallError(kernel, "BPF_OBJ_PIN", result, {
      subject: path,
      reasons:
        result === -ERRNO.ENOENT || result === -ERRNO.EPERM
          ? [
              `${context.pinDirectory} must be a directory of a mounted BPF file system (sudo mount -t bpf bpf /sys/fs/bpf)`,
            ]
          : [],
    });
  }
}

/** Writes the initial value of a data section and freezes it where it is constant. */
export function writeData(
  kernel: Kernel,
  fd: Fd,
  spec: MapSpec,
  data: Uint8Array | undefined,
  note: (text: string) => void,
): void {
  if (data !== undefined) {
    if (data.length !== spec.valueSize)
      throw new BpfkitError("SPEC", `map ${spec.name}: ${data.length} bytes of data for a value of ${spec.valueSize}`);
    const result = bpf(kernel, "MAP_UPDATE_ELEM", { map_fd: fd.fd, key: new Uint8Array(4), value: data });
    check(kernel, result, "BPF_MAP_UPDATE_ELEM", { subject: `map ${spec.name}` });
  }
  if (!spec.frozen) return;
  const frozen = bpf(kernel, "MAP_FREEZE", { map_fd: fd.fd });
  if (frozen === -ERRNO.EINVAL)
    note(`${spec.name} is not frozen: this kernel cannot (Linux 5.2), so the verifier does not know its constants`);
  else check(kernel, frozen, "BPF_MAP_FREEZE", { subject: `map ${spec.name}` });
}
