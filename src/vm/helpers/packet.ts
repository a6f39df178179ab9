/** Packets: LD_ABS and LD_IND, and the helpers of xdp and skb programs that read and change them. */
import { ERRNO } from "../../uapi/index.ts";
import { FAULT } from "../fault.ts";
import type { Packet, Run } from "../run.ts";
import { csumReplace } from "./checksum.ts";
import type { HelperTable } from "./table.ts";

const EINVAL = -ERRNO.EINVAL;
const EFAULT = -ERRNO.EFAULT;
const ETH_HLEN = 14;
/** sizeof(struct xdp_frame), which XDP keeps before the data. */
const XDP_FRAME = 40;
const SKF_NET_OFF = -0x10_0000;
const SKF_LL_OFF = -0x20_0000;

/** Address of `size` bytes at `offset` of the packet; 0 when they are not all there. */
function at(packet: Packet, offset: number, size: number): number {
  return offset >= 0 && packet.data + offset + size <= packet.end ? packet.data + offset : 0;
}

export function need(run: Run): Packet {
  if (run.packet === undefined) throw run.fault(FAULT.BAD_ARGUMENT, "there is no packet in this run");
  return run.packet;
}

/** r0 = a big-endian word of the packet. False when it lies outside: the program ends then. */
export function loadPacketWord(run: Run, offset: number, size: number): boolean {
  const packet = need(run);
  let address: number;
  if (offset >= 0) address = at(packet, offset, size);
  else {
    const base = offset >= SKF_NET_OFF ? packet.network - SKF_NET_OFF : packet.mac - SKF_LL_OFF;
    address = offset >= SKF_LL_OFF ? base + offset : 0;
    if (address < packet.start || address + size > packet.end) address = 0;
  }
  if (address === 0) return false;
  const { view } = run.memory;
  run.retU32(
    size === 4 ? view.getInt32(address, false) : size === 2 ? view.getUint16(address, false) : view.getUint8(address),
  );
  return true;
}

/** Writes the packet's bounds to the context and its regions after they changed. */
export function syncPacket(run: Run, packet: Packet): void {
  const { view } = run.memory;
  run.memory.moveRegion(packet.region, packet.data, packet.end - packet.data);
  run.memory.moveRegion(packet.metaRegion, packet.meta, packet.data - packet.meta);
  if (packet.kind === "xdp") {
    view.setUint32(run.ctx, packet.data, true);
    view.setUint32(run.ctx + 4, packet.end, true);
    view.setUint32(run.ctx + 8, packet.meta, true);
  } else {
    view.setUint32(run.ctx, packet.end - packet.data, true);
    view.setUint32(run.ctx + 76, packet.data, true);
    view.setUint32(run.ctx + 80, packet.end, true);
    view.setUint32(run.ctx + 140, packet.meta, true);
  }
}

function load(run: Run): void {
  const size = run.lo(4) >>> 0;
  const to = run.writable(3, size, "buffer");
  const from = at(need(run), run.lo(2), size);
  if (from === 0) {
    run.memory.u8.fill(0, to, to + size);
    return run.ret(EFAULT);
  }
  run.memory.u8.copyWithin(to, from, from + size);
  return run.ret(0);
}

function store(run: Run, flagsAllowed: number): void {
  const size = run.lo(4) >>> 0;
  const from = run.readable(3, size, "buffer");
  if (run.hi(5) !== 0 || (run.lo(5) & ~flagsAllowed) !== 0) return run.ret(EINVAL);
  const to = at(need(run), run.lo(2), size);
  if (to === 0) return run.ret(EFAULT);
  run.memory.u8.copyWithin(to, from, from + size);
  return run.ret(0);
}

function replaceChecksum(run: Run, l4: boolean): void {
  const flags = run.lo(5);
  const offset = run.lo(2) >>> 0;
  if (run.hi(5) !== 0 || (flags & ~(l4 ? 0xff : 0xf)) !== 0) return run.ret(EINVAL);
  if (offset > 0xffff || (offset & 1) !== 0) return run.ret(EFAULT);
  const address = at(need(run), offset, 2);
  if (address === 0) return run.ret(EFAULT);
  const { view } = run.memory;
  const sum = view.getUint16(address, true);
  const markZero = l4 && (flags & 0x20) !== 0;
  if (markZero && (flags & 0x40) === 0 && sum === 0) return run.ret(0);
  const from = run.lo(3);
  const to = run.lo(4);
  let next: number;
  switch (flags & 0xf) {
    case 0:
      if (from !== 0 || run.hi(3) !== 0) return run.ret(EINVAL);
      next = csumReplace(sum, 0, to);
      break;
    case 2:
      next = csumReplace(sum, from & 0xffff, to & 0xffff);
      break;
    case 4:
      next = csumReplace(sum, from, to);
      break;
    default:
      return run.ret(EINVAL);
  }
  if (markZero && next === 0) next = 0xffff;
  view.setUint16(address, next, true);
  return run.ret(0);
}

