/** Packet programs written twice (`bench/codegen`): same verdicts, packets and maps for the same packets. */
import { type CollectionSpec } from "../../src/elf/index.ts";
import { type Collection, load } from "../../src/load/index.ts";
import { compileC, compileTs } from "../../bench/codegen/pairs.lib.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { mapContents } from "./twins.ts";

const test = suite("compiler twins: packets");

const ethernet = (type: number, ...rest: number[][]): number[] => [
  ...[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, type >> 8, type & 0xff],
  ...rest.flat(),
];
interface Ipv4 {
  readonly protocol?: number;
  readonly source?: readonly number[];
  readonly destination?: readonly number[];
  readonly words?: number;
  readonly fragment?: number;
  readonly ttl?: number;
  readonly tos?: number;
  readonly checksum?: number;
}
const ipv4 = (p: Ipv4, ...rest: number[][]): number[] => [
  ...[0x40 | (p.words ?? 5), p.tos ?? 0, 0, 100, 0, 1, (p.fragment ?? 0) >> 8, (p.fragment ?? 0) & 0xff, p.ttl ?? 64],
  ...[p.protocol ?? 6, (p.checksum ?? 0x1234) >> 8, (p.checksum ?? 0x1234) & 0xff],
  ...(p.source ?? [10, 0, 0, 1]),
  ...(p.destination ?? [10, 0, 0, 100]),
  ...Array.from({ length: Math.max((p.words ?? 5) - 5, 0) * 4 }, () => 1),
  ...rest.flat(),
];
const ipv6 = (next: number, ...rest: number[][]): number[] => [
  ...[0x60, 0, 0, 0, 0, 40, next, 64],
  ...Array.from({ length: 32 }, (_, i) => i * 7),
  ...rest.flat(),
];
const ports = (source: number, destination: number): number[] => [
  source >> 8,
  source & 255,
  destination >> 8,
  destination & 255,
];
const tcp = (source: number, destination: number, flags: number): number[] => [
  ...ports(source, destination),
  ...[0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 1, 0, 0, 0, 0, 0],
];
const zeros = (n: number): number[] => Array.from({ length: n }, () => 0);
const vlan = (id: number, type: number): number[] => [0x20 | (id >> 8), id & 0xff, type >> 8, type & 0xff];

/** Packets of every kind that one of the programs tells apart, some of them cut short. */
const PACKETS: readonly Uint8Array[] = [
  ethernet(0x0800, ipv4({}, tcp(40000, 80, 2))),
  ethernet(0x0800, ipv4({}, tcp(40000, 80, 0x11)), zeros(1200)),
  ethernet(0x0800, ipv4({ source: [10, 0, 0, 9] }, tcp(40001, 443, 4))),
  ethernet(0x0800, ipv4({ source: [192, 168, 7, 7] }, tcp(53, 5353, 0x10))),
  ethernet(0x0800, ipv4({ protocol: 17, source: [9, 9, 9, 9] }, ports(53, 4242), zeros(8))),
  ethernet(0x0800, ipv4({ protocol: 17, words: 7 }, ports(1000, 53), zeros(8))),
  ethernet(0x0800, ipv4({ protocol: 17, destination: [8, 8, 8, 8] }, ports(4242, 53), zeros(8))),
  ethernet(0x0800, ipv4({ protocol: 1, ttl: 1 }, zeros(8))),
  ethernet(0x0800, ipv4({ protocol: 1, ttl: 2, checksum: 0xff00 }, zeros(8))),
  ethernet(0x0800, ipv4({ protocol: 1, checksum: 0xfeff }, zeros(8))),
  ethernet(0x0800, ipv4({ fragment: 0x2000 }, ports(1, 80), zeros(16))),
  ethernet(0x0800, ipv4({ fragment: 0x0010 }, ports(1, 80), zeros(16))),
  ethernet(0x0800, ipv4({ words: 3 }, zeros(30))),
  ethernet(0x0800, ipv4({ tos: 46 << 2 }, tcp(1, 2, 2))),
  ethernet(0x0800, ipv4({ tos: 0xa8 }, tcp(22, 9000, 2))),
  ethernet(0x0800, ipv4({}, ports(40000, 80).slice(0, 2))),
  ethernet(0x0800, ipv4({}).slice(0, 12)),
  ethernet(0x86dd, ipv6(6, tcp(5, 6, 2))),
  ethernet(0x86dd, ipv6(17, ports(5, 53))),
  ethernet(0x86dd, ipv6(58, zeros(8))),
  ethernet(0x86dd, ipv6(6).slice(0, 20)),
  ethernet(0x0806, zeros(40)),
  ethernet(0x8100, vlan(5, 0x0800), ipv4({}, tcp(7, 80, 2))),
  ethernet(0x88a8, vlan(5, 0x8100), vlan(300, 0x86dd), ipv6(6, tcp(8, 80, 2))),
  ethernet(0x8100, vlan(1, 0x8100), vlan(2, 0x8100), vlan(3, 0x0800), zeros(20)),
  ethernet(0x8100, [0, 1]),
].map((bytes) => Uint8Array.from(bytes));

