/** pcap and pcapng files: the packets in them, and pcap files of packets. Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng. */
import { ByteReader, type Endian } from "../../../core/bytes.ts";
import { DecodeError } from "../../../core/errors.ts";

/** A captured packet. */
export interface CapturedPacket {
  readonly data: Uint8Array;
  /** Nanoseconds since 1970; 0 when the file does not say. */
  readonly time: bigint;
  /** Bytes that it had on the wire: more than `data` when the capture cut it off. */
  readonly wireLength: number;
  /** LINKTYPE_* of the interface: 1 Ethernet, 101 raw IP, 113 Linux cooked. */
  readonly linkType: number;
  /** Interface of a pcapng file; 0 in a pcap file. */
  readonly interfaceId: number;
}

export const LINKTYPE = { ETHERNET: 1, RAW: 101, LINUX_SLL: 113 } as const;

const PCAP_US = 0xa1b2_c3d4;
const PCAP_NS = 0xa1b2_3c4d;
const PCAPNG_SECTION = 0x0a0d_0d0a;
const BYTE_ORDER = 0x1a2b_3c4d;
/** Larger than any snap length in use. */
const MAX_PACKET = 1 << 24;

/**
 * Every packet of a pcap or pcapng file, of either byte order.
 *
 * @throws DecodeError for what is neither, or is cut off
 * @example
 * for (const { data } of readPcap(await readFile("capture.pcap"))) sim.run(filter, { packet: data });
 */
export function readPcap(bytes: Uint8Array): CapturedPacket[] {
  if (bytes.length < 4)
    throw new DecodeError("pcap", `expected a pcap or pcapng file, got ${bytes.length} bytes`, { path: ["magic"] });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const little = view.getUint32(0, true);
  const big = view.getUint32(0, false);
  if (little === PCAPNG_SECTION) return pcapng(bytes);
  if (little === PCAP_US || little === PCAP_NS) return pcap(bytes, "little", little === PCAP_NS);
  if (big === PCAP_US || big === PCAP_NS) return pcap(bytes, "big", big === PCAP_NS);
  throw new DecodeError(
    "pcap",
    `expected a pcap or pcapng file, got one that starts with 0x${big.toString(16).padStart(8, "0")}`,
    {
      path: ["magic"],
    },
  );
}

function pcap(bytes: Uint8Array, endian: Endian, nanoseconds: boolean): CapturedPacket[] {
  const r = new ByteReader(bytes, { endian, what: "pcap" });
  r.seek(4);
  const major = r.u16("version_major");
  r.u16("version_minor");
  if (major !== 2)
    throw new DecodeError("pcap", `expected version 2, got ${major}`, { offset: 4, path: ["version_major"] });
  r.seek(16);
  r.u32("snaplen");
  // The upper bits say whether frames have a checksum.
  const linkType = r.u32("network") & 0x0fff_ffff;
  const packets: CapturedPacket[] = [];
  while (r.remaining > 0) {
    const seconds = r.u32(`packets[${packets.length}].ts_sec`);
    const fraction = r.u32(`packets[${packets.length}].ts_frac`);
    const length = r.u32(`packets[${packets.length}].incl_len`);
    const wireLength = r.u32(`packets[${packets.length}].orig_len`);
    const data = take(r, length, `packets[${packets.length}]`);
    const time = BigInt(seconds) * 1_000_000_000n + BigInt(fraction) * (nanoseconds ? 1n : 1000n);
    packets.push({ data, time, wireLength, linkType, interfaceId: 0 });
  }
  return packets;
}

function take(r: ByteReader, length: number, field: string): Uint8Array {
  if (length > MAX_PACKET || length > r.remaining)
    throw r.error(`a packet of ${length} bytes does not fit the ${r.remaining} that are left`, field);
  return r.slice(length, field).slice();
}

interface Interface {
  readonly linkType: number;
  readonly snapLength: number;
  /** Units of time in a second. */
  readonly resolution: bigint;
  /** Seconds to add. */
  readonly offset: bigint;
}

