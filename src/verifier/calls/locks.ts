/** Spin locks, and the timers, work queues and task works in map values. */
import * as c from "../constants.ts";
import { type Env, reject, verifierBug } from "../env.ts";
import { dec64 } from "../log-num.ts";
import * as f from "../map.ts";
import { fieldTypeName } from "../map-fields.ts";
import { acquireLock, findLock, invalidateNonOwningRefs, releaseLock } from "../refs.ts";
import { regBtfRecord } from "./kptr.ts";

export const PROCESS_SPIN_LOCK = 1;
export const PROCESS_RES_LOCK = 2;
export const PROCESS_LOCK_IRQ = 4;

const offText = (off: number): string => dec64(off | 0, (off | 0) >> 31);

/** Gives back the one lock that a state could hold before 6.14. */
function unlockOnly(env: Env, id: number, ptr: unknown, name: string): void {
  const st = env.state;
  if (ptr !== st.activeLockPtr || id !== st.activeLockId) reject(env, c.EINVAL, `${name}_unlock of different lock\n`);
  invalidateNonOwningRefs(env);
  st.activeLocks = 0;
  st.activeLockId = 0;
  st.activeLockPtr = null;
}

/** process_spin_lock: takes or gives back the lock that `regno` points to. */
export function processSpinLock(env: Env, regno: number, flags: number): void {
  const r = env.regs[regno]!;
  const st = env.state;
  const isRes = (flags & PROCESS_RES_LOCK) !== 0;
  const name = isRes ? "bpf_res_spin" : "bpf_spin";
  if (!r.isConst())
    reject(env, c.EINVAL, `R${regno} doesn't have constant offset. ${name}_lock has to be at the constant offset\n`);
  const map = r.type === c.PTR_TO_MAP_VALUE ? r.map! : null;
  if (map !== null && map.btf === null)
    reject(env, c.EINVAL, `map '${map.name}' has to have BTF in order to use ${name}_lock\n`);
  const rec = regBtfRecord(env, r);
  if (!f.recordHas(rec, isRes ? f.BPF_RES_SPIN_LOCK : f.BPF_SPIN_LOCK)) {
    reject(
      env,
      c.EINVAL,
      `${map !== null ? "map" : "local"} '${map !== null ? map.name : "kptr"}' has no valid ${name}_lock\n`,
    );
  }
  const lockOff = isRes ? rec!.resSpinLockOff : rec!.spinLockOff;
  const off = r.valLo + r.off;
  if (off !== lockOff)
    reject(env, c.EINVAL, `off ${offText(off)} doesn't point to 'struct ${name}_lock' that is at ${lockOff}\n`);
  const ptr: unknown = map ?? r.btf;
  const type = isRes
    ? (flags & PROCESS_LOCK_IRQ) !== 0
      ? c.REF_TYPE_RES_LOCK_IRQ
      : c.REF_TYPE_RES_LOCK
    : c.REF_TYPE_LOCK;
  if ((flags & PROCESS_SPIN_LOCK) !== 0) {
    if (st.activeLocks !== 0) {
      if (!isRes) {
        if (!env.has.lockReferences || findLock(st, c.REF_TYPE_LOCK, 0, null) !== null)
          reject(env, c.EINVAL, "Locking two bpf_spin_locks are not allowed\n");
      } else if (findLock(st, c.REF_TYPE_RES_LOCK | c.REF_TYPE_RES_LOCK_IRQ, r.id, ptr) !== null) {
        reject(env, c.EINVAL, "Acquiring the same lock again, AA deadlock detected\n");
      }
    }
    acquireLock(env, env.insnIdx, type, r.id, ptr);
    return;
  }
  if (st.activeLocks === 0) reject(env, c.EINVAL, `${name}_unlock without taking a lock\n`);
  if (!env.has.lockReferences) {
    unlockOnly(env, r.id, ptr, name);
    return;
  }
  if (findLock(st, type, r.id, ptr) === null) reject(env, c.EINVAL, `${name}_unlock of different lock\n`);
  if (r.id !== st.activeLockId || ptr !== st.activeLockPtr)
    reject(env, c.EINVAL, `${name}_unlock cannot be out of order\n`);
  if (!releaseLock(st, type, r.id, ptr)) reject(env, c.EINVAL, `${name}_unlock of different lock\n`);
  invalidateNonOwningRefs(env);
}

/** The map whose value a field argument points into. */
export interface MapDesc {
  map: f.VMap | null;
  mapUid: number;
}

/** check_map_field_pointer: a pointer to exactly the timer, work queue or task work of a map value. */
export function checkMapFieldPointer(env: Env, regno: number, type: number, desc: MapDesc): void {
  const r = env.regs[regno]!;
  const map = r.map!;
  const name = fieldTypeName(type);
  if (!r.isConst())
    reject(env, c.EINVAL, `R${regno} doesn't have constant offset. ${name} has to be at the constant offset\n`);
  if (map.btf === null) reject(env, c.EINVAL, `map '${map.name}' has to have BTF in order to use ${name}\n`);
  const rec = map.record;
  if (rec === null || !f.recordHas(rec, type)) return reject(env, c.EINVAL, `map '${map.name}' has no valid ${name}\n`);
  const fieldOff = type === f.BPF_TIMER ? rec.timerOff : type === f.BPF_TASK_WORK ? rec.taskWorkOff : rec.wqOff;
  const off = r.valLo + r.off;
  if (off !== fieldOff)
    reject(env, c.EINVAL, `off ${offText(off)} doesn't point to 'struct ${name}' that is at ${fieldOff}\n`);
  if (desc.map !== null) verifierBug(env, `Two map pointers in a ${name} helper`);
  desc.map = map;
  desc.mapUid = r.mapUid;
}
