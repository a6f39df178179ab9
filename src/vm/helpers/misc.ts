/** Helpers on memory, text, time and the current task. */
import { encodeUtf8 } from "../../core/bytes.ts";
import { ERRNO } from "../../uapi/index.ts";
import { FAULT } from "../fault.ts";
import type { Run } from "../run.ts";
import { csumAdd, csumPartial, from32to16 } from "./checksum.ts";
import type { Helper, HelperTable } from "./table.ts";
import { formatText, parseInteger } from "./text.ts";

const EINVAL = -ERRNO.EINVAL;
const EFAULT = -ERRNO.EFAULT;

type Space = "kernel" | "user" | "any";

/** Are `size` bytes at `address` memory of this kind? */
function readableAs(run: Run, address: bigint, size: number, space: Space): boolean {
  if (address > 0x7fff_ffffn || size < 0) return false;
  const at = Number(address);
  const region = run.memory.regionAt(at);
  if (region === 0 || at + size > run.memory.regEnd[region]!) return false;
  const user = run.memory.regionKind(region) === "user";
  return space === "any" || user === (space === "user");
}

function probeRead(space: Space): Helper {
  return (run) => {
    const size = run.lo(2) >>> 0;
    const to = run.writable(1, size, "buffer");
    if (!readableAs(run, run.u64(3), size, space)) {
      run.memory.u8.fill(0, to, to + size);
      return run.ret(EFAULT);
    }
    run.memory.u8.copyWithin(to, run.lo(3), run.lo(3) + size);
    return run.ret(0);
  };
}

/** Length of the string at `address` without its NUL, up to `limit`; -1 when the memory ends before. */
function stringLength(run: Run, address: bigint, limit: number, space: Space): number {
  if (!readableAs(run, address, 1, space)) return -1;
  const at = Number(address);
  const end = run.memory.regEnd[run.memory.regionAt(at)]!;
  for (let i = 0; i < limit; i++) {
    if (at + i >= end) return -1;
    if (run.memory.u8[at + i] === 0) return i;
  }
  return limit;
}

function probeReadStr(space: Space): Helper {
  return (run) => {
    const size = run.lo(2) >>> 0;
    const to = run.writable(1, size, "buffer");
    const { u8 } = run.memory;
    const length = size === 0 ? 0 : stringLength(run, run.u64(3), size - 1, space);
    if (size === 0) return run.ret(0);
    if (length < 0) {
      u8.fill(0, to, to + size);
      return run.ret(EFAULT);
    }
    u8.copyWithin(to, run.lo(3), run.lo(3) + length);
    u8[to + length] = 0;
    return run.ret(length + 1);
  };
}

const latin = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

/** Formats, or gives -errno. */
export function format(run: Run, fmt: Uint8Array, args: readonly bigint[]): string | number {
  const bytes = (address: bigint, size: number): Uint8Array | undefined =>
    readableAs(run, address, size, "any") ? run.memory.bytes(Number(address), size) : undefined;
  const text = (address: bigint, kind: "k" | "u" | "s"): string | undefined => {
    const length = stringLength(run, address, 511, kind === "k" ? "kernel" : kind === "u" ? "user" : "any");
    return length < 0 ? undefined : latin(run.memory.bytes(Number(address), length));
  };
  return formatText(fmt, args, text, bytes);
}

/** u64 arguments at the address in r<n>, `size` bytes. */
export function argArray(run: Run, n: number, size: number): bigint[] | undefined {
  if (size % 8 !== 0 || size > 12 * 8 || (size > 0 && run.isNull(n))) return undefined;
  if (size === 0) return [];
  const at = run.readable(n, size, "arguments");
  return Array.from({ length: size / 8 }, (_, i) => run.memory.view.getBigUint64(at + i * 8, true));
}

function print(run: Run, fmt: Uint8Array, args: readonly bigint[]): void {
  const text = format(run, fmt, args);
  if (typeof text === "number") return run.ret(text);
  const kept = text.slice(0, 1023);
  run.vm.world.printed.push(kept.replace(/\n$/, ""));
  return run.ret(text.length);
}

/** The format at r<n>, which must end within `size` bytes. */
export function formatAt(run: Run, n: number, size: number): Uint8Array | undefined {
  const fmt = run.memory.bytes(run.readable(n, size, "format"), size);
  const nul = fmt.indexOf(0);
  return nul < 0 ? undefined : fmt.subarray(0, nul);
}

const time =
  (of: (run: Run) => bigint): Helper =>
  (run) =>
    run.ret64(of(run));
const recorded =
  (name: string, args: number, result: number): Helper =>
  (run) => {
    run.vm.record(run, name, args);
    run.ret(result);
  };