const ETHERNET = 14;
const HEADER: Readonly<Record<number, number>> = { 0x0800: 20, 0x86dd: 40 };

interface Case {
  /** Fills maps and returns the types' names; the same for both. */
  readonly prepare?: (c: Collection) => void;
  /** Bytes of the context that must be the same afterwards; `struct __sk_buff` where given. */
  readonly skb?: boolean;
}
const CASES: Readonly<Record<string, Case>> = {
  xdpcount: {},
  xdpports: {
    prepare: (c) => {
      c.map("dropped").set({ protocol: 6, port: 80 }, 0n);
      c.map("dropped").set({ protocol: 17, port: 53 }, 5n);
    },
  },
  xdpparse: {},
  xdplb: {
    prepare: (c) => {
      for (let i = 0; i < 4; i++)
        c.map("backends").set(i, {
          address: 0x0100000a + (i << 24) + (i << 13),
          mac: Uint8Array.of(2, 0, 0, 0, 9, i),
          packets: 0n,
        });
    },
  },
  xdpttl: {},
  xdprate: {
    prepare: (c) => {
      c.map("blocked").set({ bits: 16, address: 0x0000a8c0 }, 0n);
    },
  },
  tcmark: {
    skb: true,
    prepare: (c) => {
      c.map("classes").set(80, 7);
      c.map("classes").set(22, 9);
      c.map("classes").set(443, 0);
    },
  },
  tcflow: { skb: true },
  sockfilter: { skb: true },
  cgroupegress: {
    skb: true,
    prepare: (c) => {
      c.map("denied").set(0x08080808, 0n);
    },
  },
};

/** What a program did with every packet. */
function runAll(spec: CollectionSpec, { prepare, skb = false }: Case): unknown {
  using c = load(spec);
  prepare?.(c);
  const prog = c.prog(spec.progs[0]?.name ?? "");
  const results = PACKETS.flatMap((data) =>
    [1, 2].map(() => {
      // Newer kernels make no socket buffer of an IP packet without its whole header.
      const length = ETHERNET + (HEADER[data[12]! * 256 + data[13]!] ?? 0);
      if (skb && data.length < length) return { verdict: -1, data: "", ctx: "" };
      const r = prog.testRun({ data, ...(skb ? { ctx: new Uint8Array(192), ctxOut: true } : {}) });
      return {
        verdict: r.returnValue,
        data: Buffer.from(r.data).toString("hex"),
        ctx: Buffer.from(r.ctx).toString("hex"),
      };
    }),
  );
  return {
    results,
    maps: mapContents(c, ["at"]),
    variables: c.variableNames.includes("expired") ? c.variable("expired").value : 0,
  };
}

for (const [name, how] of Object.entries(CASES)) {
  test(`${name}: verdicts, packets and maps are those of the C program`, async () => {
    requires({
      root: true,
      capability: ["CAP_BPF", "CAP_NET_ADMIN"],
      kernel: "6.1",
      package: ["clang-19", "libbpf-dev"],
    });
    const ours = runAll((await compileTs(name)).spec, how);
    const theirs = runAll(compileC(name), how);
    assert.equal(ours, theirs);
    // The packets reach more than one way out, or the comparison says little.
    const seen = new Set(
      (ours as { results: { verdict: number; ctx: string }[] }).results.map((r) => `${r.verdict} ${r.ctx}`),
    );
    assert.ok(seen.size > 1 || name === "tcflow", `${name}: every packet got the same verdict`);
  });
}
