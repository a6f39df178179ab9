/** Kernel functions that are modelled; the rest wants a mock. */
import { ERRNO } from "../uapi/index.ts";
import type { Helper } from "./helpers/index.ts";

const MAX_LOOPS = 8 * 1024 * 1024;
const nothing: Helper = (run) => run.ret(0);

export const KFUNCS: Readonly<Record<string, Helper>> = {
  bpf_rcu_read_lock: nothing,
  bpf_rcu_read_unlock: nothing,
  bpf_preempt_disable: nothing,
  bpf_preempt_enable: nothing,
  bpf_iter_num_new: (run) => {
    const it = run.writable(1, 8, "iterator");
    const start = run.lo(2);
    const end = run.lo(3);
    const { view } = run.memory;
    const error = start > end ? -ERRNO.EINVAL : end - start > MAX_LOOPS ? -ERRNO.E2BIG : 0;
    view.setInt32(it, error === 0 ? start - 1 : 0, true);
    view.setInt32(it + 4, error === 0 ? end : 0, true);
    run.acquired.set(it, { what: "the iterator", insn: run.insn });
    run.ret(error);
  },
  bpf_iter_num_next: (run) => {
    const it = run.writable(1, 8, "iterator");
    const { view } = run.memory;
    const next = (view.getInt32(it, true) + 1) | 0;
    if (next >= view.getInt32(it + 4, true)) {
      view.setBigInt64(it, 0n, true);
      return run.retU32(0);
    }
    view.setInt32(it, next, true);
    return run.retPointer(it, run.checked ? run.memory.regionAt(it) : 0);
  },
  bpf_iter_num_destroy: (run) => {
    const it = run.writable(1, 8, "iterator");
    run.memory.view.setBigInt64(it, 0n, true);
    run.acquired.delete(it);
  },
};
