/** Kernel functions that are modelled; the rest wants a mock. */
import { ERRNO } from "../../uapi/index.ts";
import { FAULT } from "../fault.ts";
import { DYNPTR_KFUNCS } from "../helpers/dynptr.ts";
import { retAddress } from "../helpers/region.ts";
import type { Helper } from "../helpers/table.ts";
import { ArenaMap } from "../maps/arena.ts";
import { Thrown } from "../thrown.ts";
import { CPUMASK_KFUNCS } from "./cpumask.ts";
import { ITER_KFUNCS } from "./iter.ts";
import { OBJECT_KFUNCS } from "./objects.ts";
import { STRING_KFUNCS } from "./strings.ts";

const nothing: Helper = (run) => run.ret(0);
const sameAddress: Helper = (run) => retAddress(run, run.lo(1) >>> 0);

/** Locks that are free unless this run holds them. */
const resLock =
  (take: boolean): Helper =>
  (run) => {
    const at = run.writable(1, 4, "lock");
    if (take && run.acquired.has(at)) return run.ret(-ERRNO.EDEADLK);
    if (take) run.acquired.set(at, { what: "a resilient spin lock", insn: run.insn });
    else if (!run.acquired.delete(at)) throw run.fault(FAULT.BAD_ARGUMENT, "the lock is not held");
    return run.ret(0);
  };

export const KFUNCS: Readonly<Record<string, Helper>> = {
  bpf_rcu_read_lock: nothing,
  bpf_rcu_read_unlock: nothing,
  bpf_preempt_disable: nothing,
  bpf_preempt_enable: nothing,
  bpf_local_irq_save: (run) => run.memory.view.setBigUint64(run.writable(1, 8, "flags"), 0n, true),
  bpf_local_irq_restore: nothing,
  bpf_res_spin_lock: resLock(true),
  bpf_res_spin_unlock: resLock(false),
  bpf_rdonly_cast: sameAddress,
  bpf_throw: (run) => {
    throw new Thrown(run.u64(1));
  },
  bpf_arena_alloc_pages: (run) => {
    const map = run.map(1);
    const pages = map instanceof ArenaMap && run.u64(5) === 0n ? map.allocate(run.lo(2) >>> 0, run.lo(3) >>> 0) : 0;
    retAddress(run, pages);
  },
  bpf_arena_free_pages: (run) => {
    const map = run.map(1);
    if (map instanceof ArenaMap) map.free(run.lo(2) >>> 0, run.lo(3) >>> 0);
  },
  ...ITER_KFUNCS,
  ...DYNPTR_KFUNCS,
  ...OBJECT_KFUNCS,
  ...STRING_KFUNCS,
  ...CPUMASK_KFUNCS,
};
