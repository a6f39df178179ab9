/** Which form a loop takes and where large temporaries go, and that all of them compute the same. */
import type { Insn } from "../../../src/asm/index.ts";
import * as bpf from "../../../src/asm/opcode.ts";
import { BPF_MAP_TYPE } from "../../../src/uapi/index.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";
import { compiled, compileText, loaded } from "../compile-text.ts";

const test = suite("compiler forms");
const BPF_LOOP = 181;

function loops(insns: readonly Insn[]): "kernel" | "bounded" | "unrolled" {
  const call = bpf.BPF_JMP | bpf.BPF_CALL;
  if (insns.some((i) => i.opcode === call && i.src === 0 && i.imm === BPF_LOOP)) return "kernel";
  const jumps = insns.filter(
    (i) => (bpf.classOf(i.opcode) === bpf.BPF_JMP || bpf.classOf(i.opcode) === bpf.BPF_JMP32) && i.opcode !== call,
  );
  return jumps.some((i) => i.off < 0) ? "bounded" : "unrolled";
}

const program = (loop: string): string => `import { array, global, range, u32, u64, xdp } from "bpfkit";
export const n = global(u32, 1);
export const a = global(array(u64, 512), []);
export const out = global(u64, 0);
export const p = xdp(() => {
  let h = u64(7);
  ${loop}
  out.value = h;
  return 2;
});`;
const BODY = "{ if (i === 2) continue; if (h > 0xffff_ffff_ffff) break; h = h * 31 + i; }";
const expected = (count: number): bigint => {
  let h = 7n;
  for (let i = 0; i < count; i++) {
    if (i === 2) continue;
    if (h > 0xffff_ffff_ffffn) break;
    h = h * 31n + BigInt(i);
  }
  return h;
};

test("few iterations are unrolled, more are a loop of the verifier's, an open bound is the kernel's: one result", () => {
  const form = (loop: string): string => loops(compiled(program(loop)).spec.progs[0]!.insns);
  const cases: [string, ReturnType<typeof loops>, number][] = [
    [`for (const i of range(4)) ${BODY}`, "unrolled", 4],
    [`for (let i = u64(0); i < 4; i++) ${BODY}`, "unrolled", 4],
    [`for (const i of range(100)) ${BODY}`, "bounded", 100],
    [`for (const i of range(Math.min(n.value, 100))) ${BODY}`, "bounded", 9],
    [`let i = u64(0) - 1; while (++i < 100) ${BODY}`, "bounded", 100],
    [`for (const i of range(n.value)) ${BODY}`, "kernel", 9],
  ];
  for (const [loop, as] of cases) assert.is(form(loop), as, loop);
  requires({ root: true, capability: ["CAP_BPF", "CAP_NET_ADMIN"], kernel: "5.17" });
  for (const [loop, , count] of cases) {
    const c = loaded(program(loop));
    try {
      c.variable<number>("n").value = 9;
      c.prog("p").testRun({ data: new Uint8Array(64) });
      assert.is(c.variable<bigint>("out").value, expected(count), loop);
    } finally {
      c.close();
    }
  }
});

const big = (fields: string): string => `import { char, global, hash, struct, u32, u64, xdp } from "bpfkit";
const Big = struct({ id: u32, text: char(${fields}), last: u64 });
export const m = hash(u32, Big);
export const k = global(u32, 5);
export const p = xdp(() => {
  m.set(k.value, { id: k.value, text: "abc", last: k.value + 1 });
  return m.has(k.value) ? 2 : 1;
});`;

test("a temporary that the stack has no room for lies in a per-CPU map, which is said", () => {
  const small = compiled(big("64"));
  assert.is(small.explain[0]!.scratch, 0);
  assert.ok(small.explain[0]!.stack <= 512);
  const large = compiled(big("1000"));
  assert.ok(large.explain[0]!.scratch >= 1016, `${large.explain[0]!.scratch}`);
  assert.ok(large.explain[0]!.stack <= 512);
  const scratch = large.spec.maps.filter((x) => x.name !== "m" && x.valueSize >= 1016);
  assert.equal(
    scratch.map((x) => [x.type, x.maxEntries]),
    [[BPF_MAP_TYPE.PERCPU_ARRAY, 1]],
  );
  requires({ root: true, capability: ["CAP_BPF", "CAP_NET_ADMIN"], kernel: "5.8" });
  const c = loaded(big("1000"));
  try {
    assert.is(c.prog("p").testRun({ data: new Uint8Array(64) }).returnValue, 2);
    assert.equal(c.map("m").get(5), { id: 5, text: "abc", last: 6n });
  } finally {
    c.close();
  }
});

test("variables share stack that they do not need at once", () => {
  const one = "{ const t = Buf({ a: n.value, text: bpf.comm() }); m.set(1, t); }";
  const text = (body: string): string => `import { char, global, hash, rawTracepoint, struct, u32 } from "bpfkit";
const Buf = struct({ a: u32, text: char(16), more: char(140) });
export const m = hash(u32, Buf);
export const n = global(u32, 1);
export const p = rawTracepoint("sys_enter", (_ctx, bpf) => {
  ${body}
});`;
  const stack = (body: string): number => {
    const { result, diagnostics } = compileText(text(body));
    if (result === undefined) throw new Error(diagnostics[0]?.message);
    return result.explain[0]!.stack;
  };
  const single = stack(one);
  assert.ok(single >= 160, `${single}`);
  assert.is(stack(Array.from({ length: 6 }, () => one).join("\n  ")), single);
});
