/** Registers that may be read before they are written again (6.15+), and the loops of the CFG as strongly connected components. */
import {
  BPF_ABS,
  BPF_ALU,
  BPF_ALU64,
  BPF_ATOMIC,
  BPF_CALL,
  BPF_CMPXCHG,
  BPF_DW,
  BPF_END,
  BPF_EXIT,
  BPF_FETCH,
  BPF_IMM,
  BPF_IND,
  BPF_JA,
  BPF_JCOND,
  BPF_JMP,
  BPF_JMP32,
  BPF_LD,
  BPF_LDX,
  BPF_LOAD_ACQ,
  BPF_MEM,
  BPF_MEMSX,
  BPF_MOV,
  BPF_ST,
  BPF_STORE_REL,
  BPF_STX,
  BPF_X,
  LD_IMM64,
  classOf,
  codeOf,
  modeOf,
  sizeOf,
  sourceOf,
} from "../asm/opcode.ts";
import type { Env } from "./env.ts";
import { insnText } from "./log-insn.ts";
import { fallthroughOf, jumpTargetOf } from "./successors.ts";

const ALL = 0xffff;
const CALLER_SAVED = 0x3f;

/** Registers read (low 16 bits) and written (high 16 bits) by insn `i`. */
function useDef(env: Env, i: number): number {
  const code = env.code[i]!;
  const dst = 1 << env.dst[i]!;
  const src = 1 << env.src[i]!;
  let def = 0;
  let use = ALL;
  switch (classOf(code)) {
    case BPF_LD:
      if (modeOf(code) === BPF_IMM && sizeOf(code) === BPF_DW) {
        def = dst;
        use = 0;
      } else if (modeOf(code) === BPF_ABS || modeOf(code) === BPF_IND) {
        // Reads r6 and clobbers r0-r5: treated as reading everything.
      }
      break;
    case BPF_LDX:
      if (modeOf(code) === BPF_MEM || modeOf(code) === BPF_MEMSX) {
        def = dst;
        use = src;
      }
      break;
    case BPF_ST:
      if (modeOf(code) === BPF_MEM) use = dst;
      break;
    case BPF_STX:
      if (modeOf(code) === BPF_MEM) use = dst | src;
      else if (modeOf(code) === BPF_ATOMIC) {
        use = dst | src;
        switch (env.imm[i]!) {
          case BPF_CMPXCHG:
            use = 1 | dst | src;
            def = 1;
            break;
          case BPF_LOAD_ACQ:
            def = dst;
            use = src;
            break;
          case BPF_STORE_REL:
            break;
          default:
            if ((env.imm[i]! & BPF_FETCH) !== 0) def = src;
        }
      }
      break;
    case BPF_ALU:
    case BPF_ALU64:
      def = dst;
      if (codeOf(code) === BPF_END) use = dst;
      else if (codeOf(code) === BPF_MOV) use = sourceOf(code) === BPF_X ? src : 0;
      else use = sourceOf(code) === BPF_X ? dst | src : dst;
      break;
    case BPF_JMP:
    case BPF_JMP32:
      switch (codeOf(code)) {
        case BPF_JA:
          use = sourceOf(code) === BPF_X ? dst : 0;
          break;
        case BPF_JCOND:
          use = 0;
          break;
        case BPF_EXIT:
          use = 1;
          break;
        case BPF_CALL: {
          def = CALLER_SAVED;
          const cs = env.seams.callSummary(env, i);
          use = cs === null ? CALLER_SAVED & ~1 : ((1 << (cs.numParams + 1)) - 1) & ~1;
          break;
        }
        default:
          use = sourceOf(code) === BPF_X ? dst | src : dst;
      }
      break;
    default:
      break;
  }
  return use | (def << 16);
}

/** compute_live_registers: fills aux.liveRegsBefore; at level 2 prints the table. */
export function computeLiveRegisters(env: Env): void {
  const n = env.len;
  const facts = new Int32Array(n);
  const live = new Uint16Array(n);
  for (let i = 0; i < n; i++) facts[i] = useDef(env, i);
  let changed = true;
  while (changed) {
    changed = false;
    for (let k = 0; k < env.postorder.length; k++) {
      const i = env.postorder[k]!;
      const a = fallthroughOf(env, i);
      const b = jumpTargetOf(env, i);
      const out = (a >= 0 && a < n ? live[a]! : 0) | (b >= 0 && b < n ? live[b]! : 0);
      const f = facts[i]!;
      const before = (out & ~(f >>> 16)) | (f & ALL);
      if (before !== live[i]) {
        live[i] = before;
        changed = true;
      }
    }
  }
  for (let i = 0; i < n; i++) env.aux[i]!.liveRegsBefore = live[i]!;
  if (!env.log.level2 || !env.has.staticRegLiveness) return;
  env.log.write("Live regs before insn:\n");
  for (let i = 0; i < n; i++) {
    const scc = env.aux[i]!.scc;
    let regs = "";
    for (let r = 0; r < 10; r++) regs += (live[i]! >> r) & 1 ? String(r) : ".";
    env.log.write(
      `${scc === 0 ? "    " : `${String(scc).padStart(3)} `}${String(i).padStart(3)}: ${regs} ${insnText(env, i)}`,
    );
    if (env.code[i] === LD_IMM64) i++;
  }
}

const DONE = 0xffff_ffff;

/** compute_scc (Tarjan, as the kernel numbers them): aux.scc is 0 outside loops. Returns the number of SCCs plus one. */
export function computeScc(env: Env): number {
  const n = env.len;
  const stack: number[] = [];
  const pre = new Float64Array(n);
  const low = new Float64Array(n);
  const next = new Uint8Array(n);
  let preNum = 0;
  let sccId = 1;
  for (let i = 0; i < n; i++) {
    if (pre[i] !== 0) continue;
    const dfs = [i];
    while (dfs.length > 0) {
      const w = dfs.at(-1)!;
      if (pre[w] === 0) {
        preNum++;
        pre[w] = preNum;
        low[w] = preNum;
        stack.push(w);
      }
      const a = fallthroughOf(env, w);
      const b = jumpTargetOf(env, w);
      let descended = false;
      while (next[w]! < 2) {
        const s = next[w]! === 0 ? a : b;
        next[w]!++;
        if (s < 0 || s >= n) continue;
        if (pre[s] !== 0) low[w] = Math.min(low[w]!, low[s]!);
        else {
          next[w]!--;
          dfs.push(s);
          descended = true;
          break;
        }
      }
      if (descended) continue;
      if (low[w]! < pre[w]!) {
        dfs.pop();
        continue;
      }
      // A component of one insn is a loop only when it jumps to itself, or calls something that calls back.
      const assign = stack.at(-1) !== w || a === w || b === w;
      let t: number;
      do {
        t = stack.pop()!;
        low[t] = DONE;
        if (assign) env.aux[t]!.scc = sccId;
      } while (t !== w);
      if (assign) sccId++;
      dfs.pop();
    }
  }
  return sccId;
}
