/** One instruction as the verifier's log prints it: opcode in hex, then the kernel's assembly, and a newline. */
import { printInsn } from "../asm/print.ts";
import { BPF_PSEUDO_FUNC, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE, LD_IMM64 } from "../asm/opcode.ts";
import { helperName, kfuncName } from "./calls/index.ts";
import type { Env } from "./env.ts";
import { hex64 } from "./log-num.ts";

function body(env: Env, i: number): string {
  const code = env.code[i]!;
  if (code === LD_IMM64) {
    const aux = env.aux[i]!;
    let lo = env.imm[i]!;
    let hi = env.imm[i + 1] ?? 0;
    const src = env.src[i]!;
    if (aux.map !== null && (src === BPF_PSEUDO_MAP_FD || src === BPF_PSEUDO_MAP_VALUE || src > BPF_PSEUDO_FUNC)) {
      const addr = src === BPF_PSEUDO_MAP_FD || src === BPF_PSEUDO_FUNC + 1 ? aux.map.ptr : aux.map.valueAddr + BigInt(aux.mapOff);
      lo = Number(BigInt.asIntN(32, addr));
      hi = Number(BigInt.asIntN(32, addr >> 32n));
    }
    const text = hex64(lo, hi);
    return `r${env.dst[i]!} = ${text === "0" ? "0x0" : text}`;
  }
  if (code === 0x85 && env.src[i] === BPF_PSEUDO_KFUNC_CALL) {
    return `call ${kfuncName(env, i) ?? "kernel-function"}#${env.imm[i]!}`;
  }
  return printInsn(env.load.insns, i, { helperName: (id) => helperName(env, id) ?? undefined });
}

/** "(b4) w1 = 5\n" */
export function insnText(env: Env, i: number): string {
  let text = env.insnTexts[i];
  if (text === undefined) {
    text = `(${env.code[i]!.toString(16).padStart(2, "0")}) ${body(env, i)}\n`;
    env.insnTexts[i] = text;
  }
  return text;
}
