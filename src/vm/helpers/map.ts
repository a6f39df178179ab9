/** Helpers on maps. Results are the kernel's. */
import { ERRNO } from "../../uapi/index.ts";
import { FAULT } from "../fault.ts";
import type { VmMap } from "../maps/map.ts";
import { PerfEventArrayMap, ProgArrayMap, StackTraceMap, StorageMap } from "../maps/objects.ts";
import { RingBufMap } from "../maps/ringbuf.ts";
import type { Run } from "../run.ts";
import type { HelperTable } from "./table.ts";

const EINVAL = -ERRNO.EINVAL;
const MAX_LOOPS = 8 * 1024 * 1024;
const MAX_TAIL_CALLS = 33;
const CURRENT_CPU = -1;

/** Flags in r<n>: all ones when the high half is not 0, which every map refuses. */
const flagsOf = (run: Run, n: number): number => (run.hi(n) === 0 ? run.lo(n) : -1);

function pointerTo(run: Run, map: VmMap, address: number): void {
  run.retPointer(address, address !== 0 && run.checked ? map.regionAt(address) : 0);
}

function expect<T extends VmMap>(run: Run, n: number, type: abstract new (...args: never[]) => T, what: string): T {
  const map = run.map(n);
  if (!(map instanceof type)) {
    throw run.fault(FAULT.BAD_ARGUMENT, `r${n}: expected ${what}, got map ${map.name} of type ${map.typeName}`);
  }
  return map;
}

function recordAt(run: Run, n: number, ring: (m: RingBufMap) => boolean, verb: string): void {
  const address = run.lo(n) >>> 0;
  for (const map of run.vm.mapList) {
    if (map instanceof RingBufMap && ring(map)) {
      run.acquired.delete(address);
      return;
    }
  }
  throw run.fault(FAULT.RELEASED, `r${n}: there is no reserved record at 0x${address.toString(16)} to ${verb}`);
}

