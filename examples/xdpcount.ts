// Packets and bytes by protocol, counted before the network stack sees them.
//     sudo npx bpfkit run examples/xdpcount.ts --device eth0
// Without --device it tries itself out on a packet of each kind, by PROG_TEST_RUN.
import { XDP, type XdpContext, array, be16, enumOf, packed, percpuHash, u64, u8, xdp } from "bpfkit";
import type { App } from "bpfkit/load";

const Ethernet = packed({ destination: array(u8, 6), source: array(u8, 6), type: be16 });
const Ipv4 = packed({ before: array(u8, 9), protocol: u8, after: array(u8, 10) });
const Ipv6 = packed({ before: array(u8, 6), protocol: u8, after: array(u8, 33) });

const Protocol = enumOf({ ICMP: 1, IGMP: 2, TCP: 6, UDP: 17, ICMPv6: 58, notIp: 256, tooShort: 257 });
export const packets = percpuHash(Protocol, u64);
export const bytes = percpuHash(Protocol, u64);

const protocolOf = (ctx: XdpContext): number => {
  const ethernet = ctx.packet(Ethernet);
  if (!ethernet) return Protocol.tooShort;
  if (ethernet.type === 0x0800) return ctx.packet(Ipv4, Ethernet.size)?.protocol ?? Protocol.tooShort;
  if (ethernet.type === 0x86dd) return ctx.packet(Ipv6, Ethernet.size)?.protocol ?? Protocol.tooShort;
  return Protocol.notIp;
};

export const count = xdp((ctx, bpf) => {
  const protocol = protocolOf(ctx);
  packets.add(protocol, 1);
  bytes.add(protocol, bpf.xdpGetBuffLen(ctx));
  return XDP.PASS;
});

const packet = (type: number, at: number, protocol: number): Uint8Array => {
  const data = new Uint8Array(64);
  data.set([type >> 8, type & 0xff], 12);
  data[at] = protocol;
  return data;
};

export default async (app: App): Promise<void> => {
  if (app.collection.links.length > 0) await app.untilEnd();
  else {
    const samples = [packet(0x0800, 23, Protocol.TCP), packet(0x86dd, 20, Protocol.UDP), packet(0x0806, 0, 0)];
    for (const data of samples) app.program(count).testRun({ data, repeat: 1000 });
  }
  const sum = (cpus: readonly bigint[] = []): number => Number(cpus.reduce((a, b) => a + b, 0n));
  for (const [protocol, n] of app.perCpu(packets)) {
    const row = { protocol, packets: sum(n), bytes: sum(app.perCpu(bytes).get(protocol)) };
    console.log(app.json ? JSON.stringify(row) : `${protocol}: ${row.packets} packets, ${row.bytes} bytes`);
  }
};
