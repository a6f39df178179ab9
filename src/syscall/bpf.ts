/** Programs, maps and BTF by bpf(2), one call each; `src/load` builds on these. */
import { decodeCString, hostEndian } from "../core/bytes.ts";
import { ERRNO } from "../uapi/errno.ts";
import type { AttrOf } from "./attr-layout.ts";
import { bpf, bpfWithResults, cstring } from "./attr.ts";
import { type CallContext, check, syscallError } from "./errors.ts";
import { Fd } from "./fd.ts";
import type { Kernel } from "./kernel.ts";

const LITTLE = hostEndian === "little";
/** Largest verifier log the kernel takes (UINT_MAX >> 2 since 4.x; 16 MiB minus one page is accepted by all). */
const MAX_LOG_BYTES = 16 * 1024 * 1024 - 4096;

export interface ProgLoadOptions {
  /** `BPF_PROG_TYPE_*`. */
  readonly type: number;
  /** Encoded instructions, 8 bytes each (`encodeInsns`). */
  readonly insns: Uint8Array;
  /** "GPL" opens the helpers that are for GPL programs only. */
  readonly license?: string;
  readonly name?: string;
  readonly expectedAttachType?: number;
  readonly flags?: number;
  readonly attachBtfId?: number;
  /** fd of the program to attach to, or of the BTF that holds `attachBtfId`. */
  readonly attachFd?: number;
  readonly kernelVersion?: number;
  readonly ifindex?: number;
  /** func_info and line_info, and the fd of their BTF. */
  readonly btfFd?: number;
  readonly funcInfo?: { readonly bytes: Uint8Array; readonly recordSize: number };
  readonly lineInfo?: { readonly bytes: Uint8Array; readonly recordSize: number };
  /** fds that the instructions refer to by index (`BPF_PSEUDO_MAP_IDX`, kfuncs of modules). */
  readonly fdArray?: Int32Array;
  /** 1: the log, 2: every state, 4: only statistics. 0 (the default) makes loading fast. */
  readonly logLevel?: 0 | 1 | 2 | 4 | 5 | 6;
  /** Bytes to start with; grown until the log fits. */
  readonly logSize?: number;
}

/** What BPF_PROG_LOAD said. `log` is what the verifier wrote; "" with log level 0. */
export interface ProgLoadResult {
  /** The program's fd, or -errno. */
  readonly result: number;
  readonly log: string;
}

/**
 * BPF_PROG_LOAD, without judging the result: the verdict and the log are the answer
 * (tests that compare with the kernel want both). The log buffer grows until the log fits.
 *
 * @example
 * const kernel = realKernel();
 * const insns = encodeInsns([mov64Imm(0, 7), exit()]);
 * const { result, log } = progLoad(kernel, { type: BPF_PROG_TYPE.XDP, insns, logLevel: 1 });
 */
export function progLoad(kernel: Kernel, options: ProgLoadOptions): ProgLoadResult {
  const level = options.logLevel ?? 0;
  let logSize = level === 0 ? 0 : Math.min(options.logSize ?? 64 * 1024, MAX_LOG_BYTES);
  for (let tries = 0; ; tries++) {
    const log = new Uint8Array(logSize);
    const result = bpf(kernel, "PROG_LOAD", progAttr(options, level, log));
    if (result === -ERRNO.ENOSPC && logSize > 0 && logSize < MAX_LOG_BYTES) {
      logSize = Math.min(logSize * 8, MAX_LOG_BYTES);
      continue;
    }
    // EAGAIN: the verifier was interrupted by a signal; libbpf tries five times too.
    if (result === -ERRNO.EAGAIN && tries < 5) continue;
    return { result, log: decodeCString(log) };
  }
}

function progAttr(o: ProgLoadOptions, level: number, log: Uint8Array): AttrOf<"PROG_LOAD"> {
  const records = (info: ProgLoadOptions["funcInfo"]): number =>
    info === undefined ? 0 : info.bytes.length / info.recordSize;
  return {
    prog_type: o.type,
    insn_cnt: o.insns.length / 8,
    insns: o.insns,
    license: cstring(o.license ?? "GPL"),
    log_level: level,
    log_size: log.length,
    log_buf: log,
    kern_version: o.kernelVersion,
    prog_flags: o.flags,
    prog_name: o.name,
    prog_ifindex: o.ifindex,
    expected_attach_type: o.expectedAttachType,
    prog_btf_fd: o.btfFd,
    func_info_rec_size: o.funcInfo?.recordSize,
    func_info: o.funcInfo?.bytes,
    func_info_cnt: records(o.funcInfo),
    line_info_rec_size: o.lineInfo?.recordSize,
    line_info: o.lineInfo?.bytes,
    line_info_cnt: records(o.lineInfo),
    attach_btf_id: o.attachBtfId,
    attach_prog_fd: o.attachFd,
    fd_array:
      o.fdArray === undefined
        ? undefined
        : new Uint8Array(o.fdArray.buffer, o.fdArray.byteOffset, o.fdArray.byteLength),
  };
}

