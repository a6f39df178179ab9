/** What a program changes of a packet's metadata, tunnel and shape (net/core/filter.c), with the errors of the kernel. */
import { ERRNO } from "../../uapi/index.ts";
import type { Packet, Run } from "../run.ts";
import { need, syncPacket } from "./packet.ts";
import type { HelperTable } from "./table.ts";

const EINVAL = -ERRNO.EINVAL;
const ENOTSUPP = -524;
const ETH_HLEN = 14;
/** sizeof(struct bpf_tunnel_key), and the shorter ones of older kernels. */
const TUNNEL_KEY = 44;
const TUNNEL_SIZES: readonly number[] = [TUNNEL_KEY, 28, 24, 12, 16];
/** Fields of struct __sk_buff. */
const SKB = { PKT_TYPE: 4, PROTOCOL: 16, HASH: 36 } as const;
/** ETH_P_IP and ETH_P_IPV6 as they lie in memory. */
const IP = 0x0008;
const IPV6 = 0xdd86;

/** What tunnels there are of a packet: by run, since the packet is the run's. */
const tunnels = new WeakMap<Packet, { key: Uint8Array; options: Uint8Array }>();

const flagsOf = (run: Run, n: number): bigint => run.u64(n);
const accept =
  (args: number, name: string, check: (run: Run) => number) =>
  (run: Run): void => {
    const result = check(run);
    if (result === 0) run.vm.record(run, name, args);
    run.ret(result);
  };

/** Moves the front of the packet: bytes [data, data + keep) stay in front, `by` more (or fewer) bytes behind them. */
function resize(run: Run, packet: Packet, keep: number, by: number): boolean {
  const { u8 } = run.memory;
  const data = packet.data - by;
  if (data < packet.start || packet.end - data < ETH_HLEN) return false;
  if (by > 0) {
    u8.copyWithin(data, packet.data, packet.data + keep);
    u8.fill(0, data + keep, packet.data + keep);
  } else u8.copyWithin(data, packet.data, packet.data + keep);
  packet.mac -= by;
  packet.data = data;
  packet.meta = data;
  packet.network = packet.mac + ETH_HLEN;
  syncPacket(run, packet);
  return true;
}

