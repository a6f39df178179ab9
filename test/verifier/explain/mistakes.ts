/** Typical beginner mistakes, as assembly: what is wrong, where, and how the verifier must see it. */
import { parseAsm } from "../../../src/asm/index.ts";
import type { LoadMap, ProgLoad } from "../../../src/verifier/index.ts";
import { BPF_MAP_TYPE } from "../../../src/uapi/index.ts";
import { bare } from "../bare.ts";

export interface Mistake {
  readonly name: string;
  readonly progType: "socket_filter" | "xdp" | "tracepoint" | "kprobe";
  readonly asm: string;
  readonly license?: string;
  readonly maps?: readonly LoadMap[];
  /** Code of the explanation, the insn it stops at, insns of the causal path (a subset that must be there). */
  readonly code: string;
  readonly insn: number | undefined;
  readonly path: readonly number[];
  /** The fix was tried and accepted. */
  readonly fixed: boolean;
}

const PROG_TYPE = { socket_filter: 1, kprobe: 2, tracepoint: 5, xdp: 6 } as const;

const map = (name: string, type: number, keySize: number, valueSize: number, maxEntries: number): LoadMap => ({
  name,
  type,
  keySize,
  valueSize,
  maxEntries,
  flags: 0,
  extra: 0n,
  btfKeyTypeId: 0,
  btfValueTypeId: 0,
  btfVmlinuxValueTypeId: 0,
  btf: null,
  inner: null,
  frozen: false,
  data: null,
});
const counts = map("counts", BPF_MAP_TYPE.HASH, 4, 64, 8);
const ring = map("events", BPF_MAP_TYPE.RINGBUF, 0, 0, 4096);

/** r0 = lookup(counts, 0) */
const LOOKUP = `
  *(u32 *)(r10 - 4) = 0
  r1 = map[fd:0]
  r2 = r10
  r2 += -4
  call 1`;

