/** Timers and exchanged kernel pointers: what lies in a map value and outlives the program's run. */
import { ERRNO } from "../../uapi/index.ts";
import { FAULT } from "../fault.ts";
import type { Run } from "../run.ts";
import type { VmTimer } from "../timers.ts";
import { retAddress } from "./region.ts";
import type { HelperTable } from "./table.ts";

const EINVAL = -ERRNO.EINVAL;
/** CLOCK_REALTIME, _MONOTONIC, _BOOTTIME and _TAI minus what hrtimers lack. */
const CLOCKS: readonly number[] = [0, 1, 7];
const ABS = 1;
const CPU_PIN = 2;

const timerAt = (run: Run): VmTimer | undefined => run.vm.timers.get(run.lo(1) >>> 0);

export const TIMER_HELPERS: HelperTable = {
  timer_init: (run) => {
    const at = run.writable(1, 16, "timer");
    const map = run.map(2);
    if (run.hi(3) !== 0 || !CLOCKS.includes(run.lo(3))) return run.ret(EINVAL);
    if (run.vm.timers.get(at) !== undefined) return run.ret(-ERRNO.EBUSY);
    const region = map.regionAt(at);
    if (region === 0) throw run.fault(FAULT.BAD_ARGUMENT, `r1: the timer is not in a value of map ${map.name}`);
    const value = run.memory.regBase[region]!;
    run.vm.timers.add({ at, map, value, callback: undefined, due: undefined });
    return run.ret(0);
  },
  timer_set_callback: (run) => {
    const timer = timerAt(run);
    if (timer === undefined) return run.ret(EINVAL);
    timer.callback = { image: run.image, slot: run.func(2) };
    return run.ret(0);
  },
  timer_start: (run) => {
    const timer = timerAt(run);
    const flags = run.u64(3);
    if ((flags & ~BigInt(ABS | CPU_PIN)) !== 0n || timer?.callback === undefined) return run.ret(EINVAL);
    timer.due = ((flags & BigInt(ABS)) === 0n ? run.vm.world.now : 0n) + run.u64(2);
    return run.ret(0);
  },
  timer_cancel: (run) => {
    const timer = timerAt(run);
    if (timer === undefined) return run.ret(EINVAL);
    const active = timer.due !== undefined;
    timer.due = undefined;
    return run.ret(active ? 1 : 0);
  },
  kptr_xchg: (run) => {
    const at = run.writable(1, 8, "kptr");
    const old = run.memory.view.getUint32(at, true);
    run.memory.view.setBigUint64(at, run.u64(2), true);
    // What goes into the map is given up; what comes out must be given back.
    run.acquired.delete(run.lo(2) >>> 0);
    if (old !== 0) run.acquired.set(old, { what: "the object taken from the map", insn: run.insn });
    return retAddress(run, old);
  },
};
