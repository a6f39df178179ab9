/**
 * The kernel as this package sees it. `realKernel()` calls it, `FakeKernel` plays
 * it from memory, so that everything above runs in tests without root.
 *
 * Results follow the kernel's own convention: ≥ 0 is the result, < 0 is -errno.
 * Nothing here throws for an errno: expected ones (a missing key, an old kernel)
 * are ordinary values. `check()` turns the others into explained errors.
 */
import type { PollHandle } from "./ffi.ts";

export type { PollHandle };

export interface Kernel {
  /** `uname -r`, such as "6.18.44". */
  readonly release: string;
  readonly pageSize: number;

  /**
   * bpf(2). `attr` is the encoded `union bpf_attr` of the command, `size` how much of
   * it the kernel is told about (the whole by default). Results are written into `attr`.
   */
  bpf(cmd: number, attr: Uint8Array, size?: number): number;
  /** The same for an attr whose address is known: the hot path of map access. */
  bpfAt(cmd: number, attrAddress: number, size: number): number;
  /** perf_event_open(2); `attr` is an encoded `struct perf_event_attr`. */
  perfEventOpen(attr: Uint8Array, pid: number, cpu: number, groupFd: number, flags: number): number;
  /** ioctl(2) with a number or a pointer as its argument. */
  ioctl(fd: number, request: number, arg: number | Uint8Array): number;
  /** mmap(2): the address, or -errno. `at` is where to put it (with MAP_FIXED), anywhere by default. */
  mmap(length: number, prot: number, flags: number, fd: number, offset: number, at?: number): number;
  munmap(address: number, length: number): number;
  /** close(2). */
  close(fd: number): number;
  /** A duplicate of `fd` with close-on-exec set. */
  dup(fd: number): number;
  /** open(2) with O_CLOEXEC added. */
  open(path: string, flags: number): number;
  read(fd: number, into: Uint8Array): number;
  /** The whole file, or -errno. */
  readFile(path: string): Uint8Array | number;
  /** Size of a file in bytes, or -errno. */
  fileSize(path: string): number;
  /** Names in a directory, or -errno. */
  readDir(path: string): readonly string[] | number;
  /** prlimit(2) of RLIMIT_MEMLOCK for this process, soft and hard, to `bytes` (Infinity: unlimited). */
  setMemlock(bytes: number): number;
  /**
   * A new instance of the file system `type` that is mounted nowhere (fsopen, fsmount):
   * a directory fd, reached as `/proc/self/fd/N/…`. Linux 5.2.
   */
  detachedMount(type: string): number;
  /** poll(2) for input: how many of `fds` are readable; blocks up to `timeoutMs` (-1: for ever). */
  pollOnce(fds: readonly number[], timeoutMs: number): number;
  /** Calls back on the event loop whenever `fd` is readable, until closed. */
  watch(fd: number, callback: () => void): PollHandle;

  /** Address of the first byte; stable as long as `bytes` is referenced. */
  address(bytes: Uint8Array): number;
  /** The memory at `address` without a copy. Only owners of a mapping may call it. */
  view(address: number, length: number): ArrayBuffer;
}
