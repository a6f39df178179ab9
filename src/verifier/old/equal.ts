/** When one state covers another, before 6.3 (states_equal): registers that are the same bit by bit, or a few types compared loosely. */
import {
  NOT_INIT,
  PTR_MAYBE_NULL,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_PACKET,
  PTR_TO_PACKET_META,
  PTR_TO_STACK,
  SCALAR_VALUE,
  STACK_INVALID,
  STACK_MISC,
  STACK_ZERO,
  baseType,
} from "../constants.ts";
import type { Env } from "../env.ts";
import { sameHead, sameNumber } from "../equal-reg.ts";
import type { IdMap } from "../id-map.ts";
import { regIsRead, slotIsRead } from "../live-marks.ts";
import type { RegState } from "../reg-state.ts";
import { rangeWithin, tnumIn } from "../scalar/index.ts";
import { type FuncState, type VerifierState, isSpilledSlot, slotByte } from "../state.ts";

/** check_ids: an old id stands for one current id, whatever else stands for that. */
function checkIds(oldId: number, curId: number, m: IdMap): boolean {
  if (oldId === 0) return true;
  for (let i = 0; i < m.cnt; i++) if (m.old[i] === oldId) return m.cur[i] === curId;
  m.old[m.cnt] = oldId;
  m.cur[m.cnt] = curId;
  m.cnt++;
  return true;
}

/** regsafe */
function regSafe(env: Env, o: RegState, c: RegState, m: IdMap): boolean {
  const equal = o.id === c.id && o.refObjId === c.refObjId && sameHead(o, c) && sameNumber(o, c);
  if (o.type === PTR_TO_STACK) return equal && o.frameno === c.frameno;
  if (equal || o.type === NOT_INIT) return true;
  switch (baseType(o.type)) {
    case SCALAR_VALUE:
      if (env.exploreAluLimits || c.type !== SCALAR_VALUE) return false;
      return !o.precise || (rangeWithin(o, c) && tnumIn(o, c));
    case PTR_TO_MAP_KEY:
    case PTR_TO_MAP_VALUE:
      if ((o.type & PTR_MAYBE_NULL) !== 0) return sameHead(o, c) && checkIds(o.id, c.id, m);
      return sameHead(o, c) && rangeWithin(o, c) && tnumIn(o, c);
    case PTR_TO_PACKET_META:
    case PTR_TO_PACKET:
      if (c.type !== o.type || o.off !== c.off) return false;
      if (o.range < 0 || c.range < 0 ? o.range !== c.range : o.range > c.range) return false;
      return checkIds(o.id, c.id, m) && rangeWithin(o, c) && tnumIn(o, c);
    default:
      return false;
  }
}

/** stacksafe */
function stackSafe(env: Env, old: FuncState, cur: FuncState, m: IdMap): boolean {
  for (let spi = 0; spi < old.stack.length; spi++) {
    const o = old.stack[spi]!;
    if (o.types === 0 || !slotIsRead(old, spi)) continue;
    const c = cur.stack[spi];
    for (let i = 0; i < 8; i++) {
      const ot = slotByte(o.types, i);
      if (ot === STACK_INVALID || (env.allowUninitStack && ot === STACK_MISC)) continue;
      if (c === undefined) return false;
      const ct = slotByte(c.types, i);
      if (ot === STACK_MISC && ct === STACK_ZERO) continue;
      if (ot !== ct) return false;
      if (i === 7 && isSpilledSlot(o) && !regSafe(env, o.reg, c.reg, m)) return false;
    }
  }
  return true;
}

function refsSafe(old: VerifierState, cur: VerifierState): boolean {
  return (
    old.refs.length === cur.refs.length &&
    old.refs.every((o, i) => {
      const c = cur.refs[i]!;
      return o.id === c.id && o.insnIdx === c.insnIdx && o.callbackFrame === c.callbackFrame;
    })
  );
}

/** states_equal */
export function statesEqualLoosely(env: Env, old: VerifierState, cur: VerifierState): boolean {
  if (old.curframe !== cur.curframe || (old.speculative && !cur.speculative)) return false;
  if (old.activeLocks !== cur.activeLocks || old.activeLockId !== cur.activeLockId) return false;
  const m = env.idMap;
  for (let i = 0; i <= old.curframe; i++) {
    const fo = old.frames[i]!;
    const fc = cur.frames[i]!;
    if (fo.callsite !== fc.callsite) return false;
    m.reset(env.idGen);
    for (let r = 0; r < 10; r++) if (regIsRead(fo, r) && !regSafe(env, fo.regs[r]!, fc.regs[r]!, m)) return false;
    if (!stackSafe(env, fo, fc, m)) return false;
  }
  return refsSafe(old, cur);
}
