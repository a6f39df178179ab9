/** Contexts and packets, made the way BPF_PROG_TEST_RUN makes them. */
import { ArgumentError } from "../core/errors.ts";
import { BPF_PROG_TYPE, ctxLayout } from "../uapi/index.ts";
import { syncPacket } from "./helpers/packet.ts";
import { type Block, READ, WRITE } from "./memory.ts";
import type { Packet, Run } from "./run.ts";

export interface RunInput {
  /** The context's bytes: struct __sk_buff, xdp_md, a tracepoint record, raw tracepoint arguments, … */
  readonly ctx?: Uint8Array;
  /** The packet, Ethernet header first: at least 14 bytes. */
  readonly data?: Uint8Array;
  /** `ctx` is complete, but for the bounds of the packet; else it has what BPF_PROG_TEST_RUN lets a test set. */
  readonly exact?: boolean;
  /** How often the program runs, on the same context and packet as it left them. Default 1. */
  readonly repeat?: number;
}

const ETH_HLEN = 14;
const XDP_HEADROOM = 256;
const SKB_HEADROOM = 256;
/** What skb_shared_info takes at the end of the page. */
const XDP_TAILROOM = 320;
const PAGE = 4096;
const LOOPBACK = 1;

const SKB_TYPES: ReadonlySet<number> = new Set([
  BPF_PROG_TYPE.SOCKET_FILTER,
  BPF_PROG_TYPE.SCHED_CLS,
  BPF_PROG_TYPE.SCHED_ACT,
  BPF_PROG_TYPE.CGROUP_SKB,
  BPF_PROG_TYPE.LWT_IN,
  BPF_PROG_TYPE.LWT_OUT,
  BPF_PROG_TYPE.LWT_XMIT,
  BPF_PROG_TYPE.LWT_SEG6LOCAL,
  BPF_PROG_TYPE.SK_SKB,
]);
/** Programs that see the Ethernet header. */
const L2_TYPES: ReadonlySet<number> = new Set([BPF_PROG_TYPE.SCHED_CLS, BPF_PROG_TYPE.SCHED_ACT]);
/** What a test may set in a `struct __sk_buff`: offset and size. */
const SKB_SETTABLE = [
  [8, 4],
  [32, 4],
  [36, 4],
  [40, 4],
  [48, 20],
  [152, 8],
  [160, 4],
  [164, 4],
  [176, 4],
  [184, 8],
] as const;

/** What a run works on; `release` when it is over. */
export interface Prepared {
  readonly ctx: Block;
  readonly packet: Block | undefined;
}

/** Sets up `run.ctx`, `run.packet` and r1. */
export function prepare(run: Run, progType: number, input: RunInput): Prepared {
  const { memory } = run;
  if (progType === BPF_PROG_TYPE.XDP) return xdp(run, input);
  if (SKB_TYPES.has(progType)) return skb(run, progType, input);
  if (input.data !== undefined) {
    throw new ArgumentError("data", `programs of type ${progType} see no packet: give ctx instead`);
  }
  const bytes = input.ctx ?? new Uint8Array(0);
  // Raw tracepoints may read all 12 arguments.
  const size = Math.max(bytes.length, progType === BPF_PROG_TYPE.RAW_TRACEPOINT ? 96 : 0);
  const ctx = memory.alloc(size, "ctx", "the context");
  memory.u8.set(bytes, ctx.base);
  setCtx(run, ctx);
  return { ctx, packet: undefined };
}

export function release(run: Run, prepared: Prepared): void {
  run.memory.release(prepared.ctx);
  if (prepared.packet !== undefined) run.memory.release(prepared.packet);
}

function setCtx(run: Run, ctx: Block): void {
  run.ctx = ctx.base;
  run.ctxRegion = ctx.region;
  run.setReg(1, ctx.base, ctx.region);
}

function packetOf(input: RunInput, limit: number): Uint8Array {
  const data = input.data ?? new Uint8Array(64);
  if (data.length < ETH_HLEN || data.length > limit) {
    throw new ArgumentError(
      "data",
      `expected a packet of ${ETH_HLEN} to ${limit} bytes with its Ethernet header, got ${data.length}`,
    );
  }
  return data;
}

function layoutSize(name: string): number {
  return ctxLayout(name)!.size;
}

function given(input: RunInput, name: string): Uint8Array | undefined {
  const size = layoutSize(name);
  if (input.ctx === undefined) return undefined;
  if (input.ctx.length > size) {
    throw new ArgumentError("ctx", `expected at most the ${size} bytes of struct ${name}, got ${input.ctx.length}`);
  }
  const bytes = new Uint8Array(size);
  bytes.set(input.ctx);
  return bytes;
}

/** A block for packets whose bytes are reached through two regions only: data and metadata. */
function packetBlock(run: Run, size: number): { block: Block; region: number; metaRegion: number } {
  const { memory } = run;
  const block = memory.alloc(size, "packet", "the packet");
  const { region } = block;
  const what = "the packet's metadata";
  if (block.second === 0) block.second = memory.addRegion(block.base, 0, "packet-meta", what, READ | WRITE);
  else memory.reviveRegion(block.second, block.base, 0, "packet-meta", what, READ | WRITE);
  const metaRegion = block.second;
  block.owner = {
    regionAt: (address) =>
      address >= memory.regBase[region]! && address < memory.regEnd[region]!
        ? region
        : address >= memory.regBase[metaRegion]! && address < memory.regEnd[metaRegion]!
          ? metaRegion
          : 0,
  };
  return { block, region, metaRegion };
}

