/** Mistakes in TypeScript that the compiler lets pass: the source, and the line that the explanation must point at. */
export interface ProbeMistake {
  readonly name: string;
  readonly source: string;
  readonly code: string;
  /** Part of the line that the first label must be on. */
  readonly line: string;
  /** Lines (parts of them) that other labels must be on. */
  readonly because: readonly string[];
  readonly fixed: boolean;
}

export const probes: readonly ProbeMistake[] = [
  {
    name: "a reserved sample that is never submitted",
    source: `import { ringbuf, tpBtf, u64 } from "bpfkit";
export const events = ringbuf(u64);
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  const room = bpf.ringbufReserve(events, 8, 0);
  if (!room) return;
  bpf.ktimeGetNs();
});`,
    code: "BPF3140",
    line: "bpf.ktimeGetNs()",
    because: ["bpf.ringbufReserve"],
    fixed: true,
  },
  {
    name: "a socket that is never released",
    source: `import { XDP, array, struct, u8, xdp } from "bpfkit";
const Tuple = struct({ bytes: array(u8, 12) });
export const p = xdp((ctx, bpf) => {
  const tuple = Tuple({});
  const sk = bpf.skLookupTcp(ctx, tuple, 12, 0, 0);
  if (sk) return XDP.DROP;
  return XDP.PASS;
});`,
    code: "BPF3140",
    line: "if (sk) return XDP.DROP",
    because: ["bpf.skLookupTcp"],
    fixed: true,
  },
  {
    name: "a read whose size has no bound",
    source: `import { array, struct, tpBtf, u8 } from "bpfkit";
const Room = struct({ bytes: array(u8, 64) });
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  const room = Room({});
  const size = bpf.random();
  bpf.probeReadKernel(room, size, 0);
});`,
    code: "BPF3106",
    line: "bpf.probeReadKernel(room, size, 0)",
    because: ["const size = bpf.random()"],
    fixed: true,
  },
  {
    name: "a loop that only chance ends",
    source: `import { global, tpBtf, u64 } from "bpfkit";
export const n = global(u64);
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  let i = 0;
  while (bpf.random() !== 7) i++;
  n.value += i;
});`,
    code: "BPF3131",
    line: "while (bpf.random() !== 7) i++",
    because: [],
    fixed: true,
  },
  {
    name: "a return value that the hook does not know",
    source: `import { cgroupSkb } from "bpfkit";
export const p = cgroupSkb("ingress", (ctx) => {
  return ctx.len;
});`,
    code: "BPF3132",
    line: "return ctx.len",
    because: [],
    fixed: true,
  },
  {
    name: "a tail call into a map that has no programs",
    source: `import { hash, socketFilter, u32, u64 } from "bpfkit";
export const seen = hash(u32, u64);
export const p = socketFilter((ctx, bpf) => {
  bpf.tailCall(ctx, seen, 0);
  return 0;
});`,
    code: "BPF3127",
    line: "bpf.tailCall(ctx, seen, 0)",
    because: [],
    fixed: false,
  },
];