export const MAP_HELPERS: HelperTable = {
  map_lookup_elem: (run) => {
    const map = run.map(1);
    pointerTo(run, map, map.lookupAt(run.readable(2, map.spec.keySize, "key")));
  },
  map_update_elem: (run) => {
    const map = run.map(1);
    const key = run.readable(2, map.spec.keySize, "key");
    run.ret(map.updateAt(key, run.readable(3, map.spec.valueSize, "value"), flagsOf(run, 4)));
  },
  map_delete_elem: (run) => {
    const map = run.map(1);
    run.ret(map.deleteAt(run.readable(2, map.spec.keySize, "key")));
  },
  map_push_elem: (run) => {
    const map = run.map(1);
    run.ret(map.pushAt(run.readable(2, map.spec.valueSize, "value"), flagsOf(run, 3)));
  },
  map_pop_elem: (run) => {
    const map = run.map(1);
    run.ret(map.popAt(run.writable(2, map.spec.valueSize, "value")));
  },
  map_peek_elem: (run) => {
    const map = run.map(1);
    run.ret(map.peekAt(run.writable(2, map.spec.valueSize, "value")));
  },
  map_lookup_percpu_elem: (run) => {
    const map = run.map(1);
    pointerTo(run, map, map.lookupPerCpuAt(run.readable(2, map.spec.keySize, "key"), run.lo(3) >>> 0));
  },
  for_each_map_elem: (run) => {
    const map = run.map(1);
    const slot = run.func(2);
    const entries = map.entriesAt();
    if (run.lo(4) !== 0 || run.hi(4) !== 0 || entries === undefined) return run.ret(EINVAL);
    const [lo, hi, region] = [run.lo(3), run.hi(3), run.regions[3]!];
    let seen = 0;
    run.call({
      slot,
      next: (previous) => {
        const entry = previous === undefined || previous === 0 ? entries.next() : undefined;
        if (entry === undefined || entry.done === true) {
          run.ret(seen);
          return false;
        }
        seen++;
        const [key, value] = entry.value;
        run.setReg(1, map.pointer);
        run.setReg(2, key);
        run.setReg(3, value, run.checked ? map.regionAt(value) : 0);
        run.copyReg(4, lo, hi, region);
        run.setReg(5, 0);
        return true;
      },
    });
    return undefined;
  },
  loop: (run) => {
    const times = run.lo(1) >>> 0;
    const slot = run.func(2);
    const [lo, hi, region] = [run.lo(3), run.hi(3), run.regions[3]!];
    if (run.lo(4) !== 0 || run.hi(4) !== 0) return run.ret(EINVAL);
    if (times > MAX_LOOPS) return run.ret(-ERRNO.E2BIG);
    let i = 0;
    run.call({
      slot,
      next: (previous) => {
        if (i === times || (previous !== undefined && previous !== 0)) {
          run.ret(i);
          return false;
        }
        run.setReg(1, i++);
        run.copyReg(2, lo, hi, region);
        for (let n = 3; n <= 5; n++) run.setReg(n, 0);
        return true;
      },
    });
    return undefined;
  },
  tail_call: (run) => {
    const map = expect(run, 2, ProgArrayMap, "a program array");
    const target = map.at(run.lo(3) >>> 0);
    if (target === undefined || run.tailCalls >= MAX_TAIL_CALLS) return;
    run.tailCalls++;
    run.tailTarget = target;
  },

  ringbuf_reserve: (run) => {
    const ring = expect(run, 1, RingBufMap, "a ring buffer");
    const size = run.lo(2) >>> 0;
    const address = run.lo(3) !== 0 || run.hi(3) !== 0 || run.hi(2) !== 0 ? 0 : ring.reserve(size);
    if (address !== 0) run.acquired.set(address, { what: `a record of ring buffer ${ring.name}`, insn: run.insn });
    run.retPointer(address, address === 0 ? 0 : ring.recordRegion(address));
  },
  ringbuf_submit: (run) => recordAt(run, 1, (m) => m.commit(run.lo(1) >>> 0, false), "submit"),
  ringbuf_discard: (run) => recordAt(run, 1, (m) => m.commit(run.lo(1) >>> 0, true), "discard"),
  ringbuf_output: (run) => {
    const ring = expect(run, 1, RingBufMap, "a ring buffer");
    const size = run.lo(3) >>> 0;
    run.ret(ring.output(run.readable(2, size, "data"), size, flagsOf(run, 4)));
  },
  ringbuf_query: (run) => {
    run.ret64(BigInt(expect(run, 1, RingBufMap, "a ring buffer").query(flagsOf(run, 2))));
  },
  perf_event_output: (run) => {
    const map = expect(run, 2, PerfEventArrayMap, "a perf event array");
    const size = run.lo(5) >>> 0;
    const data = run.readable(4, size, "data");
    // The high half asks for bytes of the packet behind the data: only skb and xdp contexts have some.
    const extra = run.hi(3);
    const { packet } = run;
    if (extra !== 0 && (packet === undefined || (extra & ~0xf_ffff) !== 0)) return run.ret(EINVAL);
    if (packet !== undefined && extra > packet.end - packet.data) return run.ret(-ERRNO.EFAULT);
    const sample = new Uint8Array(size + extra);
    sample.set(run.memory.bytes(data, size));
    if (packet !== undefined) sample.set(run.memory.bytes(packet.data, extra), size);
    const index = run.lo(3);
    return run.ret(map.output(index === CURRENT_CPU ? -1 : index, sample));
  },
  get_stackid: (run) => {
    const map = expect(run, 2, StackTraceMap, "a stack trace map");
    const flags = flagsOf(run, 3);
    if ((flags & ~0x7ff) !== 0) return run.ret(EINVAL);
    const { task } = run.vm.world;
    return run.ret(map.stackId((flags & 0x100) === 0 ? task.kernelStack : task.userStack, flags));
  },
  get_stack: (run) => {
    const size = run.lo(3) >>> 0;
    const to = run.writable(2, size, "buffer");
    const flags = flagsOf(run, 4);
    if ((flags & ~0x9ff) !== 0 || size % 8 !== 0) return run.ret(EINVAL);
    const { task } = run.vm.world;
    const stack = ((flags & 0x100) === 0 ? task.kernelStack : task.userStack).slice(
      flags & 0xff,
      (flags & 0xff) + size / 8,
    );
    run.memory.u8.fill(0, to, to + size);
    stack.forEach((ip, i) => run.memory.view.setBigUint64(to + i * 8, BigInt.asUintN(64, ip), true));
    return run.ret(stack.length === 0 ? -ERRNO.EFAULT : stack.length * 8);
  },
  task_storage_get: storageGet,
  sk_storage_get: storageGet,
  inode_storage_get: storageGet,
  cgrp_storage_get: storageGet,
  task_storage_delete: storageDelete,
  sk_storage_delete: storageDelete,
  inode_storage_delete: storageDelete,
  cgrp_storage_delete: storageDelete,
};

/** The object's address is the key; the value starts as given, or zero. */
function storageGet(run: Run): void {
  const map = expect(run, 1, StorageMap, "a local storage");
  const flags = flagsOf(run, 4);
  if ((flags & ~1) !== 0 || run.isNull(2)) return run.retU32(0);
  const key = keyOf(run, 2);
  let at = map.lookupAt(key);
  if (at === 0 && flags === 1) {
    const initial = run.isNull(3)
      ? run.vm.zeros(map.spec.valueSize)
      : run.readable(3, map.spec.valueSize, "initial value");
    if (map.updateAt(key, initial, 0) !== 0) return run.retU32(0);
    at = map.lookupAt(key);
  }
  return pointerTo(run, map, at);
}
function storageDelete(run: Run): void {
  const map = expect(run, 1, StorageMap, "a local storage");
  run.ret(run.isNull(2) ? EINVAL : map.deleteAt(keyOf(run, 2)));
}
function keyOf(run: Run, n: number): number {
  const key = run.vm.keyBuffer;
  run.memory.view.setBigUint64(key, run.u64(n), true);
  return key;
}