function xdp(run: Run, input: RunInput): Prepared {
  const { memory } = run;
  const data = packetOf(input, PAGE - XDP_HEADROOM - XDP_TAILROOM);
  const { block, region, metaRegion } = packetBlock(run, PAGE);
  const ctx = memory.alloc(layoutSize("xdp_md"), "ctx", "the context");
  const from = given(input, "xdp_md");
  memory.view.setUint32(ctx.base + 12, LOOPBACK, true);
  let metaLength = 0;
  if (from !== undefined) {
    const view = new DataView(from.buffer);
    // As in TEST_RUN, `data` is how much of the packet is metadata.
    metaLength = view.getUint32(0, true);
    if (metaLength > 255 || metaLength % 4 !== 0 || metaLength > data.length - ETH_HLEN) {
      throw new ArgumentError(
        "ctx",
        `data: expected the length of the metadata, a multiple of 4 up to 255, got ${metaLength}`,
      );
    }
    const ifindex = view.getUint32(12, true);
    memory.view.setUint32(ctx.base + 12, ifindex === 0 ? LOOPBACK : ifindex, true);
    memory.view.setUint32(ctx.base + 16, view.getUint32(16, true), true);
    if (input.exact === true) memory.u8.set(from.subarray(12), ctx.base + 12);
  }
  const meta = block.base + XDP_HEADROOM;
  memory.u8.set(data, meta);
  const packet: Packet = {
    region,
    metaRegion,
    start: block.base,
    meta,
    data: meta + metaLength,
    end: meta + data.length,
    limit: block.base + PAGE - XDP_TAILROOM,
    kind: "xdp",
    mac: meta + metaLength,
    network: meta + metaLength + ETH_HLEN,
  };
  return start(run, ctx, block, packet);
}

function skb(run: Run, progType: number, input: RunInput): Prepared {
  const { memory } = run;
  const data = packetOf(input, 0xffff);
  const { block, region, metaRegion } = packetBlock(run, SKB_HEADROOM + data.length + 512);
  const ctx = memory.alloc(layoutSize("__sk_buff"), "ctx", "the context");
  const mac = block.base + SKB_HEADROOM;
  memory.u8.set(data, mac);
  const at = L2_TYPES.has(progType) ? mac : mac + ETH_HLEN;
  const { view } = memory;
  view.setUint16(ctx.base + 16, etherType(data), true);
  view.setUint32(ctx.base + 4, packetType(data), true);
  view.setUint32(ctx.base + 40, LOOPBACK, true);
  const from = given(input, "__sk_buff");
  if (from !== undefined && input.exact === true) memory.u8.set(from, ctx.base);
  else if (from !== undefined) {
    const fromView = new DataView(from.buffer);
    for (const [offset, size] of SKB_SETTABLE) memory.u8.set(from.subarray(offset, offset + size), ctx.base + offset);
    if (fromView.getUint32(40, true) === 0) view.setUint32(ctx.base + 40, LOOPBACK, true);
    if (fromView.getUint32(160, true) === 0) view.setUint32(ctx.base + 160, mac + data.length - at, true);
  }
  const packet: Packet = {
    region,
    metaRegion,
    start: block.base,
    meta: at,
    data: at,
    end: mac + data.length,
    limit: block.base + block.size,
    kind: "skb",
    mac,
    network: mac + ETH_HLEN,
  };
  return start(run, ctx, block, packet);
}

function start(run: Run, ctx: Block, block: Block, packet: Packet): Prepared {
  run.packet = packet;
  setCtx(run, ctx);
  syncPacket(run, packet);
  return { ctx, packet: block };
}

/** eth_type_trans: the protocol as its two bytes lie in memory. */
function etherType(data: Uint8Array): number {
  const type = (data[12]! << 8) | data[13]!;
  if (type >= 0x600) return (data[13]! << 8) | data[12]!;
  const raw = data[14] === 0xff && data[15] === 0xff;
  return (raw ? 0x0001 : 0x0004) << 8;
}

/** For us, multicast, for somebody else: as the loopback device tells, whose address is 0 and which has no broadcast. */
function packetType(data: Uint8Array): number {
  const destination = data.subarray(0, 6);
  if (destination.every((b) => b === 0)) return 0;
  return (destination[0]! & 1) === 1 ? 2 : 3;
}

/** The packet as the kernel hands it back: the metadata in front (XDP), a cleared Ethernet header (skb, when it was cut off). */
export function packetOut(run: Run): Uint8Array {
  const { packet, memory } = run;
  if (packet === undefined) return new Uint8Array(0);
  if (packet.kind === "xdp") return memory.copy(packet.meta, packet.end - packet.meta);
  if (packet.data === packet.mac) return memory.copy(packet.data, packet.end - packet.data);
  const out = new Uint8Array(packet.end - packet.data + ETH_HLEN);
  out.set(memory.bytes(packet.data, packet.end - packet.data), ETH_HLEN);
  return out;
}
