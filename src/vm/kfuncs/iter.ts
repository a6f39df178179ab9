/** Open-coded iterators over numbers and bits. */
import { ERRNO } from "../../uapi/index.ts";
import type { Helper } from "../helpers/table.ts";
import { retAddress } from "../helpers/region.ts";

const MAX_LOOPS = 8 * 1024 * 1024;
/** Words that bpf_iter_bits takes. */
const MAX_WORDS = 511;

export const ITER_KFUNCS: Readonly<Record<string, Helper>> = {
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
    return retAddress(run, it);
  },
  bpf_iter_num_destroy: (run) => {
    const it = run.writable(1, 8, "iterator");
    run.memory.view.setBigInt64(it, 0n, true);
    run.acquired.delete(it);
  },

  // Its 16 bytes: where a copy of the bits lies, how many there are, the bit it is at.
  bpf_iter_bits_new: (run) => {
    const it = run.writable(1, 16, "iterator");
    const words = run.lo(3) >>> 0;
    const { view, u8 } = run.memory;
    const from = run.lo(2) >>> 0;
    run.acquired.set(it, { what: "the iterator", insn: run.insn });
    view.setBigInt64(it, 0n, true);
    view.setInt32(it + 8, 0, true);
    view.setInt32(it + 12, -1, true);
    if (words === 0 || (from === 0 && run.hi(2) === 0)) return run.ret(-ERRNO.EINVAL);
    if (words > MAX_WORDS) return run.ret(-ERRNO.E2BIG);
    const region = run.hi(2) === 0 ? run.memory.regionAt(from) : 0;
    if (region === 0 || from + words * 8 > run.memory.regEnd[region]!) return run.ret(-ERRNO.EFAULT);
    const copy = run.memory.alloc(words * 8, "mem", "the bits of an iterator", 0);
    u8.copyWithin(copy.base, from, from + words * 8);
    run.vm.iterators.set(it, copy);
    view.setUint32(it, copy.base, true);
    view.setInt32(it + 8, words * 64, true);
    return run.ret(0);
  },
  bpf_iter_bits_next: (run) => {
    const it = run.writable(1, 16, "iterator");
    const { view, u8 } = run.memory;
    const base = view.getUint32(it, true);
    const count = view.getInt32(it + 8, true);
    let bit = view.getInt32(it + 12, true) + 1;
    while (bit < count && ((u8[base + (bit >> 3)]! >> (bit & 7)) & 1) === 0) bit++;
    if (bit >= count) {
      view.setInt32(it + 8, 0, true);
      return run.retPointer(0, 0);
    }
    view.setInt32(it + 12, bit, true);
    return retAddress(run, it + 12);
  },
  bpf_iter_bits_destroy: (run) => {
    const it = run.writable(1, 16, "iterator");
    run.acquired.delete(it);
    const copy = run.vm.iterators.get(it);
    if (copy === undefined) return;
    run.vm.iterators.delete(it);
    run.memory.release(copy);
  },
};