export interface TestRunOptions {
  /** Packet (or other data) given to the program. */
  readonly data?: Uint8Array;
  /** Room for the data the program leaves; the default is what came plus 256 bytes of headroom. */
  readonly dataOutSize?: number;
  /** The context (`struct xdp_md`, `struct __sk_buff`, raw tracepoint arguments, …). */
  readonly ctx?: Uint8Array;
  readonly ctxOut?: boolean;
  /** How often to run; the duration is the average. */
  readonly repeat?: number;
  readonly flags?: number;
  readonly cpu?: number;
  readonly batchSize?: number;
}
export interface TestRunResult {
  /** The program's return value: r0, 32 bits. */
  readonly returnValue: number;
  /** Average nanoseconds of one run. */
  readonly durationNs: number;
  readonly data: Uint8Array;
  readonly ctx: Uint8Array;
}

/**
 * BPF_PROG_TEST_RUN: runs a loaded program in the kernel without attaching it. Which
 * of `data` and `ctx` are allowed depends on the program type. Throws `SyscallError`.
 */
export function progTestRun(kernel: Kernel, fd: number, options: TestRunOptions = {}): TestRunResult {
  const dataIn = options.data ?? new Uint8Array(0);
  const ctxIn = options.ctx ?? new Uint8Array(0);
  const dataOut = new Uint8Array(options.dataOutSize ?? (dataIn.length === 0 ? 0 : dataIn.length + 256));
  const ctxOut = new Uint8Array(options.ctxOut === true ? ctxIn.length : 0);
  const attr: AttrOf<"PROG_TEST_RUN"> = {
    prog_fd: fd,
    data_in: dataIn,
    data_size_in: dataIn.length,
    data_out: dataOut,
    data_size_out: dataOut.length,
    ctx_in: ctxIn,
    ctx_size_in: ctxIn.length,
    ctx_out: ctxOut,
    ctx_size_out: ctxOut.length,
    repeat: options.repeat,
    flags: options.flags,
    cpu: options.cpu,
    batch_size: options.batchSize,
  };
  const { result, u32 } = bpfWithResults(kernel, "PROG_TEST_RUN", attr);
  if (result < 0) throw syscallError(kernel, "BPF_PROG_TEST_RUN", result);
  return {
    returnValue: u32("retval"),
    durationNs: u32("duration"),
    data: dataOut.subarray(0, Math.min(u32("data_size_out"), dataOut.length)),
    ctx: ctxOut.subarray(0, Math.min(u32("ctx_size_out"), ctxOut.length)),
  };
}

/** BPF_BTF_LOAD: an owned fd. On failure `log` (when wanted) holds the kernel's reason. */
export function btfLoad(kernel: Kernel, btf: Uint8Array, logSize = 0): { result: number; log: string } {
  const log = new Uint8Array(logSize);
  const result = bpf(kernel, "BTF_LOAD", {
    btf,
    btf_size: btf.length,
    btf_log_buf: log,
    btf_log_size: log.length,
    btf_log_level: log.length > 0 ? 1 : 0,
  });
  return { result, log: decodeCString(log) };
}

export interface MapCreateOptions {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly name?: string;
  readonly flags?: number;
  readonly mapExtra?: bigint;
  readonly numaNode?: number;
  readonly innerMapFd?: number;
  readonly btfFd?: number;
  readonly btfKeyTypeId?: number;
  readonly btfValueTypeId?: number;
  readonly btfVmlinuxValueTypeId?: number;
}

/** BPF_MAP_CREATE: the fd or -errno. */
export function mapCreateRaw(kernel: Kernel, o: MapCreateOptions): number {
  return bpf(kernel, "MAP_CREATE", {
    map_type: o.type,
    key_size: o.keySize,
    value_size: o.valueSize,
    max_entries: o.maxEntries,
    map_flags: o.flags,
    inner_map_fd: o.innerMapFd,
    numa_node: o.numaNode,
    map_name: o.name,
    map_extra: o.mapExtra,
    btf_fd: o.btfFd,
    btf_key_type_id: o.btfKeyTypeId,
    btf_value_type_id: o.btfValueTypeId,
    btf_vmlinux_value_type_id: o.btfVmlinuxValueTypeId,
  });
}

/** An owned fd from a result, or the explained error. */
export function fdFrom(kernel: Kernel, result: number, command: string, what: string, context: CallContext = {}): Fd {
  return new Fd(kernel, check(kernel, result, command, { subject: what, ...context }), what);
}

/** BPF_OBJ_GET_INFO_BY_FD: the first `size` bytes of the object's info struct, as much as this kernel has. */
export function objectInfo(kernel: Kernel, fd: number, size: number, prepare?: (info: DataView) => void): Uint8Array {
  const info = new Uint8Array(size);
  prepare?.(new DataView(info.buffer));
  const { result, u32 } = bpfWithResults(kernel, "OBJ_GET_INFO_BY_FD", { bpf_fd: fd, info_len: size, info });
  check(kernel, result, "BPF_OBJ_GET_INFO_BY_FD");
  return info.subarray(0, Math.min(size, u32("info_len")));
}

