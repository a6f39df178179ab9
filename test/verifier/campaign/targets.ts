/** What random programs are made for: program types with their contexts, maps, BTF and kernel functions. */
import { BtfBuilder } from "../../../src/btf/builder.ts";
import { Btf } from "../../../src/btf/btf.ts";
import type { LoadMap } from "../../../src/verifier/capture.ts";
import { arrayMap } from "../bare.ts";

export interface Target {
  readonly name: string;
  readonly progType: number;
  readonly attachType: number;
  /** Name of the kernel's BTF type that the program attaches to. */
  readonly attachTo: string | null;
  /** Fields of the context that are scalars: offset and size. */
  readonly fields: readonly (readonly [number, number])[];
  /** Fields of the context that may be written: offset and size. */
  readonly writable: readonly (readonly [number, number])[];
  /** Offsets of data, data_end and data_meta (-1: none). */
  readonly packet: readonly [number, number, number] | null;
  readonly ldAbs: boolean;
  /** Arguments that are pointers to kernel structs (tp_btf). */
  readonly pointers: readonly number[];
  /** Constants that the program may return. */
  readonly returns: readonly number[];
}

const SKB = [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 48, 52, 56, 60, 64, 68].map((o) => [o, 4] as const);

const target = (name: string, progType: number, more: Partial<Target>): Target => ({
  name,
  progType,
  attachType: 0,
  attachTo: null,
  fields: [],
  writable: [],
  packet: null,
  ldAbs: false,
  pointers: [],
  returns: [0, 1],
  ...more,
});

export const TARGETS: readonly Target[] = [
  target("socket filter", 1, {
    fields: [
      [0, 4],
      [4, 4],
      [8, 4],
      [16, 4],
      [32, 4],
      [68, 4],
    ],
    writable: [
      [48, 4],
      [52, 4],
    ],
    ldAbs: true,
    returns: [0, 1, -1, 77],
  }),
  target("tc", 3, {
    fields: SKB,
    writable: [
      [8, 4],
      [32, 4],
      [48, 4],
      [12, 2],
    ],
    packet: [76, 80, 140],
    ldAbs: true,
    returns: [0, 2, 7, -1],
  }),
  target("xdp", 6, {
    fields: [
      [12, 4],
      [16, 4],
    ],
    packet: [0, 4, 8],
    returns: [0, 1, 2, 3, 9],
  }),
  target("cgroup_skb", 8, {
    attachType: 0,
    fields: [
      [0, 4],
      [4, 4],
      [8, 4],
      [16, 4],
    ],
    packet: [76, 80, -1],
    ldAbs: true,
  }),
  target("kprobe", 2, {
    fields: [
      [0, 8],
      [8, 8],
      [40, 8],
      [112, 8],
      [96, 8],
      [112, 4],
    ],
  }),
  target("tracepoint", 5, {
    fields: [
      [8, 8],
      [16, 8],
      [24, 4],
      [32, 2],
      [40, 1],
    ],
  }),
  target("perf_event", 7, {
    fields: [
      [0, 8],
      [112, 8],
      [168, 8],
      [176, 8],
    ],
  }),
  target("raw_tp", 17, {
    fields: [
      [0, 8],
      [8, 8],
      [16, 8],
    ],
  }),
  target("sched_switch", 26, {
    attachType: 23,
    attachTo: "btf_trace_sched_switch",
    fields: [
      [0, 1],
      [24, 4],
    ],
    pointers: [8, 16],
  }),
  target("kfree_skb", 26, { attachType: 23, attachTo: "btf_trace_kfree_skb", fields: [[8, 8]], pointers: [0, 24] }),
  target("sock_addr", 18, {
    attachType: 10,
    fields: [
      [0, 4],
      [4, 4],
      [24, 4],
      [28, 4],
      [32, 4],
      [36, 4],
    ],
    writable: [
      [4, 4],
      [24, 4],
    ],
  }),
  target("sockops", 13, {
    fields: [
      [0, 4],
      [4, 4],
      [20, 4],
      [64, 4],
      [68, 4],
    ],
    writable: [
      [4, 4],
      [8, 4],
    ],
  }),
  target("sk_lookup", 30, {
    attachType: 36,
    fields: [
      [8, 4],
      [12, 4],
      [16, 4],
      [36, 2],
      [40, 4],
    ],
  }),
  target("cgroup_dev", 15, {
    attachType: 6,
    fields: [
      [0, 4],
      [4, 4],
      [8, 4],
    ],
  }),
  target("sysctl", 23, {
    attachType: 18,
    fields: [
      [0, 4],
      [4, 4],
    ],
    writable: [[4, 4]],
  }),
  target("sockopt", 25, {
    attachType: 21,
    fields: [
      [24, 4],
      [28, 4],
      [32, 4],
      [36, 4],
    ],
    writable: [
      [28, 4],
      [32, 4],
    ],
  }),
  target("lwt_xmit", 12, {
    fields: [
      [0, 4],
      [8, 4],
      [60, 4],
    ],
    packet: [76, 80, -1],
  }),
  target("sk_skb", 14, {
    fields: [
      [0, 4],
      [4, 4],
      [32, 4],
    ],
    packet: [76, 80, -1],
  }),
  target("sk_msg", 16, {
    fields: [
      [16, 4],
      [20, 4],
      [56, 4],
      [60, 4],
    ],
  }),
  target("flow_dissector", 22, { attachType: 17, fields: [], packet: [76, 80, -1] }),
];