export const PACKET_HELPERS: HelperTable = {
  skb_load_bytes: load,
  skb_load_bytes_relative: (run) => {
    const packet = need(run);
    const size = run.lo(4) >>> 0;
    const to = run.writable(3, size, "buffer");
    const start = run.lo(5) >>> 0;
    if (start > 1) return run.ret(EINVAL);
    const from = (start === 0 ? packet.mac : packet.network) + (run.lo(2) >>> 0);
    if (run.lo(2) >>> 0 > 0xffff || from + size > packet.end) {
      run.memory.u8.fill(0, to, to + size);
      return run.ret(EFAULT);
    }
    run.memory.u8.copyWithin(to, from, from + size);
    return run.ret(0);
  },
  skb_store_bytes: (run) => store(run, 3),
  xdp_load_bytes: load,
  xdp_store_bytes: (run) => store(run, -1),
  skb_pull_data: (run) => {
    const packet = need(run);
    run.ret(packet.end - packet.data >= run.lo(2) >>> 0 ? 0 : -ERRNO.ENOMEM);
  },
  l3_csum_replace: (run) => replaceChecksum(run, false),
  l4_csum_replace: (run) => replaceChecksum(run, true),
  xdp_get_buff_len: (run) => {
    const packet = need(run);
    run.ret64(BigInt(packet.end - packet.data));
  },
  xdp_adjust_head: (run) => {
    const packet = need(run);
    const offset = run.lo(2);
    const metaLength = packet.data - packet.meta;
    const data = packet.data + offset;
    if (data < packet.start + XDP_FRAME + metaLength || data > packet.end - ETH_HLEN) return run.ret(EINVAL);
    if (metaLength > 0) run.memory.u8.copyWithin(packet.meta + offset, packet.meta, packet.data);
    packet.data = data;
    packet.meta += offset;
    syncPacket(run, packet);
    return run.ret(0);
  },
  xdp_adjust_tail: (run) => {
    const packet = need(run);
    const end = packet.end + run.lo(2);
    if (end > packet.limit || end < packet.data + ETH_HLEN) return run.ret(EINVAL);
    if (end > packet.end) run.memory.u8.fill(0, packet.end, end);
    packet.end = end;
    syncPacket(run, packet);
    return run.ret(0);
  },
  xdp_adjust_meta: (run) => {
    const packet = need(run);
    const meta = packet.meta + run.lo(2);
    if (meta < packet.start + XDP_FRAME || meta > packet.data) return run.ret(EINVAL);
    const length = packet.data - meta;
    if ((length & 3) !== 0 || length > 255) return run.ret(-ERRNO.EACCES);
    packet.meta = meta;
    syncPacket(run, packet);
    return run.ret(0);
  },
  skb_change_tail: (run) => {
    const packet = need(run);
    const length = run.lo(2) >>> 0;
    if (run.lo(3) !== 0 || run.hi(3) !== 0 || length < ETH_HLEN || packet.data + length > packet.limit)
      return run.ret(EINVAL);
    if (packet.data + length > packet.end) run.memory.u8.fill(0, packet.end, packet.data + length);
    packet.end = packet.data + length;
    syncPacket(run, packet);
    return run.ret(0);
  },
  redirect: (run) => {
    const flags = run.lo(2);
    run.vm.record(run, "redirect", 2);
    if (run.packet?.kind === "xdp") return run.ret(flags === 0 && run.hi(2) === 0 ? 4 : 0);
    return run.ret((flags & ~1) === 0 && run.hi(2) === 0 ? 7 : 2);
  },
  redirect_map: (run) => {
    const map = run.map(1);
    const flags = run.lo(3);
    // The low two bits are what to do when there is no target; 8 and 16 are broadcast and exclude-ingress.
    if (run.hi(3) !== 0 || (flags & ~(3 | 8 | 16)) !== 0) return run.ret(0);
    const key = run.vm.keyBuffer;
    run.memory.view.setUint32(key, run.lo(2), true);
    run.memory.view.setUint32(key + 4, 0, true);
    if ((flags & 8) === 0 && map.lookupAt(key) === 0) return run.ret(flags & 3);
    run.vm.record(run, "redirect_map", 3);
    return run.ret(4);
  },
};
