/** Helpers about the whole system: types and symbols by name, sysctls, what this world does not have. */
import { KIND_NAMES } from "../../btf/kinds.ts";
import type { BtfKindName } from "../../btf/kinds.ts";
import { decodeCString, encodeUtf8 } from "../../core/bytes.ts";
import { ERRNO } from "../../uapi/errno.ts";
import { FAULT } from "../../vm/fault.ts";
import type { Run } from "../../vm/run.ts";
import type { Mock } from "../../vm/vm.ts";
import type { KernelWorld, SysctlSpec } from "./world.ts";

/** BPF_F_SYSCTL_BASE_NAME: only what follows the last slash. */
const BASE_NAME = 1n;
const PAGE = 4096;
const uint = (value: bigint | undefined): number => Number(BigInt.asUintN(32, value ?? 0n));

/** Text into the buffer of r<n>, cut off as the kernel does: its length, or -E2BIG with what fits. */
function putText(run: Run, n: number, size: number, text: string): number {
  const to = run.writable(n, size, "buffer");
  run.memory.u8.fill(0, to, to + size);
  if (size === 0) return -ERRNO.E2BIG;
  const bytes = encodeUtf8(text);
  if (bytes.length === 0) return -ERRNO.EINVAL;
  run.memory.u8.set(bytes.subarray(0, size - 1), to);
  return bytes.length < size ? bytes.length : -ERRNO.E2BIG;
}

/** @see worldHelpers */
export function systemHelpers(world: () => KernelWorld): Readonly<Record<string, Mock>> {
  const sysctl = (run: Run): SysctlSpec => {
    const found = world().sysctl;
    if (found !== undefined) return found;
    throw run.fault(FAULT.NOT_MODELLED, "nothing is known of the sysctl that is read or written", {
      help: "say it before the run: sim.sysctl = { name, current, next }",
    });
  };
  return {
    btf_find_by_name_kind: ([, size, kind, flags], run) => {
      const length = uint(size);
      const name = run.memory.copy(run.readable(1, length, "name"), length);
      if (flags !== 0n || length <= 1 || name[length - 1] !== 0) return -ERRNO.EINVAL;
      const kindName = KIND_NAMES[uint(kind)] as BtfKindName | undefined;
      const id = kindName === undefined ? 0 : world().objects.btf.findId(decodeCString(name), kindName);
      return id === 0 ? -ERRNO.ENOENT : id;
    },
    kallsyms_lookup_name: ([, size, flags], run) => {
      const length = uint(size);
      const name = run.memory.copy(run.readable(1, length, "name"), length);
      const to = run.writable(4, 8, "address");
      run.memory.view.setBigUint64(to, 0n, true);
      if (flags !== 0n || length <= 1 || name[length - 1] !== 0) return -ERRNO.EINVAL;
      const address = world().symbols.get(decodeCString(name));
      if (address === undefined) return -ERRNO.ENOENT;
      run.memory.view.setBigUint64(to, address, true);
      return 0;
    },
    sysctl_get_name: ([, , size, flags], run) => {
      const { name } = sysctl(run);
      const text = flags === BASE_NAME ? name.slice(name.lastIndexOf("/") + 1) : name;
      return putText(run, 2, uint(size), text);
    },
    sysctl_get_current_value: ([, , size], run) => putText(run, 2, uint(size), sysctl(run).current),
    sysctl_get_new_value: ([, , size], run) => {
      const { next } = sysctl(run);
      return putText(run, 2, uint(size), next ?? "");
    },
    sysctl_set_new_value: ([, , size], run) => {
      const of = sysctl(run);
      const length = uint(size);
      const from = run.readable(2, length, "value");
      if (of.next === undefined || length === 0) return -ERRNO.EINVAL;
      if (length >= PAGE) return -ERRNO.E2BIG;
      world().sysctl = { ...of, next: decodeCString(run.memory.copy(from, length)) };
      return 0;
    },
    // No file of a world is a socket, nothing is measured, and no branches are recorded.
    sock_from_file: () => 0n,
    ima_inode_hash: () => -ERRNO.EOPNOTSUPP,
    ima_file_hash: () => -ERRNO.EOPNOTSUPP,
    read_branch_records: () => -ERRNO.ENOENT,
    get_branch_snapshot: () => -ERRNO.ENOENT,
  };
}
