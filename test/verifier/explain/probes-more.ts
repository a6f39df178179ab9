/** More mistakes in TypeScript that the compiler lets pass: resources, sizes, return values, loops, maps of the wrong kind. */
import type { ProbeMistake } from "./probes.ts";

export const moreProbes: readonly ProbeMistake[] = [
  {
    name: "a socket that is released twice",
    source: `import { XDP, array, struct, u8, xdp } from "bpfkit";
const Tuple = struct({ bytes: array(u8, 12) });
export const p = xdp((ctx, bpf) => {
  const tuple = Tuple({});
  const sk = bpf.skLookupTcp(ctx, tuple, 12, 0, 0);
  if (!sk) return XDP.PASS;
  bpf.skRelease(sk);
  bpf.skRelease(sk);
  return XDP.PASS;
});`,
    code: "BPF3123",
    line: "bpf.skRelease(sk)",
    because: ["bpf.skLookupTcp"],
    fixed: false,
  },
  {
    name: "an early return that forgets to release",
    source: `import { XDP, array, struct, u8, xdp } from "bpfkit";
const Tuple = struct({ bytes: array(u8, 12) });
export const p = xdp((ctx, bpf) => {
  const tuple = Tuple({});
  const sk = bpf.skLookupTcp(ctx, tuple, 12, 0, 0);
  if (!sk) return XDP.PASS;
  if (bpf.random() > 100) return XDP.DROP;
  bpf.skRelease(sk);
  return XDP.PASS;
});`,
    code: "BPF3140",
    line: "if (bpf.random() > 100) return XDP.DROP",
    because: ["bpf.skLookupTcp"],
    fixed: true,
  },
  {
    name: "the second of two sockets forgotten",
    source: `import { XDP, array, struct, u8, xdp } from "bpfkit";
const Tuple = struct({ bytes: array(u8, 12) });
export const p = xdp((ctx, bpf) => {
  const tuple = Tuple({});
  const a = bpf.skLookupTcp(ctx, tuple, 12, 0, 0);
  const b = bpf.skLookupUdp(ctx, tuple, 12, 0, 0);
  if (a) bpf.skRelease(a);
  return XDP.PASS;
});`,
    code: "BPF3140",
    line: "return XDP.PASS",
    because: ["const b = bpf.skLookupUdp"],
    fixed: true,
  },
  {
    name: "a sample reserved and only counted",
    source: `import { global, ringbuf, tpBtf, u64 } from "bpfkit";
export const events = ringbuf(u64);
export const n = global(u64);
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  const room = bpf.ringbufReserve(events, 8, 0);
  if (!room) return;
  if (bpf.random() > 100) n.value += 1;
});`,
    code: "BPF3140",
    line: "n.value += 1",
    because: ["bpf.ringbufReserve"],
    fixed: true,
  },
  {
    name: "a length that may be one less than nothing",
    source: `import { array, socketFilter, struct, u8 } from "bpfkit";
const Room = struct({ bytes: array(u8, 64) });
export const p = socketFilter((ctx, bpf) => {
  const room = Room({});
  const n = ctx.len;
  if (n > 64) return 0;
  bpf.skbLoadBytes(ctx, 0, room, n - 1);
  return 0;
});`,
    code: "BPF3106",
    line: "bpf.skbLoadBytes(ctx, 0, room, n - 1)",
    because: ["const n = ctx.len"],
    fixed: true,
  },
  {
    name: "a bound that is one too large",
    source: `import { array, socketFilter, struct, u8 } from "bpfkit";
const Room = struct({ bytes: array(u8, 64) });
export const p = socketFilter((ctx, bpf) => {
  const room = Room({});
  const n = ctx.len;
  if (n === 0 || n > 65) return 0;
  bpf.skbLoadBytes(ctx, 0, room, n);
  return 0;
});`,
    code: "BPF3108",
    line: "bpf.skbLoadBytes(ctx, 0, room, n)",
    because: [],
    fixed: false,
  },
  {
    name: "a length that may be zero",
    source: `import { array, socketFilter, struct, u8 } from "bpfkit";
const Room = struct({ bytes: array(u8, 64) });
export const p = socketFilter((ctx, bpf) => {
  const room = Room({});
  const n = ctx.len;
  if (n < 64) bpf.skbLoadBytes(ctx, 0, room, n);
  return 0;
});`,
    code: "BPF3106",
    line: "bpf.skbLoadBytes(ctx, 0, room, n)",
    because: ["const n = ctx.len"],
    fixed: true,
  },
  {
    name: "a bound checked the wrong way round",
    source: `import { array, struct, tpBtf, u8 } from "bpfkit";
const Room = struct({ bytes: array(u8, 64) });
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  const room = Room({});
  const n = bpf.random();
  if (n > 64) bpf.probeReadKernel(room, n, 0);
});`,
    code: "BPF3106",
    line: "bpf.probeReadKernel(room, n, 0)",
    because: ["const n = bpf.random()"],
    fixed: true,
  },
  {
    name: "a size from a map",
    source: `import { array, hash, struct, tpBtf, u32, u64, u8 } from "bpfkit";
const Room = struct({ bytes: array(u8, 64) });
export const sizes = hash(u32, u64);
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  const room = Room({});
  const n = sizes.get(1);
  if (n === undefined) return;
  bpf.probeReadKernel(room, n, 0);
});`,
    code: "BPF3106",
    line: "bpf.probeReadKernel(room, n, 0)",
    because: ["const n = sizes.get(1)"],
    fixed: true,
  },
  {
    name: "a size from a function",
    source: `import { array, struct, tpBtf, u8 } from "bpfkit";
const Room = struct({ bytes: array(u8, 64) });
function pickSize(x: number): number {
  return x * 2;
}
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  const room = Room({});
  bpf.probeReadUser(room, pickSize(bpf.random()), 0);
});`,
    code: "BPF3106",
    line: "bpf.probeReadUser(room, pickSize(bpf.random()), 0)",
    because: ["return x * 2"],
    fixed: true,
  },
  {
    name: "a size that user space sets",
    source: `import { array, global, struct, tpBtf, u32, u8 } from "bpfkit";
const Room = struct({ bytes: array(u8, 64) });
export const size = global(u32);
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  const room = Room({});
  bpf.probeReadKernel(room, size.value, 0);
});`,
    code: "BPF3106",
    line: "bpf.probeReadKernel(room, size.value, 0)",
    because: [],
    fixed: true,
  },
  {
    name: "a mask that leaves more than the buffer has",
    source: `import { array, struct, tpBtf, u8 } from "bpfkit";
const Room = struct({ bytes: array(u8, 64) });
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  const room = Room({});
  bpf.probeReadKernel(room, bpf.random() & 127, 0);
});`,
    code: "BPF3108",
    line: "bpf.probeReadKernel(room, bpf.random() & 127, 0)",
    because: [],
    fixed: false,
  },
  {
    name: "a packet's length as it is",
    source: `import { array, socketFilter, struct, u8 } from "bpfkit";
const Room = struct({ bytes: array(u8, 64) });
export const p = socketFilter((ctx, bpf) => {
  const room = Room({});
  bpf.skbLoadBytes(ctx, 0, room, ctx.len);
  return 0;
});`,
    code: "BPF3106",
    line: "bpf.skbLoadBytes(ctx, 0, room, ctx.len)",
    because: [],
    fixed: true,
  },
  {
    name: "a stack trace of any length",
    source: `import { array, struct, tpBtf, u8 } from "bpfkit";
const Room = struct({ bytes: array(u8, 64) });
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  const room = Room({});
  bpf.getStack(ctx, room, bpf.random(), 0);
});`,
    code: "BPF3106",
    line: "bpf.getStack(ctx, room, bpf.random(), 0)",
    because: [],
    fixed: true,
  },
  {
    name: "a sample of any length",
    source: `import { array, ringbuf, struct, tpBtf, u64, u8 } from "bpfkit";
const Room = struct({ bytes: array(u8, 64) });
export const events = ringbuf(u64);
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  const room = Room({});
  bpf.ringbufOutput(events, room, bpf.random(), 0);
});`,
    code: "BPF3106",
    line: "bpf.ringbufOutput(events, room, bpf.random(), 0)",
    because: [],
    fixed: true,
  },
  {
    name: "a reserved size that is no constant",
    source: `import { ringbuf, tpBtf, u64 } from "bpfkit";
export const events = ringbuf(u64);
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  const room = bpf.ringbufReserve(events, bpf.random(), 0);
  if (!room) return;
});`,
    code: "BPF3126",
    line: "bpf.ringbufReserve(events, bpf.random(), 0)",
    because: [],
    fixed: false,
  },
  {
    name: "a port returned instead of a verdict",
    source: `import { cgroupSockAddr } from "bpfkit";
export const p = cgroupSockAddr("connect4", (ctx) => {
  return ctx.user_port;
});`,
    code: "BPF3132",
    line: "return ctx.user_port",
    because: [],
    fixed: true,
  },
  {
    name: "a verdict of another hook",
    source: `import { cgroupSock } from "bpfkit";
export const p = cgroupSock("sock_create", () => {
  return 2;
});`,
    code: "BPF3132",
    line: "return 2",
    because: [],
    fixed: true,
  },
  {
    name: "a verdict that is too large on one path",
    source: `import { cgroupSkb } from "bpfkit";
export const p = cgroupSkb("egress", (ctx) => {
  if (ctx.mark === 7) return 9;
  return 1;
});`,
    code: "BPF3132",
    line: "if (ctx.mark === 7) return 9",
    because: [],
    fixed: true,
  },
  {
    name: "a counter that may stand still",
    source: `import { global, tpBtf, u64 } from "bpfkit";
export const n = global(u64);
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  let i = 0;
  while (i < 10) {
    if (bpf.random() > 5) i++;
  }
  n.value += i;
});`,
    code: "BPF3130",
    line: "while (i < 10)",
    because: [],
    fixed: true,
  },
  {
    name: "a loop that waits for user space",
    source: `import { global, tpBtf, u64 } from "bpfkit";
export const n = global(u64);
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  while (n.value < 10) bpf.ktimeGetNs();
});`,
    code: "BPF3130",
    line: "while (n.value < 10) bpf.ktimeGetNs()",
    because: [],
    fixed: true,
  },
  {
    name: "a loop that ends when a number is zero",
    source: `import { global, tpBtf, u64 } from "bpfkit";
export const n = global(u64);
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  let sum = 0;
  let i = bpf.random();
  while (i !== 0) {
    sum += i;
    i = bpf.random();
  }
  n.value += sum;
});`,
    code: "BPF3130",
    line: "while (i !== 0)",
    because: [],
    fixed: true,
  },
  {
    name: "a redirect through a map that holds no devices",
    source: `import { hash, u32, u64, xdp } from "bpfkit";
export const seen = hash(u32, u64);
export const p = xdp((ctx, bpf) => {
  return bpf.redirectMap(seen, 0, 0);
});`,
    code: "BPF3124",
    line: "bpf.redirectMap(seen, 0, 0)",
    because: [],
    fixed: false,
  },
  {
    name: "stacks kept in a map of another kind",
    source: `import { global, hash, tpBtf, u32, u64 } from "bpfkit";
export const seen = hash(u32, u64);
export const n = global(u64);
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  n.value = bpf.getStackid(ctx, seen, 0);
});`,
    code: "BPF3124",
    line: "bpf.getStackid(ctx, seen, 0)",
    because: [],
    fixed: false,
  },
];