/** Index into MAPS by purpose. */
export const ARRAY = 0;
export const HASH = 1;
export const PERCPU = 2;
export const RINGBUF = 3;
export const PROG_ARRAY = 4;
export const PERF_ARRAY = 5;
export const QUEUE = 6;
export const BIG = 7;

export const MAPS: readonly LoadMap[] = [
  arrayMap(2, 4, 64, 1),
  arrayMap(1, 8, 48, 16),
  arrayMap(6, 4, 16, 4),
  arrayMap(27, 0, 0, 4096),
  arrayMap(3, 4, 4, 2),
  arrayMap(4, 4, 4, 1),
  arrayMap(22, 0, 8, 4),
  arrayMap(1, 4, 4096, 4),
];

export const STATIC_FUNCS = 6;
export type ArgKind = "scalar" | "mem8";

export interface GlobalFunc {
  readonly id: number;
  readonly args: readonly ArgKind[];
}

/** Program BTF: main, static functions whose types say nothing, and global functions. */
export interface ProgTypes {
  readonly bytes: Uint8Array;
  readonly btf: Btf;
  readonly main: number;
  readonly statics: readonly number[];
  readonly globals: readonly GlobalFunc[];
}

export function progTypes(): ProgTypes {
  const b = new BtfBuilder();
  const int = b.int("int", 4, { signed: true });
  const long = b.int("long", 8, { signed: true });
  const mem = b.add({ kind: "ptr", name: "", type: long });
  const proto = (params: readonly number[]): number =>
    b.add({ kind: "func_proto", name: "", type: int, params: params.map((type, i) => ({ name: `a${i}`, type })) });
  const none = proto([]);
  const main = b.add({ kind: "func", name: "main", type: none, linkage: "global" });
  const statics = Array.from({ length: STATIC_FUNCS }, (_, i) =>
    b.add({ kind: "func", name: `s${i}`, type: none, linkage: "static" }),
  );
  const global = (name: string, args: readonly ArgKind[]): GlobalFunc => ({
    id: b.add({ kind: "func", name, type: proto(args.map((a) => (a === "scalar" ? int : mem))), linkage: "global" }),
    args,
  });
  const globals = [
    global("g0", ["scalar", "scalar"]),
    global("g1", ["mem8", "scalar"]),
    global("g2", ["scalar", "mem8", "mem8"]),
  ];
  const bytes = b.encode();
  return { bytes, btf: Btf.parse(bytes, { what: "program BTF" }), main, statics, globals };
}
