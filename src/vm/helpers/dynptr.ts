/**
 * Dynptrs. The 16 bytes are the kernel's: where the data is (the context's address for packets), a word with the size,
 * the kind and a read-only bit, and the offset.
 */
import { BPF_PROG_TYPE, ERRNO } from "../../uapi/index.ts";
import { RingBufMap } from "../maps/ringbuf.ts";
import type { Run } from "../run.ts";
import { retAddress } from "./region.ts";
import type { HelperTable } from "./table.ts";

const EINVAL = -ERRNO.EINVAL;
const E2BIG = -ERRNO.E2BIG;
const SIZE = 16;
const MAX_SIZE = 0xff_ffff;
const KIND_SHIFT = 28;
const RDONLY = 0x8000_0000 | 0;
export const DYNPTR = { LOCAL: 1, RINGBUF: 2, SKB: 3, XDP: 4 } as const;

export interface Dynptr {
  /** Address of its 16 bytes. */
  readonly at: number;
  readonly data: number;
  readonly size: number;
  readonly kind: number;
  readonly readOnly: boolean;
  readonly offset: number;
}

/** The dynptr that r<n> points to. */
export function dynptr(run: Run, n: number): Dynptr {
  const at = run.readable(n, SIZE, "dynptr");
  const { view } = run.memory;
  const word = view.getInt32(at + 8, true);
  return {
    at,
    data: view.getUint32(at, true),
    size: word & MAX_SIZE,
    kind: (word >>> KIND_SHIFT) & 7,
    readOnly: (word & RDONLY) !== 0,
    offset: view.getUint32(at + 12, true),
  };
}

export function setDynptr(run: Run, at: number, data: number, size: number, kind: number, offset = 0, flags = 0): void {
  const { view } = run.memory;
  view.setUint32(at, data, true);
  view.setUint32(at + 4, 0, true);
  view.setInt32(at + 8, size | (kind << KIND_SHIFT) | flags, true);
  view.setUint32(at + 12, offset, true);
}
export const clearDynptr = (run: Run, at: number): void => setDynptr(run, at, 0, 0, 0);

/** Address of the byte at `offset`; packets are in one piece here. */
export function dynptrBytes(run: Run, d: Dynptr, offset: number): number {
  const base = d.kind === DYNPTR.SKB || d.kind === DYNPTR.XDP ? run.packet!.data : d.data;
  return base + d.offset + offset;
}
/** Are `size` bytes at `offset` outside? */
export const outside = (d: Dynptr, offset: number, size: number): boolean => size > d.size || offset > d.size - size;

function finish(run: Run, discard: boolean): void {
  const d = dynptr(run, 1);
  if (d.data === 0) return;
  run.vm.mapList.some((map) => map instanceof RingBufMap && map.commit(d.data, discard));
  run.acquired.delete(d.at);
  clearDynptr(run, d.at);
}

/** bpf_dynptr_read and _write of `size` bytes between the dynptr and memory at `address`. */
function write(run: Run, d: Dynptr, offset: number, from: number, size: number, flags: bigint): number {
  if (d.data === 0 || d.readOnly) return EINVAL;
  if (outside(d, offset, size)) return E2BIG;
  const packet = d.kind === DYNPTR.SKB;
  // BPF_F_RECOMPUTE_CSUM and BPF_F_INVALIDATE_HASH.
  if (packet ? (flags & ~3n) !== 0n : flags !== 0n) return EINVAL;
  run.memory.u8.copyWithin(dynptrBytes(run, d, offset), from, from + size);
  return 0;
}

export const DYNPTR_HELPERS: HelperTable = {
  dynptr_from_mem: (run) => {
    const to = run.writable(4, SIZE, "dynptr");
    const size = run.lo(2) >>> 0;
    const flags = run.u64(3);
    const error = size > MAX_SIZE ? E2BIG : flags !== 0n ? EINVAL : 0;
    if (error === 0) setDynptr(run, to, run.lo(1) >>> 0, size, DYNPTR.LOCAL);
    else clearDynptr(run, to);
    return run.ret(error);
  },
  ringbuf_reserve_dynptr: (run) => {
    const ring = run.map(1);
    const size = run.lo(2) >>> 0;
    const to = run.writable(4, SIZE, "dynptr");
    run.acquired.set(to, { what: `a record of ring buffer ${ring.name}`, insn: run.insn });
    const address = ring instanceof RingBufMap && run.u64(3) === 0n && size <= MAX_SIZE ? ring.reserve(size) : 0;
    if (address === 0) {
      clearDynptr(run, to);
      return run.ret(size > MAX_SIZE ? E2BIG : EINVAL);
    }
    setDynptr(run, to, address, size, DYNPTR.RINGBUF);
    return run.ret(0);
  },
  ringbuf_submit_dynptr: (run) => {
    run.acquired.delete(run.lo(1) >>> 0);
    finish(run, false);
  },
  ringbuf_discard_dynptr: (run) => {
    run.acquired.delete(run.lo(1) >>> 0);
    finish(run, true);
  },
  dynptr_read: (run) => {
    const size = run.lo(2) >>> 0;
    const to = run.writable(1, size, "buffer");
    const d = dynptr(run, 3);
    const offset = run.lo(4) >>> 0;
    if (d.data === 0 || run.u64(5) !== 0n) return run.ret(EINVAL);
    if (outside(d, offset, size)) return run.ret(E2BIG);
    const from = dynptrBytes(run, d, offset);
    run.memory.u8.copyWithin(to, from, from + size);
    return run.ret(0);
  },
  dynptr_write: (run) => {
    const d = dynptr(run, 1);
    const size = run.lo(4) >>> 0;
    run.ret(write(run, d, run.lo(2) >>> 0, run.readable(3, size, "data"), size, run.u64(5)));
  },
  dynptr_data: (run) => {
    const d = dynptr(run, 1);
    const [offset, size] = [run.lo(2) >>> 0, run.lo(3) >>> 0];
    const packet = d.kind === DYNPTR.SKB || d.kind === DYNPTR.XDP;
    if (d.data === 0 || d.readOnly || packet || outside(d, offset, size)) return run.retPointer(0, 0);
    return retAddress(run, dynptrBytes(run, d, offset));
  },
};

