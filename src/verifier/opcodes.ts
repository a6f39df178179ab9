/** Which opcode bytes are instructions (bpf_opcode_in_insntable). */
import * as op from "../asm/opcode.ts";
import type { KernelFeatures } from "./kernel-profile.ts";

const known = new Uint8Array(256);

function add(...codes: number[]): void {
  for (const c of codes) known[c] = 1;
}

for (const cls of [op.BPF_ALU, op.BPF_ALU64]) {
  for (let code = op.BPF_ADD; code <= op.BPF_ARSH; code += 0x10) {
    if (code === op.BPF_NEG) add(cls | code);
    else add(cls | code | op.BPF_K, cls | code | op.BPF_X);
  }
}
add(
  op.BPF_ALU | op.BPF_END | op.BPF_TO_LE,
  op.BPF_ALU | op.BPF_END | op.BPF_TO_BE,
  op.BPF_ALU64 | op.BPF_END | op.BPF_TO_LE,
);
for (const cls of [op.BPF_JMP, op.BPF_JMP32]) {
  for (let code = op.BPF_JEQ; code <= op.BPF_JSLE; code += 0x10) {
    if (code === op.BPF_CALL || code === op.BPF_EXIT) continue;
    add(cls | code | op.BPF_K, cls | code | op.BPF_X);
  }
}
add(
  op.BPF_JMP | op.BPF_CALL,
  op.BPF_JMP | op.BPF_EXIT,
  op.BPF_JMP | op.BPF_JA,
  op.BPF_JMP32 | op.BPF_JA,
  op.BPF_JMP | op.BPF_JCOND,
);
for (const size of [op.BPF_B, op.BPF_H, op.BPF_W, op.BPF_DW]) {
  add(
    op.BPF_ST | op.BPF_MEM | size,
    op.BPF_STX | op.BPF_MEM | size,
    op.BPF_LDX | op.BPF_MEM | size,
    op.BPF_STX | op.BPF_ATOMIC | size,
  );
  if (size === op.BPF_DW) continue;
  add(op.BPF_LDX | op.BPF_MEMSX | size, op.BPF_LD | op.BPF_ABS | size, op.BPF_LD | op.BPF_IND | size);
}
add(op.LD_IMM64);

const isAtomic = (code: number): boolean => (code & 0xe7) === (op.BPF_STX | op.BPF_ATOMIC);

/** Does the kernel know the opcode? */
export function isKnownOpcode(has: KernelFeatures, code: number): boolean {
  if (known[code] !== 1) return false;
  if (code === (op.BPF_JMP | op.BPF_JCOND)) return has.mayGoto;
  if (code === (op.BPF_JMP32 | op.BPF_JA)) return has.longJumps;
  if (code === (op.BPF_ALU64 | op.BPF_END)) return has.isaV4;
  if (isAtomic(code) && (op.sizeOf(code) === op.BPF_B || op.sizeOf(code) === op.BPF_H)) return has.loadAcquire;
  return true;
}