function pcapng(bytes: Uint8Array): CapturedPacket[] {
  const packets: CapturedPacket[] = [];
  let interfaces: Interface[] = [];
  let endian: Endian = "little";
  let at = 0;
  for (let n = 0; at < bytes.length; n++) {
    const field = `blocks[${n}]`;
    const fail = (message: string): DecodeError => new DecodeError("pcapng", message, { offset: at, path: [field] });
    if (bytes.length - at < 12) throw fail(`a block of ${bytes.length - at} bytes is cut off`);
    const view = new DataView(bytes.buffer, bytes.byteOffset + at);
    const isSection = view.getUint32(0, true) === PCAPNG_SECTION;
    if (isSection) {
      if (view.getUint32(8, true) === BYTE_ORDER) endian = "little";
      else if (view.getUint32(8, false) === BYTE_ORDER) endian = "big";
      else throw fail("expected the byte-order magic 0x1a2b3c4d");
      interfaces = [];
    }
    const type = view.getUint32(0, endian === "little");
    const length = view.getUint32(4, endian === "little");
    if (length < 12 || length % 4 !== 0 || length > bytes.length - at)
      throw fail(`expected a block of 12 to ${bytes.length - at} bytes, a multiple of 4, got ${length}`);
    const r = new ByteReader(bytes.subarray(at + 8, at + length - 4), { endian, what: "pcapng", base: at + 8 });
    if (type === 1) interfaces.push(interfaceOf(r, field));
    else if (type === 6) packets.push(enhanced(r, interfaces, field));
    else if (type === 3) packets.push(simple(r, interfaces, field));
    at += length;
  }
  return packets;
}

function interfaceOf(r: ByteReader, field: string): Interface {
  const linkType = r.u16(`${field}.LinkType`);
  r.u16(`${field}.Reserved`);
  const snapLength = r.u32(`${field}.SnapLen`);
  let resolution = 1_000_000n;
  let offset = 0n;
  while (r.remaining >= 4) {
    const code = r.u16(`${field}.option`);
    const length = r.u16(`${field}.option_length`);
    if (code === 0) break;
    const value = r.slice(length, `${field}.option_value`);
    r.slice(Math.min(r.remaining, (4 - (length % 4)) % 4), `${field}.option_padding`);
    if (code === 9 && length === 1)
      resolution = (value[0]! & 0x80) === 0 ? 10n ** BigInt(value[0]!) : 1n << BigInt(value[0]! & 0x7f);
    else if (code === 14 && length === 8)
      offset = new ByteReader(value, { endian: r.littleEndian ? "little" : "big", what: "pcapng" }).u64(
        `${field}.if_tsoffset`,
      );
  }
  return { linkType, snapLength, resolution, offset };
}

function enhanced(r: ByteReader, interfaces: readonly Interface[], field: string): CapturedPacket {
  const interfaceId = r.u32(`${field}.InterfaceID`);
  const on = interfaces[interfaceId];
  if (on === undefined)
    throw r.error(`there is no interface ${interfaceId}: ${interfaces.length} are described`, `${field}.InterfaceID`);
  const high = r.u32(`${field}.Timestamp`);
  const units = (BigInt(high) << 32n) | BigInt(r.u32(`${field}.Timestamp`));
  const length = r.u32(`${field}.CapturedPacketLength`);
  const wireLength = r.u32(`${field}.OriginalPacketLength`);
  const time = ((on.offset * on.resolution + units) * 1_000_000_000n) / on.resolution;
  return { data: take(r, length, field), time, wireLength, linkType: on.linkType, interfaceId };
}

function simple(r: ByteReader, interfaces: readonly Interface[], field: string): CapturedPacket {
  const [on] = interfaces;
  if (on === undefined) throw r.error("a simple packet before any interface is described", field);
  const wireLength = r.u32(`${field}.OriginalPacketLength`);
  const length = Math.min(wireLength, on.snapLength === 0 ? wireLength : on.snapLength);
  return { data: take(r, length, field), time: 0n, wireLength, linkType: on.linkType, interfaceId: 0 };
}

/**
 * A pcap file (nanoseconds, little-endian) of packets, as tcpdump and Wireshark read it.
 *
 * @example
 * await writeFile("changed.pcap", writePcap([result.data]));
 */
export function writePcap(
  packets: readonly (Uint8Array | Pick<CapturedPacket, "data" | "time">)[],
  options: { readonly linkType?: number } = {},
): Uint8Array {
  const all = packets.map((p) => (p instanceof Uint8Array ? { data: p, time: 0n } : p));
  const out = new Uint8Array(24 + all.reduce((sum, p) => sum + 16 + p.data.length, 0));
  const view = new DataView(out.buffer);
  view.setUint32(0, PCAP_NS, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 0x4_0000, true);
  view.setUint32(20, options.linkType ?? LINKTYPE.ETHERNET, true);
  let at = 24;
  for (const { data, time } of all) {
    view.setUint32(at, Number(BigInt.asUintN(32, time / 1_000_000_000n)), true);
    view.setUint32(at + 4, Number(time % 1_000_000_000n), true);
    view.setUint32(at + 8, data.length, true);
    view.setUint32(at + 12, data.length, true);
    out.set(data, at + 16);
    at += 16 + data.length;
  }
  return out;
}