/** `struct bpf_prog_info`, what most want of it. */
export interface ProgInfo {
  readonly type: number;
  readonly id: number;
  readonly name: string;
  /** Bytes of the translated program. */
  readonly xlatedSize: number;
  readonly jitedSize: number;
  readonly mapIds: readonly number[];
  readonly btfId: number;
  /** Instructions the verifier processed; 0 before 5.16. */
  readonly verifiedInsns: number;
  /** Counted only while statistics are enabled (kernel.bpf_stats_enabled). */
  readonly runTimeNs: bigint;
  readonly runCount: bigint;
}
const PROG_INFO_SIZE = 232;

/** Facts about a loaded program. Linux 4.13. */
export function progInfo(kernel: Kernel, fd: number): ProgInfo {
  const view = pad(objectInfo(kernel, fd, PROG_INFO_SIZE), PROG_INFO_SIZE);
  const mapCount = view.getUint32(52, LITTLE);
  let mapIds: number[] = [];
  if (mapCount > 0) {
    const ids = new Uint8Array(mapCount * 4);
    objectInfo(kernel, fd, PROG_INFO_SIZE, (v) => {
      v.setUint32(52, mapCount, LITTLE);
      v.setBigUint64(56, BigInt(kernel.address(ids)), LITTLE);
    });
    mapIds = [...new Uint32Array(ids.buffer)];
  }
  return {
    type: view.getUint32(0, LITTLE),
    id: view.getUint32(4, LITTLE),
    jitedSize: view.getUint32(16, LITTLE),
    xlatedSize: view.getUint32(20, LITTLE),
    mapIds,
    name: nameAt(view, 64),
    btfId: view.getUint32(128, LITTLE),
    runTimeNs: view.getBigUint64(192, LITTLE),
    runCount: view.getBigUint64(200, LITTLE),
    verifiedInsns: view.getUint32(216, LITTLE),
  };
}

/** The instructions as the kernel runs them, after its rewriting: 8 bytes each. Needs CAP_BPF and CAP_PERFMON. */
export function progXlated(kernel: Kernel, fd: number): Uint8Array {
  const insns = new Uint8Array(progInfo(kernel, fd).xlatedSize);
  objectInfo(kernel, fd, PROG_INFO_SIZE, (v) => {
    v.setUint32(20, insns.length, LITTLE);
    v.setBigUint64(32, BigInt(kernel.address(insns)), LITTLE);
  });
  return insns;
}

/** `struct bpf_map_info`, what most want of it. */
export interface MapInfo {
  readonly type: number;
  readonly id: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly name: string;
  readonly btfId: number;
  readonly btfKeyTypeId: number;
  readonly btfValueTypeId: number;
}
const MAP_INFO_SIZE = 88;

/** Facts about a map. Linux 4.13. */
export function mapInfo(kernel: Kernel, fd: number): MapInfo {
  const view = pad(objectInfo(kernel, fd, MAP_INFO_SIZE), MAP_INFO_SIZE);
  const u = (offset: number): number => view.getUint32(offset, LITTLE);
  return {
    type: u(0),
    id: u(4),
    keySize: u(8),
    valueSize: u(12),
    maxEntries: u(16),
    flags: u(20),
    name: nameAt(view, 24),
    btfId: u(64),
    btfKeyTypeId: u(68),
    btfValueTypeId: u(72),
  };
}

/** Ids of every program, map, BTF object or link in the kernel, ascending. Needs CAP_SYS_ADMIN. */
export function* objectIds(kernel: Kernel, kind: "PROG" | "MAP" | "BTF" | "LINK"): Generator<number> {
  for (let id = 0; ;) {
    const { result, u32 } = bpfWithResults(kernel, `${kind}_GET_NEXT_ID`, { id });
    if (result === -ERRNO.ENOENT) return;
    check(kernel, result, `BPF_${kind}_GET_NEXT_ID`);
    id = u32("next_id");
    yield id;
  }
}

/** An owned fd of the object with this id; throws ENOENT when it is gone. */
export function openById(kernel: Kernel, kind: "PROG" | "MAP" | "BTF" | "LINK", id: number): Fd {
  return fdFrom(
    kernel,
    bpf(kernel, `${kind}_GET_FD_BY_ID`, { id }),
    `BPF_${kind}_GET_FD_BY_ID`,
    `${kind.toLowerCase()} ${id}`,
  );
}

function pad(bytes: Uint8Array, size: number): DataView {
  const full = new Uint8Array(size);
  full.set(bytes);
  return new DataView(full.buffer);
}

function nameAt(view: DataView, offset: number): string {
  return decodeCString(new Uint8Array(view.buffer, offset, 16));
}