export const MISC_HELPERS: HelperTable = {
  probe_read: probeRead("any"),
  probe_read_kernel: probeRead("kernel"),
  probe_read_user: probeRead("user"),
  copy_from_user: probeRead("user"),
  probe_read_str: probeReadStr("any"),
  probe_read_kernel_str: probeReadStr("kernel"),
  probe_read_user_str: probeReadStr("user"),

  ktime_get_ns: time((run) => run.vm.world.now),
  ktime_get_boot_ns: time((run) => run.vm.world.now),
  ktime_get_coarse_ns: time((run) => run.vm.world.now),
  ktime_get_tai_ns: time((run) => run.vm.world.now + run.vm.world.bootTime),
  jiffies64: time((run) => run.vm.world.now / 4_000_000n),
  get_prandom_u32: (run) => run.retU32(run.vm.world.random()),
  get_smp_processor_id: (run) => run.retU32(run.vm.world.cpu),
  get_numa_node_id: (run) => run.retU32(0),
  get_current_pid_tgid: time(({ vm }) => (BigInt(vm.world.task.tgid) << 32n) | BigInt(vm.world.task.pid)),
  get_current_uid_gid: time(({ vm }) => (BigInt(vm.world.task.gid) << 32n) | BigInt(vm.world.task.uid)),
  get_current_cgroup_id: time(({ vm }) => vm.world.task.cgroupId),
  get_current_comm: (run) => {
    const size = run.lo(2) >>> 0;
    const to = run.writable(1, size, "buffer");
    const comm = encodeUtf8(run.vm.world.task.comm).subarray(0, Math.max(0, size - 1));
    run.memory.u8.fill(0, to, to + size);
    run.memory.u8.set(comm, to);
    run.ret(0);
  },
  get_attach_cookie: (run) => run.ret64(run.vm.cookie),
  send_signal: recorded("send_signal", 1, 0),
  send_signal_thread: recorded("send_signal_thread", 1, 0),
  override_return: recorded("override_return", 2, 0),

  spin_lock: (run) => {
    const at = run.writable(1, 4, "lock");
    if (run.acquired.has(at)) throw run.fault(FAULT.BAD_ARGUMENT, "the spin lock is held already");
    run.acquired.set(at, { what: "a spin lock", insn: run.insn });
  },
  spin_unlock: (run) => {
    const at = run.writable(1, 4, "lock");
    if (!run.acquired.delete(at)) throw run.fault(FAULT.BAD_ARGUMENT, "the spin lock is not held");
  },

  csum_diff: (run) => {
    const fromSize = run.lo(2) >>> 0;
    const toSize = run.lo(4) >>> 0;
    const { view } = run.memory;
    const seed = run.lo(5) >>> 0;
    const from = fromSize === 0 ? 0 : run.readable(1, fromSize);
    const to = toSize === 0 ? 0 : run.readable(3, toSize);
    if (fromSize > 0 && toSize > 0) {
      const sum = csumAdd(csumPartial(view, to, toSize, seed), ~csumPartial(view, from, fromSize, 0));
      return run.retU32(from32to16(sum));
    }
    if (toSize > 0) return run.retU32(from32to16(csumPartial(view, to, toSize, seed)));
    if (fromSize > 0) return run.retU32(from32to16(~csumPartial(view, from, fromSize, ~seed)));
    return run.retU32(from32to16(seed));
  },
  strtol: (run) => {
    const size = run.lo(2) >>> 0;
    const parsed = parseInteger(run.memory.bytes(run.readable(1, size, "text"), size), run.u64(3));
    const to = run.writable(4, 8, "result");
    run.memory.view.setBigUint64(to, 0n, true);
    if (typeof parsed === "number") return run.ret(parsed);
    const value = parsed.negative ? -parsed.value : parsed.value;
    if (BigInt.asIntN(64, value) !== value) return run.ret(-ERRNO.ERANGE);
    run.memory.view.setBigInt64(to, value, true);
    return run.ret(parsed.consumed);
  },
  strtoul: (run) => {
    const size = run.lo(2) >>> 0;
    const parsed = parseInteger(run.memory.bytes(run.readable(1, size, "text"), size), run.u64(3));
    const to = run.writable(4, 8, "result");
    run.memory.view.setBigUint64(to, 0n, true);
    if (typeof parsed === "number") return run.ret(parsed);
    if (parsed.negative) return run.ret(EINVAL);
    run.memory.view.setBigUint64(to, parsed.value, true);
    return run.ret(parsed.consumed);
  },
  strncmp: (run) => {
    const size = run.lo(2) >>> 0;
    const a = run.readable(1, size, "string");
    const b = run.cstring(3, size);
    const { u8 } = run.memory;
    for (let i = 0; i < size; i++) {
      const x = u8[a + i]!;
      const y = b[i] ?? 0;
      if (x !== y) return run.ret(x < y ? -1 : 1);
      if (x === 0) break;
    }
    return run.ret(0);
  },
  snprintf: (run) => {
    const size = run.lo(2) >>> 0;
    const args = argArray(run, 4, run.lo(5) >>> 0);
    if (args === undefined) return run.ret(EINVAL);
    const to = size === 0 ? 0 : run.writable(1, size, "buffer");
    const text = format(run, run.cstring(3, 4096), args);
    if (typeof text === "number") return run.ret(text);
    for (let i = 0; i < Math.min(text.length, size - 1); i++) run.memory.u8[to + i] = text.charCodeAt(i);
    if (size > 0) run.memory.u8[to + Math.min(text.length, size - 1)] = 0;
    return run.ret(text.length + 1);
  },
  trace_printk: (run) => {
    const fmt = formatAt(run, 1, run.lo(2) >>> 0);
    return fmt === undefined ? run.ret(EINVAL) : print(run, fmt, [run.u64(3), run.u64(4), run.u64(5)]);
  },
  trace_vprintk: (run) => {
    const fmt = formatAt(run, 1, run.lo(2) >>> 0);
    const args = argArray(run, 3, run.lo(4) >>> 0);
    return fmt === undefined || args === undefined ? run.ret(EINVAL) : print(run, fmt, args);
  },
};
