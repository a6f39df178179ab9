/** One instruction as the verifier's log prints it (kernel/bpf/disasm.c): opcode in hex, assembly, newline. Total: odd registers too. */
import * as op from "../asm/opcode.ts";
import type { Env } from "./env.ts";
import { hex64 } from "./log-num.ts";

const ALU = ["+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "neg", "%=", "^=", "=", "s>>=", "endian"];
const JMP = ["jmp", "==", ">", ">=", "&", "!=", "s>", "s>=", "call", "exit", "<", "<=", "s<", "s<="];
const ATOMIC: Readonly<Record<number, string>> = {
  [op.BPF_ADD]: "add",
  [op.BPF_OR]: "or",
  [op.BPF_AND]: "and",
  [op.BPF_XOR]: "xor",
};
// By size bits >> 3.
const UNSIGNED = ["u32", "u16", "u8", "u64"];
const SIGNED = ["s32", "s16", "s8", "s64"];

const plus = (n: number): string => (n < 0 ? `${n}` : `+${n}`);

function aluText(env: Env, i: number): string {
  const code = env.code[i]!;
  const is32 = op.classOf(code) === op.BPF_ALU;
  const c = is32 ? "w" : "r";
  const dst = env.dst[i]!;
  const src = env.src[i]!;
  const off = env.off[i]!;
  const imm = env.imm[i]!;
  const o = op.codeOf(code);
  if (o === op.BPF_END) {
    if (!is32) return `r${dst} = bswap${imm} r${dst}`;
    return `r${dst} = ${op.sourceOf(code) === op.BPF_TO_BE ? "be" : "le"}${imm} r${dst}`;
  }
  if (o === op.BPF_NEG) return `${c}${dst} = -${c}${dst}`;
  if (code === 0xbf && off === op.BPF_ADDR_SPACE_CAST)
    return `r${dst} = addr_space_cast(r${src}, ${imm >>> 16}, ${imm & 0xffff})`;
  if (code === 0xbf && off === -1) return `r${dst} = &(void __percpu *)(r${src})`;
  const text =
    (off === 1 && o === op.BPF_DIV ? "s/=" : off === 1 && o === op.BPF_MOD ? "s%=" : ALU[o >> 4]) ?? "(null)";
  if (op.sourceOf(code) === op.BPF_X) {
    const sx = o === op.BPF_MOV && (off === 8 || off === 16 || off === 32) ? `(s${off})` : "";
    return `${c}${dst} ${text} ${sx}${c}${src}`;
  }
  return `${c}${dst} ${text} ${imm}`;
}

function stxText(env: Env, i: number): string | null {
  const code = env.code[i]!;
  const dst = env.dst[i]!;
  const src = env.src[i]!;
  const imm = env.imm[i]!;
  const t = UNSIGNED[op.sizeOf(code) >> 3]!;
  const mem = `(${t} *)(r${dst} ${plus(env.off[i]!)})`;
  if (op.modeOf(code) === op.BPF_MEM) return `*${mem} = r${src}`;
  if (op.modeOf(code) !== op.BPF_ATOMIC) return null;
  const w = op.sizeOf(code) === op.BPF_DW ? "64" : "";
  const plain = ATOMIC[imm];
  if (plain !== undefined) return `lock *${mem} ${ALU[imm >> 4]!} r${src}`;
  const fetch = ATOMIC[imm & ~op.BPF_FETCH];
  if (fetch !== undefined) return `r${src} = atomic${w}_fetch_${fetch}(${mem}, r${src})`;
  if (imm === op.BPF_CMPXCHG) return `r0 = atomic${w}_cmpxchg(${mem}, r0, r${src})`;
  if (imm === op.BPF_XCHG) return `r${src} = atomic${w}_xchg(${mem}, r${src})`;
  if (imm === op.BPF_LOAD_ACQ) return `r${dst} = load_acquire((${t} *)(r${src} ${plus(env.off[i]!)}))`;
  if (imm === op.BPF_STORE_REL) return `store_release(${mem}, r${src})`;
  return null;
}

function ldImmText(env: Env, i: number): string {
  const aux = env.aux[i]!;
  const src = env.src[i]!;
  let lo = env.imm[i]!;
  let hi = env.imm[i + 1] ?? 0;
  let addr: bigint | null = null;
  if (src === op.BPF_PSEUDO_BTF_ID) addr = 0xffff_ffff_8100_0000n + BigInt(lo) * 16n;
  else if (aux.map !== null) {
    const value = src === op.BPF_PSEUDO_MAP_VALUE || src === op.BPF_PSEUDO_MAP_IDX_VALUE;
    addr = value ? aux.map.valueAddr + BigInt(aux.mapOff) : aux.map.ptr;
  }
  if (addr !== null) {
    lo = env.allowPtrLeaks ? Number(BigInt.asIntN(32, addr)) : 0;
    hi = env.allowPtrLeaks ? Number(BigInt.asIntN(32, addr >> 32n)) : 0;
  }
  return `r${env.dst[i]!} = ${hex64(lo, hi)}`;
}

function ldText(env: Env, i: number): string | null {
  const code = env.code[i]!;
  const t = UNSIGNED[op.sizeOf(code) >> 3]!;
  switch (op.modeOf(code)) {
    case op.BPF_ABS:
      return `r0 = *(${t} *)skb[${env.imm[i]!}]`;
    case op.BPF_IND:
      return `r0 = *(${t} *)skb[r${env.src[i]!} + ${env.imm[i]!}]`;
    case op.BPF_IMM:
      return code === op.LD_IMM64 ? ldImmText(env, i) : null;
    default:
      return null;
  }
}

function jmpText(env: Env, i: number): string {
  const code = env.code[i]!;
  const is32 = op.classOf(code) === op.BPF_JMP32;
  const src = env.src[i]!;
  const imm = env.imm[i]!;
  const to = `goto pc${plus(env.off[i]!)}`;
  if (op.codeOf(code) === op.BPF_CALL) {
    if (src === op.BPF_PSEUDO_CALL) return `call pc${plus(imm)}`;
    const kfunc = src === op.BPF_PSEUDO_KFUNC_CALL;
    const name = kfunc
      ? (env.seams.kfuncName(env, i) ?? "kernel-function")
      : ((src === 0 ? env.seams.helperName(env, imm) : null) ?? "unknown");
    return `call ${name}#${imm}`;
  }
  if (code === (op.BPF_JMP | op.BPF_JA)) return to;
  if (code === (op.BPF_JMP | op.BPF_JCOND) && src === op.BPF_MAY_GOTO) return `may_${to}`;
  if (code === (op.BPF_JMP32 | op.BPF_JA)) return `gotol pc${plus(imm)}`;
  if (code === (op.BPF_JMP | op.BPF_EXIT)) return "exit";
  const c = is32 ? "w" : "r";
  const rhs = op.sourceOf(code) === op.BPF_X ? `${c}${src}` : `0x${(imm >>> 0).toString(16)}`;
  return `if ${c}${env.dst[i]!} ${JMP[op.codeOf(code) >> 4] ?? "(null)"} ${rhs} ${to}`;
}

function body(env: Env, i: number): string {
  const code = env.code[i]!;
  const hex = code.toString(16).padStart(2, "0");
  let text: string | null;
  let bug = "BUG_";
  switch (op.classOf(code)) {
    case op.BPF_ALU:
    case op.BPF_ALU64:
      text = aluText(env, i);
      break;
    case op.BPF_STX:
      text = stxText(env, i);
      break;
    case op.BPF_ST:
      bug = "BUG_st_";
      text = `*(${UNSIGNED[op.sizeOf(code) >> 3]!} *)(r${env.dst[i]!} ${plus(env.off[i]!)}) = ${env.imm[i]!}`;
      if (op.modeOf(code) !== op.BPF_MEM) text = op.modeOf(code) === op.BPF_ATOMIC ? "nospec" : null;
      break;
    case op.BPF_LDX: {
      bug = "BUG_ldx_";
      const names = op.modeOf(code) === op.BPF_MEMSX ? SIGNED : UNSIGNED;
      text = `r${env.dst[i]!} = *(${names[op.sizeOf(code) >> 3]!} *)(r${env.src[i]!} ${plus(env.off[i]!)})`;
      if (op.modeOf(code) !== op.BPF_MEM && op.modeOf(code) !== op.BPF_MEMSX) text = null;
      break;
    }
    case op.BPF_LD:
      bug = "BUG_ld_";
      text = ldText(env, i);
      break;
    default:
      text = jmpText(env, i);
  }
  return text === null ? `${bug}${hex}\n` : `(${hex}) ${text}\n`;
}

/** "(b4) w1 = 5\n" */
export function insnText(env: Env, i: number): string {
  let text = env.insnTexts[i];
  if (text === undefined) {
    text = body(env, i);
    env.insnTexts[i] = text;
  }
  return text;
}
