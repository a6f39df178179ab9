/** Jump history of a state: what back-tracking needs to find the way it came. */
import { type Env, verifierBug } from "./env.ts";
import type { HistEntry, LinkedReg, VerifierState } from "./state.ts";

export const INSN_F_STACK_ACCESS = 1 << 9;
export const INSN_F_DST_REG_STACK = 1 << 10;
export const INSN_F_SRC_REG_STACK = 1 << 11;

export const stackAccessFlags = (frameno: number, spi: number): number => INSN_F_STACK_ACCESS | (spi << 3) | frameno;
export const stackAccessSpi = (flags: number): number => (flags >> 3) & 0x3f;
export const stackAccessFrame = (flags: number): number => flags & 7;

/** push_jmp_history: one entry an insn; a second call for the same insn adds its flags. */
export function pushJmpHistory(env: Env, st: VerifierState, flags: number, linked: readonly LinkedReg[] | null): void {
  const cur = env.curHist;
  if (cur !== null) {
    if ((cur.flags & flags) !== 0 && (cur.flags & flags) !== flags) {
      verifierBug(
        env,
        `insn history: insn_idx ${env.insnIdx} cur flags ${cur.flags.toString(16)} new flags ${flags.toString(16)}`,
      );
    }
    cur.flags |= flags;
    cur.linked = linked;
    return;
  }
  const entry: HistEntry = { idx: env.insnIdx, prevIdx: env.prevInsnIdx, flags, linked };
  st.jmpHistory.push(entry);
  env.curHist = entry;
}