const arg = (run: Run, n: number): number => run.lo(n) >>> 0;

/** Types that may write to the packet directly; the others get dynptrs to read. */
const WRITES_PACKETS: ReadonlySet<number> = new Set([
  BPF_PROG_TYPE.SCHED_CLS,
  BPF_PROG_TYPE.SCHED_ACT,
  BPF_PROG_TYPE.LWT_XMIT,
  BPF_PROG_TYPE.SK_SKB,
]);

function fromPacket(kind: number): (run: Run) => void {
  return (run) => {
    const to = run.writable(3, SIZE, "dynptr");
    const { packet } = run;
    if (run.u64(2) !== 0n || packet === undefined) {
      clearDynptr(run, to);
      return run.ret(EINVAL);
    }
    const readOnly = kind === DYNPTR.SKB && !WRITES_PACKETS.has(run.image.spec.type);
    setDynptr(run, to, run.ctx, packet.end - packet.data, kind, 0, readOnly ? RDONLY : 0);
    return run.ret(0);
  };
}

function slice(writes: boolean): (run: Run) => void {
  return (run) => {
    const d = dynptr(run, 1);
    const [offset, size] = [arg(run, 2), arg(run, 4)];
    if (d.data === 0 || (writes && d.readOnly) || outside(d, offset, size)) return run.retPointer(0, 0);
    return retAddress(run, dynptrBytes(run, d, offset));
  };
}

/** Kernel functions on dynptrs. */
export const DYNPTR_KFUNCS: Readonly<Record<string, (run: Run) => void>> = {
  bpf_dynptr_from_skb: fromPacket(DYNPTR.SKB),
  bpf_dynptr_from_xdp: fromPacket(DYNPTR.XDP),
  bpf_dynptr_slice: slice(false),
  bpf_dynptr_slice_rdwr: slice(true),
  bpf_dynptr_adjust: (run) => {
    const d = dynptr(run, 1);
    const [start, end] = [arg(run, 2), arg(run, 3)];
    if (d.data === 0 || start > end) return run.ret(EINVAL);
    if (start > d.size || end > d.size) return run.ret(-ERRNO.ERANGE);
    setDynptr(run, d.at, d.data, end - start, d.kind, d.offset + start, d.readOnly ? RDONLY : 0);
    return run.ret(0);
  },
  bpf_dynptr_is_null: (run) => run.ret(dynptr(run, 1).data === 0 ? 1 : 0),
  bpf_dynptr_is_rdonly: (run) => {
    const d = dynptr(run, 1);
    run.ret(d.data !== 0 && d.readOnly ? 1 : 0);
  },
  bpf_dynptr_size: (run) => {
    const d = dynptr(run, 1);
    run.ret(d.data === 0 ? EINVAL : d.size);
  },
  bpf_dynptr_clone: (run) => {
    const d = dynptr(run, 1);
    const to = run.writable(2, SIZE, "dynptr");
    if (d.data === 0) {
      clearDynptr(run, to);
      return run.ret(EINVAL);
    }
    run.memory.u8.copyWithin(to, d.at, d.at + SIZE);
    return run.ret(0);
  },
  bpf_dynptr_copy: (run) => {
    const to = dynptr(run, 1);
    const from = dynptr(run, 3);
    const [toOffset, fromOffset, size] = [arg(run, 2), arg(run, 4), arg(run, 5)];
    if (to.data === 0 || from.data === 0 || to.readOnly) return run.ret(EINVAL);
    if (outside(to, toOffset, size) || outside(from, fromOffset, size)) return run.ret(E2BIG);
    const at = dynptrBytes(run, from, fromOffset);
    run.memory.u8.copyWithin(dynptrBytes(run, to, toOffset), at, at + size);
    return run.ret(0);
  },
  bpf_dynptr_memset: (run) => {
    const d = dynptr(run, 1);
    const [offset, size] = [arg(run, 2), arg(run, 3)];
    if (d.data === 0 || d.readOnly) return run.ret(EINVAL);
    if (outside(d, offset, size)) return run.ret(E2BIG);
    const at = dynptrBytes(run, d, offset);
    run.memory.u8.fill(run.lo(4) & 0xff, at, at + size);
    return run.ret(0);
  },
};