export const SKB_HELPERS: HelperTable = {
  skb_change_head: (run) => {
    const packet = need(run);
    const by = run.lo(2) >>> 0;
    if (flagsOf(run, 3) !== 0n || packet.end - packet.data + by > 0xffff) return run.ret(EINVAL);
    const data = packet.data - by;
    if (data < packet.start) return run.ret(-ERRNO.ENOMEM);
    run.memory.u8.fill(0, data, packet.data);
    packet.data = data;
    packet.meta = data;
    packet.mac = data;
    packet.network = data + ETH_HLEN;
    syncPacket(run, packet);
    return run.ret(0);
  },
  skb_adjust_room: (run) => {
    const packet = need(run);
    const by = run.lo(2);
    const mode = run.lo(3);
    // Of the flags only those that change no more than the protocol's idea of the packet.
    if (mode !== 0 && mode !== 1) return run.ret(ENOTSUPP);
    if (Math.abs(by) > 0xfff) return run.ret(-ERRNO.EFAULT);
    if (by === 0) return run.ret(0);
    const keep = mode === 1 ? packet.network - packet.data : packet.network - packet.data + 20;
    if (by < 0 && packet.end - packet.data + by < keep) return run.ret(ENOTSUPP);
    return run.ret(resize(run, packet, Math.max(0, keep), by) ? 0 : -ERRNO.ENOMEM);
  },
  skb_change_proto: (run) => {
    const packet = need(run);
    const to = run.lo(2) & 0xffff;
    const { view } = run.memory;
    const from = view.getUint32(run.ctx + SKB.PROTOCOL, true);
    if (flagsOf(run, 3) !== 0n) return run.ret(EINVAL);
    const grows = from === IP && to === IPV6;
    if (!grows && !(from === IPV6 && to === IP)) return run.ret(ENOTSUPP);
    // An IPv6 header is 20 bytes longer; the program writes it.
    if (!resize(run, packet, packet.network - packet.data, grows ? 20 : -20)) return run.ret(-ERRNO.ENOMEM);
    view.setUint32(run.ctx + SKB.PROTOCOL, to, true);
    return run.ret(0);
  },
  skb_change_type: (run) => {
    const packet = need(run);
    const type = run.lo(2) >>> 0;
    const { view } = run.memory;
    // PACKET_OTHERHOST is the last that is one for the receiving side.
    if (type > 3 || view.getUint32(run.ctx + SKB.PKT_TYPE, true) > 3 || packet.kind !== "skb") return run.ret(EINVAL);
    view.setUint32(run.ctx + SKB.PKT_TYPE, type, true);
    return run.ret(0);
  },
  get_hash_recalc: (run) => {
    // The kernel's hash has a random key; this one is the same in every run.
    const { view } = run.memory;
    const known = view.getUint32(run.ctx + SKB.HASH, true);
    if (known !== 0) return run.retU32(known);
    const { data, end } = need(run);
    let hash = 0;
    for (let at = data; at < Math.min(end, data + 40); at++) hash = Math.imul(hash ^ view.getUint8(at), 0x0100_0193);
    view.setUint32(run.ctx + SKB.HASH, hash >>> 0 || 1, true);
    return run.retU32(hash || 1);
  },
  set_hash_invalid: (run) => {
    run.memory.view.setUint32(run.ctx + SKB.HASH, 0, true);
    run.ret(0);
  },
  set_hash: (run) => {
    run.memory.view.setUint32(run.ctx + SKB.HASH, run.lo(2), true);
    run.ret(0);
  },
  // Packets of a test have no checksum from a device to keep up.
  csum_update: (run) => run.ret(ENOTSUPP),
  csum_level: (run) => run.ret(flagsOf(run, 2) > 3n ? EINVAL : -ERRNO.EACCES),
  get_cgroup_classid: (run) => run.ret(0),
  get_route_realm: (run) => run.ret(0),
  skb_set_tunnel_key: (run) => {
    const size = run.lo(3) >>> 0;
    const flags = flagsOf(run, 4);
    const from = run.readable(2, size, "tunnel key");
    if ((flags & ~0x3fn) !== 0n || !TUNNEL_SIZES.includes(size)) return run.ret(EINVAL);
    const key = new Uint8Array(TUNNEL_KEY);
    key.set(run.memory.copy(from, size));
    const view = new DataView(key.buffer);
    // tunnel_ext must be 0; labels have 20 bits.
    if (view.getUint16(22, true) !== 0 || (view.getUint32(24, true) & ~0xf_ffff) !== 0) return run.ret(EINVAL);
    tunnels.set(need(run), { key, options: new Uint8Array(0) });
    return run.ret(0);
  },
  skb_get_tunnel_key: (run) => {
    const size = run.lo(3) >>> 0;
    const to = run.writable(2, size, "tunnel key");
    const known = tunnels.get(need(run));
    if (known === undefined || (flagsOf(run, 4) & ~0x11n) !== 0n) {
      run.memory.u8.fill(0, to, to + size);
      return run.ret(EINVAL);
    }
    run.memory.u8.set(known.key.subarray(0, size), to);
    return run.ret(0);
  },
  skb_set_tunnel_opt: (run) => {
    const size = run.lo(3) >>> 0;
    const options = run.memory.copy(run.readable(2, size, "options"), size);
    const known = tunnels.get(need(run));
    if (known === undefined || size % 4 !== 0) return run.ret(EINVAL);
    if (size > 255) return run.ret(-ERRNO.ENOMEM);
    known.options = options;
    return run.ret(0);
  },
  skb_get_tunnel_opt: (run) => {
    const size = run.lo(3) >>> 0;
    const to = run.writable(2, size, "options");
    const known = tunnels.get(need(run));
    run.memory.u8.fill(0, to, to + size);
    if (known === undefined || known.options.length === 0) return run.ret(-ERRNO.ENOENT);
    if (known.options.length > size) return run.ret(-ERRNO.ENOMEM);
    run.memory.u8.set(known.options, to);
    return run.ret(known.options.length);
  },
  skb_set_tstamp: accept(3, "skb_set_tstamp", (run) => (run.lo(3) >>> 0 > 2 ? EINVAL : 0)),
  skb_get_xfrm_state: (run) => {
    const size = run.lo(4) >>> 0;
    const to = run.writable(3, size, "xfrm state");
    run.memory.u8.fill(0, to, to + size);
    run.ret(EINVAL);
  },
};
