/** Ids of maps and programs, for rivals in other processes that open them by id. */
import { bpf } from "../src/syscall/attr.ts";
import { check } from "../src/syscall/errors.ts";
import type { Kernel } from "../src/syscall/kernel.ts";

/** `id` of the map or program behind `fd` (bpf_map_info and bpf_prog_info both have it at byte 4). */
export function idOf(kernel: Kernel, fd: number, what: string): number {
  const info = new Uint8Array(64);
  check(
    kernel,
    bpf(kernel, "OBJ_GET_INFO_BY_FD", { bpf_fd: fd, info_len: info.length, info }),
    `BPF_OBJ_GET_INFO_BY_FD of ${what}`,
  );
  return new DataView(info.buffer).getUint32(4, true);
}
