/** Helpers of tracing programs: arguments of the traced function, iterator output, user ring buffers, local storage. */
import { BPF_PROG_TYPE, ERRNO } from "../../uapi/index.ts";
import { FAULT } from "../fault.ts";
import { CgroupStorageMap } from "../maps/cgroup.ts";
import { UserRingBufMap } from "../maps/user-ringbuf.ts";
import type { Run } from "../run.ts";
import { argArray, format, formatAt } from "./misc.ts";
import { DYNPTR, clearDynptr, setDynptr } from "./dynptr.ts";
import { retAddress } from "./region.ts";
import type { HelperTable } from "./table.ts";

const EINVAL = -ERRNO.EINVAL;
/** BPF_RB_NO_WAKEUP and BPF_RB_FORCE_WAKEUP. */
const WAKEUP_FLAGS = 3n;
/** Samples that one call drains. */
const MAX_SAMPLES = 128 * 1024;
/** bpf_seq_write's buffer of one `show` call. */
const SEQ_LIMIT = 64 * 1024;

/** Number of arguments: the context of fentry and the like has 8 bytes for each, and for the result of fexit. */
function argument(run: Run, index: number): void {
  const to = run.writable(index === -1 ? 2 : 3, 8, "value");
  const { view } = run.memory;
  const region = run.ctxRegion;
  const words = (run.memory.regEnd[region]! - run.memory.regBase[region]!) / 8;
  const count = run.vm.funcArgs ?? words;
  const at = index === -1 ? count : index;
  if (at >= (index === -1 ? words : count)) return run.ret(index === -1 ? -ERRNO.EOPNOTSUPP : EINVAL);
  view.setBigUint64(to, view.getBigUint64(run.ctx + at * 8, true), true);
  return run.ret(0);
}

function seqWrite(run: Run, bytes: Uint8Array): void {
  const { world } = run.vm;
  if (world.seq.length + bytes.length > SEQ_LIMIT) return run.ret(-ERRNO.EOVERFLOW);
  for (const byte of bytes) world.seq.push(byte);
  return run.ret(0);
}

export const TRACING_HELPERS: HelperTable = {
  get_func_arg: (run) => argument(run, run.hi(2) === 0 ? run.lo(2) >>> 0 : 0xffff),
  get_func_ret: (run) => argument(run, -1),
  get_func_arg_cnt: (run) => {
    const { regBase, regEnd } = run.memory;
    run.retU32(run.vm.funcArgs ?? (regEnd[run.ctxRegion]! - regBase[run.ctxRegion]!) / 8);
  },
  get_func_ip: (run) => run.ret64(run.vm.funcIp),
  get_retval: (run) => run.ret(run.retval),
  set_retval: (run) => {
    run.retval = run.lo(2);
    if (run.image.spec.type !== BPF_PROG_TYPE.CGROUP_SOCKOPT) run.retval = run.lo(1);
    run.vm.record(run, "set_retval", 1);
    run.ret(0);
  },
  probe_write_user: (run) => {
    const size = run.lo(3) >>> 0;
    const from = run.readable(2, size, "source");
    const to = run.lo(1) >>> 0;
    const region = run.hi(1) === 0 ? run.memory.regionAt(to) : 0;
    if (region === 0 || run.memory.regionKind(region) !== "user" || to + size > run.memory.regEnd[region]!)
      return run.ret(-ERRNO.EPERM);
    run.memory.u8.copyWithin(to, from, from + size);
    return run.ret(0);
  },
  seq_write: (run) => {
    const size = run.lo(3) >>> 0;
    seqWrite(run, run.memory.copy(run.readable(2, size, "data"), size));
  },
  seq_printf: (run) => {
    const fmt = formatAt(run, 2, run.lo(3) >>> 0);
    const args = argArray(run, 4, run.lo(5) >>> 0);
    if (fmt === undefined || args === undefined) return run.ret(EINVAL);
    const text = format(run, fmt, args);
    if (typeof text === "number") return run.ret(text);
    return seqWrite(
      run,
      Uint8Array.from(text, (c) => c.charCodeAt(0)),
    );
  },
  get_local_storage: (run) => {
    const map = run.map(1);
    if (!(map instanceof CgroupStorageMap)) {
      throw run.fault(FAULT.BAD_ARGUMENT, `r1: expected a cgroup storage, got map ${map.name} of type ${map.typeName}`);
    }
    retAddress(run, map.current());
  },
  user_ringbuf_drain: (run) => {
    const map = run.map(1);
    const slot = run.func(2);
    if (!(map instanceof UserRingBufMap)) {
      throw run.fault(
        FAULT.BAD_ARGUMENT,
        `r1: expected a user ring buffer, got map ${map.name} of type ${map.typeName}`,
      );
    }
    if ((run.u64(4) & ~WAKEUP_FLAGS) !== 0n) return run.ret(EINVAL);
    if (map.busy) return run.ret(-ERRNO.EBUSY);
    const [lo, hi, region] = [run.lo(3), run.hi(3), run.regions[3]!];
    const pointer = run.memory.alloc(16, "mem", "the sample's dynptr");
    map.busy = true;
    let seen = 0;
    run.call({
      slot,
      next: (previous) => {
        const sample = (previous === undefined || previous === 0) && seen < MAX_SAMPLES ? map.take() : undefined;
        if (sample === undefined) {
          map.busy = false;
          clearDynptr(run, pointer.base);
          run.memory.release(pointer);
          run.ret(seen);
          return false;
        }
        seen++;
        setDynptr(run, pointer.base, sample.address, sample.size, DYNPTR.LOCAL);
        run.setReg(1, pointer.base, pointer.region);
        run.copyReg(2, lo, hi, region);
        for (let n = 3; n <= 5; n++) run.setReg(n, 0);
        return true;
      },
    });
    return undefined;
  },
};