export const mistakes: readonly Mistake[] = [
  {
    name: "a looked-up value used without a null check",
    progType: "socket_filter",
    maps: [counts],
    asm: `${LOOKUP}\n r1 = *(u64 *)(r0 + 0)\n r0 = 0\n exit`,
    code: "BPF3101",
    insn: 6,
    path: [5],
    fixed: true,
  },
  {
    name: "an index that may leave the map value",
    progType: "socket_filter",
    maps: [counts],
    asm: `r6 = *(u32 *)(r1 + 0)${LOOKUP}\n if r0 == 0 goto +2\n r0 += r6\n r1 = *(u8 *)(r0 + 0)\n r0 = 0\n exit`,
    code: "BPF3106",
    insn: 9,
    path: [0, 8],
    fixed: true,
  },
  {
    name: "packet bytes read without comparing with data_end",
    progType: "xdp",
    asm: "r2 = *(u32 *)(r1 + 0)\n r0 = *(u8 *)(r2 + 12)\n r0 = 2\n exit",
    code: "BPF3104",
    insn: 1,
    path: [0],
    fixed: true,
  },
  {
    name: "a register clobbered by a call",
    progType: "socket_filter",
    asm: "call 5\n r0 = *(u32 *)(r1 + 0)\n exit",
    code: "BPF3109",
    insn: 1,
    path: [0],
    fixed: true,
  },
  {
    name: "no return value",
    progType: "socket_filter",
    asm: "r6 = 1\n exit",
    code: "BPF3109",
    insn: 1,
    path: [],
    fixed: true,
  },
  {
    name: "a ring buffer sample that is never submitted",
    progType: "socket_filter",
    maps: [ring],
    asm: "r1 = map[fd:0]\n r2 = 8\n r3 = 0\n call 131\n if r0 == 0 goto +2\n r6 = r0\n *(u64 *)(r6 + 0) = 1\n r0 = 0\n exit",
    code: "BPF3140",
    insn: 9,
    path: [],
    fixed: true,
  },
  {
    name: "a helper of another program type",
    progType: "socket_filter",
    asm: "r1 = r10\n r1 += -8\n r2 = 8\n r3 = 0\n call 44\n r0 = 0\n exit",
    code: "BPF3120",
    insn: 4,
    path: [],
    fixed: false,
  },
  {
    name: "a loop without an end",
    progType: "socket_filter",
    asm: "r0 = 0\n if r0 == 1 goto +1\n goto -2\n exit",
    code: "BPF3130",
    insn: 1,
    path: [],
    fixed: true,
  },
  {
    name: "a stack buffer larger than the stack",
    progType: "socket_filter",
    asm: "*(u64 *)(r10 - 520) = 0\n r0 = 0\n exit",
    code: "BPF3108",
    insn: 0,
    path: [],
    fixed: false,
  },
  {
    name: "an address that is only a number",
    progType: "kprobe",
    asm: "r1 = *(u64 *)(r1 + 112)\n r0 = *(u64 *)(r1 + 8)\n r0 = 0\n exit",
    code: "BPF3103",
    insn: 1,
    path: [0],
    fixed: true,
  },
  {
    name: "a GPL helper without the licence",
    progType: "kprobe",
    license: "Proprietary",
    asm: "r1 = r10\n r1 += -8\n r2 = 8\n r3 = 0\n call 113\n r0 = 0\n exit",
    code: "BPF3122",
    insn: 4,
    path: [],
    fixed: true,
  },
  {
    name: "a number where a buffer is expected",
    progType: "socket_filter",
    maps: [counts],
    asm: "r1 = map[fd:0]\n r2 = 0\n call 1\n r0 = 0\n exit",
    code: "BPF3123",
    insn: 3,
    path: [2],
    fixed: true,
  },
  {
    name: "a size without a bound",
    progType: "kprobe",
    asm: "r2 = *(u64 *)(r1 + 112)\n r3 = *(u64 *)(r1 + 104)\n r1 = r10\n r1 += -64\n call 113\n r0 = 0\n exit",
    code: "BPF3106",
    insn: 4,
    path: [0],
    fixed: true,
  },
  {
    name: "a context field that is not there",
    progType: "socket_filter",
    asm: "r0 = *(u32 *)(r1 + 200)\n exit",
    code: "BPF3111",
    insn: 0,
    path: [],
    fixed: false,
  },
  {
    name: "a context field read with the wrong size",
    progType: "xdp",
    asm: "r0 = *(u64 *)(r1 + 12)\n r0 = 2\n exit",
    code: "BPF3111",
    insn: 0,
    path: [],
    fixed: true,
  },
  {
    name: "a context pointer that was moved",
    progType: "socket_filter",
    asm: "r1 += 4\n r0 = *(u32 *)(r1 + 0)\n exit",
    code: "BPF3112",
    insn: 1,
    path: [0],
    fixed: true,
  },
  {
    name: "code behind a return",
    progType: "socket_filter",
    asm: "r0 = 0\n exit\n r0 = 1\n exit",
    code: "BPF3133",
    insn: undefined,
    path: [],
    fixed: false,
  },
  {
    name: "a function that falls through its end",
    progType: "socket_filter",
    asm: "r0 = 0\n r0 += 1",
    code: "BPF3135",
    insn: undefined,
    path: [],
    fixed: true,
  },
  {
    name: "a jump out of the program",
    progType: "socket_filter",
    asm: "r0 = 0\n if r0 == 0 goto +100\n exit",
    code: "BPF3134",
    insn: undefined,
    path: [],
    fixed: false,
  },
  {
    name: "a null pointer passed on",
    progType: "socket_filter",
    maps: [counts],
    asm: `${LOOKUP}\n r1 = map[fd:0]\n r2 = r0\n call 1\n r0 = 0\n exit`,
    code: "BPF3102",
    insn: 9,
    path: [5, 8],
    fixed: true,
  },
];

export function loadOf(m: Mistake): ProgLoad {
  const insns = parseAsm(m.asm);
  return { ...bare(insns, PROG_TYPE[m.progType]), maps: m.maps ?? [], license: m.license ?? "GPL" };
}
