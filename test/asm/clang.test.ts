/** clang-19 as the judge of both byte orders. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { checkInsn, decodeInsns, encodeInsns, insnSlots, minIsa, toOp } from "../../src/asm/index.ts";
import type { Insn } from "../../src/asm/index.ts";

const test = suite("asm and clang");

const SOURCE = `
typedef unsigned long long u64; typedef unsigned int u32; typedef short s16; typedef signed char s8;
u64 g(u64 *p, int n, s8 *q, s16 *h) {
  u64 sum = 0x123456789abcdef0ULL;
  for (int i = 0; i < n; i++) {
    sum += __sync_fetch_and_add(&p[i], i) * 3 + q[i] + h[i];
    sum ^= (long)(int)sum DIVIDED (n | 1);
    if ((int)sum < -5) p[i] = -sum % 7;
    if ((u32)sum <= 9) *(u32 *)&p[i] = __sync_val_compare_and_swap((u32 *)p, n, 5);
    sum = __builtin_bswap32(sum);
  }
  return sum;
}`;

function compile(target: "bpfel" | "bpfeb", cpu: string): Uint8Array {
  const dir = mkdtempSync(join(tmpdir(), "bpfkit-asm-"));
  try {
    const [source, object, binary] = ["t.c", "t.o", "t.bin"].map((name) => join(dir, name)) as [string, string, string];
    writeFileSync(source, SOURCE);
    execFileSync("clang-19", [
      "-O2",
      cpu === "v4" ? "-DDIVIDED=/" : "-DDIVIDED=*",
      "-target",
      target,
      `-mcpu=${cpu}`,
      "-c",
      source,
      "-o",
      object,
    ]);
    execFileSync("llvm-objcopy-19", ["-O", "binary", "--only-section=.text", object, binary]);
    return new Uint8Array(readFileSync(binary));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

for (const cpu of ["v3", "v4"]) {
  test(`the same C for both byte orders decodes to the same instructions, -mcpu=${cpu}`, () => {
    requires({ package: ["clang-19", "llvm-19"] });
    const little = compile("bpfel", cpu);
    const big = compile("bpfeb", cpu);
    const insns = decodeInsns(little);
    // Only the swap itself may differ: be32 there is le32 here below v4.
    const neutral = (insn: Insn): Insn =>
      insn.opcode === 0xd4 || insn.opcode === 0xdc ? { ...insn, opcode: 0xd4 } : insn;
    assert.equal(decodeInsns(big, { endian: "big" }).map(neutral), insns.map(neutral));
    assert.equal(encodeInsns(insns), little);
    let newest = 1;
    for (let i = 0; i < insns.length; i += insnSlots(insns[i]!)) {
      assert.is(checkInsn(insns, i), undefined, `slot ${i}`);
      newest = Math.max(newest, minIsa(toOp(insns, i)));
    }
    assert.is(`v${newest}`, cpu);
  });
}
