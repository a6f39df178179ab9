/** Helpers and packets against the kernel's: the same program and input, the same result. */
import * as b from "../../src/asm/index.ts";
import type { Insn } from "../../src/asm/index.ts";
import type { MapSpec, ProgSpec } from "../../src/elf/spec.ts";
import { bpf } from "../../src/syscall/index.ts";
import { BPF_F, BPF_FUNC, BPF_MAP_TYPE, BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { Vm, type VmOptions, collectionOf } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { createMap, kernel, kernelUpdate, mapSpec, mustLoad, progSpec, testRun } from "./kernel-run.ts";
import { Random } from "./random.ts";

const test = suite("vm helpers");
const ROUNDS = Math.ceil(Number(process.env["FUZZ_RUNS"] ?? 120));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const { XDP, SCHED_CLS, SOCKET_FILTER, SYSCALL } = BPF_PROG_TYPE;

interface Input {
  readonly ctx?: Uint8Array;
  readonly data?: Uint8Array;
}

/** Runs `prog` on both with each input. `maps` have one entry with their `data`. */
function compare(prog: ProgSpec, inputs: readonly Input[], maps: readonly MapSpec[] = []): void {
  const fds: Record<string, number> = {};
  for (const map of maps) {
    fds[map.name] = createMap(map);
    if (map.data !== undefined) kernelUpdate(fds[map.name]!, new Uint8Array(4), map.data);
    if (map.frozen) assert.is(bpf(kernel, "MAP_FREEZE", { map_fd: fds[map.name]! }), 0);
  }
  const fd = mustLoad(prog, fds);
  try {
    for (const engine of ENGINES) {
      const vm = new Vm(collectionOf([prog], maps), engine);
      for (const input of inputs) {
        const expected = testRun(fd, prog.type, input);
        const got = vm.run(prog.name, input);
        const at = (what: string): string => `${what}, input ${hex(input.ctx ?? input.data ?? new Uint8Array(0))}`;
        if (input.data !== undefined) assert.is(hex(got.data), hex(expected.data), at("packet"));
        if (input.ctx !== undefined)
          assert.is(
            hex(got.ctx.subarray(0, input.ctx.length)),
            hex(expected.ctx),
            at(`context ${hex(got.ctx)}, the kernel's ${hex(expected.ctx)}`),
          );
        assert.is(
          got.returnValue | 0,
          expected.returnValue | 0,
          at(`returns ${got.returnValue | 0}, the kernel ${expected.returnValue | 0}`),
        );
      }
    }
  } finally {
    kernel.close(fd);
    for (const map of Object.values(fds)) kernel.close(map);
  }
}
const ENGINES: readonly VmOptions[] = [{}, { engine: "jit" }];

const randomBytes = (r: Random, size: number): Uint8Array => new Uint8Array(size).map(() => r.below(256));
const packets = (r: Random, count: number, min = 54): Input[] =>
  Array.from({ length: count }, () => {
    const data = randomBytes(r, min + r.below(120));
    data.set(
      r.pick([
        [8, 0],
        [0x86, 0xdd],
        [8, 6],
        [0, 60],
      ]),
      12,
    );
    if (r.chance(50)) data.fill(0, 0, 6);
    return { data };
  });
const call = (name: keyof typeof BPF_FUNC, ...args: readonly Insn[]): Insn[] => [...args, b.callHelper(BPF_FUNC[name])];
const stack = (reg: number, off: number): Insn[] => [b.mov64Reg(reg, 10), b.add64Imm(reg, off)];

test("LD_ABS and LD_IND", () => {
  requires({ root: true, kernel: "5.10" });
  const r = new Random(1);
  for (let i = 0; i < 60; i++) {
    const size = r.pick(["b", "h", "w"] as const);
    const off = r.pick([r.below(60), r.below(60), -0x20_0000 + r.below(40), -0x10_0000 + r.below(40)]);
    const type = r.pick([SOCKET_FILTER, SCHED_CLS]);
    const insns = r.chance(50)
      ? [b.mov64Reg(6, 1), b.ldAbs(size, off), b.exit()]
      : [b.mov64Reg(6, 1), b.mov64Imm(7, r.below(20)), b.ldInd(size, 7, off), b.exit()];
    compare(progSpec("ld", type, insns), packets(r, 8));
  }
});

test("fields of __sk_buff and xdp_md", () => {
  requires({ root: true, kernel: "5.18" });
  const r = new Random(2);
  for (const off of [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 64, 68]) {
    compare(progSpec("skb", SCHED_CLS, [b.ldxMem("w", 0, 1, off), b.exit()]), packets(r, 6));
  }
  compare(progSpec("skb", SOCKET_FILTER, [b.ldxMem("w", 0, 1, 0), b.exit()]), packets(r, 6));
  for (const off of [12, 16]) compare(progSpec("xdp", XDP, [b.ldxMem("w", 0, 1, off), b.exit()]), packets(r, 2));
});

/** r2 = data, r3 = data_end; ends the program with 0 unless `need` bytes are there. */
const bounds = (type: number, need: number): Insn[] => {
  const [data, end] = type === XDP ? [0, 4] : [76, 80];
  return [
    b.ldxMem("w", 2, 6, data),
    b.ldxMem("w", 3, 6, end),
    b.mov64Reg(4, 2),
    b.add64Imm(4, need),
    b.jmpReg("jle", 4, 3, 2),
    b.mov64Imm(0, 0),
    b.exit(),
  ];
};

test("direct packet access", () => {
  requires({ root: true, kernel: "5.18" });
  const r = new Random(3);
  for (const type of [XDP, SCHED_CLS]) {
    for (let i = 0; i < 20; i++) {
      const need = 4 + r.below(60);
      const off = r.below(need - 3);
      compare(
        progSpec("direct", type, [
          b.mov64Reg(6, 1),
          ...bounds(type, need),
          b.ldxMem("w", 0, 2, off),
          b.stMem("h", 2, off, r.s32()),
          b.exit(),
        ]),
        packets(r, 8),
      );
    }
  }
});

test("xdp_adjust_head, _tail and _meta", () => {
  requires({ root: true, kernel: "5.18" });
  const r = new Random(4);
  const near = (n: number): number => r.below(n) - (n >> 1);
  for (let i = 0; i < 80; i++) {
    const insns: Insn[] = [b.mov64Reg(6, 1), b.mov64Imm(7, 0)];
    for (let k = 0; k < 3; k++) {
      const name = r.pick(["xdp_adjust_head", "xdp_adjust_tail", "xdp_adjust_meta"] as const);
      const delta =
        name === "xdp_adjust_meta"
          ? r.pick([-4, -8, -32, -3, 4, -256, -300])
          : r.pick([near(100), near(100), near(8000), -216, -217, 3500]);
      insns.push(
        ...call(name, b.mov64Reg(1, 6), b.mov64Imm(2, delta)),
        b.alu64Imm("mul", 7, 31),
        b.alu64Reg("add", 7, 0),
      );
    }
    insns.push(
      ...call("xdp_get_buff_len", b.mov64Reg(1, 6)),
      b.alu64Reg("add", 0, 7),
      b.alu64Reg("xor", 0, 7),
      b.exit(),
    );
    compare(progSpec("adjust", XDP, insns), packets(r, 3));
  }
});

test("skb_load_bytes, skb_store_bytes, csum_replace", () => {
  requires({ root: true, kernel: "5.18" });
  const r = new Random(5);
  for (let i = 0; i < 80; i++) {
    const size = r.pick([2, 4, 8, 16]);
    const insns: Insn[] = [
      b.mov64Reg(6, 1),
      b.stMem("dw", 10, -8, 0),
      b.stMem("dw", 10, -16, 0),
      ...call(
        "skb_load_bytes",
        b.mov64Reg(1, 6),
        b.mov64Imm(2, r.below(90) - 4),
        ...stack(3, -16),
        b.mov64Imm(4, size),
      ),
      b.mov64Reg(7, 0),
      ...call(
        "skb_store_bytes",
        b.mov64Reg(1, 6),
        b.mov64Imm(2, r.below(60)),
        ...stack(3, -16),
        b.mov64Imm(4, size),
        b.mov64Imm(5, r.pick([0, 0, 0, 1, 2, 4])),
      ),
      b.alu64Reg("add", 7, 0),
    ];
    const name = r.pick(["l3_csum_replace", "l4_csum_replace"] as const);
    const flags = r.pick([0, 2, 4, 3]) | (name === "l4_csum_replace" ? r.pick([0, 0x10, 0x20, 0x60]) : 0);
    insns.push(
      ...call(
        name,
        b.mov64Reg(1, 6),
        b.mov64Imm(2, r.below(70)),
        (flags & 0xf) === 0 ? b.mov64Imm(3, 0) : b.ldxMem("w", 3, 10, -16),
        b.ldxMem("w", 4, 10, -12),
        b.mov64Imm(5, flags),
      ),
      b.alu64Reg("add", 0, 7),
      b.ldxMem("dw", 1, 10, -16),
      b.alu64Reg("xor", 0, 1),
      b.exit(),
    );
    compare(progSpec("bytes", SCHED_CLS, insns), packets(r, 4));
  }
});

test("csum_diff", () => {
  requires({ root: true, kernel: "6.13" });
  const r = new Random(6);
  const sizes = [0, 4, 8, 16, 32, 3, 6];
  for (let i = 0; i < 60; i++) {
    const [from, to] = [r.pick(sizes), r.pick(sizes)];
    const insns = [
      b.mov64Reg(6, 1),
      ...call("skb_load_bytes", b.mov64Imm(2, 0), ...stack(3, -64), b.mov64Imm(4, 64)),
      b.jmpImm("jeq", 0, 0, 2),
      b.mov64Imm(0, 0),
      b.exit(),
      ...call(
        "csum_diff",
        ...(from === 0 ? [b.mov64Imm(1, 0)] : stack(1, -64)),
        b.mov64Imm(2, from),
        ...(to === 0 ? [b.mov64Imm(3, 0)] : stack(3, -32)),
        b.mov64Imm(4, to),
        b.ldxMem("w", 5, 10, -40),
      ),
      b.exit(),
    ];
    compare(progSpec("csum", SCHED_CLS, insns), packets(r, 5, 64));
  }
});

const TEXT = mapSpec("text", BPF_MAP_TYPE.ARRAY, 4, 32, 1);
const VALUE = { kind: "map-value", insn: 1, map: "text", offset: 0 } as const;

test("strtol, strtoul and strncmp", () => {
  requires({ root: true, kernel: "6.6" });
  const r = new Random(7);
  const alphabet = "0123456789abcdefxX-+ \t\nzF";
  for (let i = 0; i < Math.min(ROUNDS, 2000); i++) {
    const text = r.chance(30)
      ? r.pick([
          "0x7fffffffffffffff",
          "9223372036854775808",
          "-9223372036854775808",
          "-9223372036854775809",
          "18446744073709551615",
          "18446744073709551616",
          "0x",
          "-0",
          " 010",
          "08",
        ])
      : Array.from({ length: 1 + r.below(12) }, () => r.pick(alphabet.split(""))).join("");
    const data = new Uint8Array(32);
    data.set(new TextEncoder().encode(text));
    const name = r.pick(["strtol", "strtoul"] as const);
    const insns = [
      b.mov64Reg(6, 1),
      ...b.ldMapValue(1, 0, 0),
      b.stMem("dw", 10, -8, 0x55),
      b.mov64Imm(2, r.pick([text.length, 20])),
      b.mov64Imm(3, r.pick([0, 0, 8, 10, 16, 7, 32])),
      ...stack(4, -8),
      b.callHelper(BPF_FUNC[name]),
      b.ldxMem("dw", 1, 10, -8),
      b.stxMem("dw", 6, 1, 0),
      b.exit(),
    ];
    compare(progSpec("str", SYSCALL, insns, { refs: [VALUE] }), [{ ctx: new Uint8Array(8) }], [{ ...TEXT, data }]);
  }
});

test("snprintf", () => {
  requires({ root: true, kernel: "6.6" });
  const r = new Random(8);
  const conversions = [
    "%d",
    "%u",
    "%x",
    "%X",
    "%i",
    "%ld",
    "%lu",
    "%llx",
    "%lld",
    "%5d",
    "%-7d|",
    "%08x",
    "%+d",
    "% d",
    "%c",
    "%s",
    "%10s|",
    "%-8s|",
    "%%",
    "%pI4",
    "%pi4",
    "%pI6",
    "%px",
    "%q",
    "%5",
    "%p4",
  ];
  for (let i = 0; i < Math.min(ROUNDS, 2000); i++) {
    const parts = Array.from({ length: r.below(4) + 1 }, () => r.pick(["a ", "", "x=", "\n"]) + r.pick(conversions));
    const format = new Uint8Array(64);
    format.set(new TextEncoder().encode(parts.join("")).subarray(0, 63));
    const fmt = mapSpec("fmt", BPF_MAP_TYPE.ARRAY, 4, 64, 1, { flags: BPF_F.RDONLY_PROG, data: format, frozen: true });
    const strings = new Uint8Array(32);
    strings.set(new TextEncoder().encode("hello\0wide world"));
    const out = 80;
    const insns: Insn[] = [b.mov64Reg(6, 1)];
    const refs: ProgSpec["refs"][number][] = [];
    // Four arguments: addresses for %s and %p…, numbers for the rest.
    let n = 0;
    for (const part of parts) {
      if (part.endsWith("%%")) continue;
      if (/%-?\d*s|%p[Ii]/.test(part)) {
        refs.push({ kind: "map-value", insn: insns.length, map: "text", offset: r.pick([0, 6]) });
        insns.push(...b.ldMapValue(1, 0, (refs.at(-1) as { offset: number }).offset));
      } else insns.push(...b.ldImm64(1, BigInt.asIntN(64, /c|px/.test(part) ? 65n : r.u64())));
      insns.push(b.stxMem("dw", 10, 1, -32 + 8 * n++));
    }
    for (; n < 4; n++) insns.push(b.stMem("dw", 10, -32 + 8 * n, 7));
    // The length that 6.18 gives for addresses cut off by the buffer's end is not that of the whole text.
    const size = /%p[iI]/.test(parts.join("")) ? 80 : r.pick([1, 5, 20, out]);
    insns.push(b.mov64Reg(1, 6), b.mov64Imm(2, size));
    refs.push({ kind: "map-value", insn: insns.length, map: "fmt", offset: 0 });
    insns.push(...b.ldMapValue(3, 0, 0), ...stack(4, -32), b.mov64Imm(5, r.pick([32, 32, 32, 16, 12])));
    // The buffer lies on the stack; its bytes go to the context afterwards.
    for (let off = -32 - out; off < -32; off += 8) insns.push(b.stMem("dw", 10, off, 0));
    insns.push(...stack(1, -32 - out), b.callHelper(BPF_FUNC.snprintf));
    for (let off = 0; off < out; off += 8)
      insns.push(b.ldxMem("dw", 1, 10, -32 - out + off), b.stxMem("dw", 6, 1, off));
    insns.push(b.exit());
    const prog = progSpec("fmt", SYSCALL, insns, { refs });
    try {
      compare(prog, [{ ctx: new Uint8Array(out) }], [{ ...TEXT, data: strings }, fmt]);
    } catch (error) {
      // A format that the verifier refuses to begin with is no case.
      if (!/the kernel refuses/.test((error as Error).message))
        throw new Error(`${JSON.stringify(parts.join(""))}: ${(error as Error).message}`, { cause: error });
    }
  }
});
