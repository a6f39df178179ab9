/** The running kernel, through libc. */
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { hostEndian } from "../core/bytes.ts";
import { NotSupportedError } from "../core/errors.ts";
import { ERRNO } from "../uapi/errno.ts";
import { type SyscallName, syscallNumber } from "../uapi/syscalls.ts";
import { type Ffi, type PollHandle, ffi } from "./ffi.ts";
import type { Kernel } from "./kernel.ts";

/** `fcntl(F_DUPFD_CLOEXEC)`. */
const F_DUPFD_CLOEXEC = 1030;
const O_CLOEXEC = 0o2000000;
const AT_FDCWD = -100;
const RLIMIT_MEMLOCK = 8;
const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
/** `enum fsconfig_command`: create the superblock. */
const FSCONFIG_CMD_CREATE = 6;
const POLLIN = 1;
const EPOLL_CLOEXEC = O_CLOEXEC;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;
/** `struct epoll_event` is packed on x86-64 only. */
const EPOLL_EVENT_SIZE = process.arch === "x64" ? 12 : 16;
const EFD_CLOEXEC = O_CLOEXEC;
const AT_PAGESZ = 6;

const LITTLE = hostEndian === "little";

let shared: Kernel | undefined;

/**
 * The kernel this process runs on. Nothing native is loaded before the first call
 * of one of its methods.
 *
 * @example
 * const kernel = realKernel();
 * console.log(kernel.release, kernel.pageSize);
 */
export function realKernel(): Kernel {
  return (shared ??= new RealKernel());
}

class RealKernel implements Kernel {
  readonly release = kernelRelease();
  #pageSize = 0;
  #lib: Ffi | undefined;
  #bpfNr = 0;
  /** Byte arrays whose bare address is in a running call: referenced here, so that no collection frees them meanwhile. */
  readonly #call: { kept: unknown } = { kept: undefined };

  get #ffi(): Ffi {
    if (this.#lib === undefined) {
      this.#lib = ffi();
      this.#bpfNr = nr("bpf");
    }
    return this.#lib;
  }

  get pageSize(): number {
    return (this.#pageSize ||= process.arch === "x64" ? 4096 : pageSizeFromAuxv());
  }

  bpf(cmd: number, attr: Uint8Array, size = attr.length): number {
    const lib = this.#ffi;
    return lib.syscall3b(this.#bpfNr, cmd, attr, size);
  }

  bpfAt(cmd: number, attrAddress: number, size: number): number {
    const lib = this.#ffi;
    return lib.syscall3(this.#bpfNr, cmd, attrAddress, size);
  }

  perfEventOpen(attr: Uint8Array, pid: number, cpu: number, groupFd: number, flags: number): number {
    const lib = this.#ffi;
    this.#call.kept = attr;
    return lib.syscall6(nr("perf_event_open"), lib.address(attr), pid, cpu, groupFd, flags, 0);
  }

  ioctl(fd: number, request: number, arg: number | Uint8Array): number {
    const lib = this.#ffi;
    this.#call.kept = arg;
    return typeof arg === "number"
      ? lib.syscall3(nr("ioctl"), fd, request, arg)
      : lib.syscall3(nr("ioctl"), fd, request, lib.address(arg));
  }

  mmap(length: number, prot: number, flags: number, fd: number, offset: number, at = 0): number {
    return this.#ffi.syscall6(nr("mmap"), at, length, prot, flags, fd, offset);
  }
  munmap(address: number, length: number): number {
    return this.#ffi.syscall3(nr("munmap"), address, length, 0);
  }
  close(fd: number): number {
    return this.#ffi.syscall3(nr("close"), fd, 0, 0);
  }
  dup(fd: number): number {
    return this.#ffi.syscall3(nr("fcntl"), fd, F_DUPFD_CLOEXEC, 3);
  }
  open(path: string, flags: number): number {
    const lib = this.#ffi;
    const name = cstring(path);
    this.#call.kept = name;
    return lib.syscall6(nr("openat"), AT_FDCWD, lib.address(name), flags | O_CLOEXEC, 0, 0, 0);
  }
  read(fd: number, into: Uint8Array): number {
    return this.#ffi.syscall3b(nr("read"), fd, into, into.length);
  }

  readFile(path: string): Uint8Array | number {
    try {
      return readFileSync(path);
    } catch (error) {
      return negativeErrno(error);
    }
  }
  fileSize(path: string): number {
    try {
      return statSync(path).size;
    } catch (error) {
      return negativeErrno(error);
    }
  }
  readDir(path: string): readonly string[] | number {
    // An exception takes Node 0.1 ms, cold.
    if (!existsSync(path)) return -ERRNO.ENOENT;
    try {
      return readdirSync(path);
    } catch (error) {
      return negativeErrno(error);
    }
  }

  setMemlock(bytes: number): number {
    const lib = this.#ffi;
    const value = Number.isFinite(bytes) ? BigInt(Math.trunc(bytes)) : 0xffff_ffff_ffff_ffffn;
    const limit = new Uint8Array(new BigUint64Array([value, value]).buffer);
    this.#call.kept = limit;
    return lib.syscall6(nr("prlimit64"), 0, RLIMIT_MEMLOCK, lib.address(limit), 0, 0, 0);
  }

  detachedMount(type: string): number {
    const lib = this.#ffi;
    const name = cstring(type);
    this.#call.kept = name;
    const fs = lib.syscall3(nr("fsopen"), lib.address(name), FSOPEN_CLOEXEC, 0);
    if (fs < 0) return fs;
    try {
      const created = lib.syscall6(nr("fsconfig"), fs, FSCONFIG_CMD_CREATE, 0, 0, 0, 0);
      return created < 0 ? created : lib.syscall3(nr("fsmount"), fs, FSMOUNT_CLOEXEC, 0);
    } finally {
      this.close(fs);
    }
  }

  pollOnce(fds: readonly number[], timeoutMs: number): number {
    const lib = this.#ffi;
    const pollfds = new Uint8Array(fds.length * 8);
    const view = new DataView(pollfds.buffer);
    fds.forEach((fd, i) => {
      view.setInt32(i * 8, fd, LITTLE);
      view.setInt16(i * 8 + 4, POLLIN, LITTLE);
    });
    const timespec = new BigInt64Array([
      BigInt(Math.trunc(timeoutMs / 1000)),
      BigInt(Math.trunc((timeoutMs % 1000) * 1e6)),
    ]);
    const ts = new Uint8Array(timespec.buffer);
    this.#call.kept = [pollfds, ts];
    return lib.syscall6(nr("ppoll"), lib.address(pollfds), fds.length, timeoutMs < 0 ? 0 : lib.address(ts), 0, 0, 0);
  }

  watch(fd: number, callback: () => void): PollHandle {
    return this.#ffi.poll(fd, callback) ?? this.watchByThread(fd, callback);
  }

  /**
   * `watch` where libuv's poll is not to be had: `epoll_pwait` blocks on a thread of
   * koffi's. Closing wakes it through an eventfd. Keeps the process alive until closed.
   */
  watchByThread(fd: number, callback: () => void): PollHandle {
    const lib = this.#ffi;
    const epoll = orThrow(lib.syscall3(nr("epoll_create1"), EPOLL_CLOEXEC, 0, 0), "epoll_create1");
    const wake = lib.syscall3(nr("eventfd2"), 0, EFD_CLOEXEC, 0);
    const add = (target: number): number => {
      const event = new Uint8Array(EPOLL_EVENT_SIZE);
      new DataView(event.buffer).setUint32(0, EPOLLIN, LITTLE);
      this.#call.kept = event;
      return lib.syscall6(nr("epoll_ctl"), epoll, EPOLL_CTL_ADD, target, lib.address(event), 0, 0);
    };
    const failed = Math.min(wake, wake < 0 ? 0 : add(wake), add(fd), 0);
    if (failed < 0) {
      if (wake >= 0) this.close(wake);
      this.close(epoll);
      orThrow(failed, "epoll_ctl");
    }
    let open = true;
    const events = new Uint8Array(EPOLL_EVENT_SIZE * 2);
    const eventsAt = lib.address(events);
    const wait = async (): Promise<void> => {
      while (open) {
        const n = await lib.syscall6Async(nr("epoll_pwait"), epoll, eventsAt, 2, -1, 0, 0);
        if (open && n > 0) callback();
        events.fill(0);
      }
    };
    void wait().finally(() => {
      this.close(wake);
      this.close(epoll);
    });
    return {
      close: () => {
        if (!open) return;
        open = false;
        lib.syscall3b(nr("write"), wake, new Uint8Array(new BigUint64Array([1n]).buffer), 8);
      },
      ref: () => {},
      unref: () => {},
    };
  }

  address(bytes: Uint8Array): number {
    return this.#ffi.address(bytes);
  }
  view(address: number, length: number): ArrayBuffer {
    return this.#ffi.view(address, length);
  }
}

const numbers = new Map<SyscallName, number>();

function nr(name: SyscallName): number {
  let n = numbers.get(name);
  if (n === undefined) {
    n = syscallNumber(process.arch, name);
    if (n === undefined) {
      throw new NotSupportedError("architecture", `no number of the system call ${name} is known for ${process.arch}`);
    }
    numbers.set(name, n);
  }
  return n;
}

function orThrow(result: number, what: string): number {
  if (result < 0) throw new NotSupportedError(what, `${what} failed with errno ${-result}`);
  return result;
}

function cstring(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

function negativeErrno(error: unknown): number {
  const errno = (error as { errno?: unknown }).errno;
  if (typeof errno !== "number") throw error;
  return errno < 0 ? errno : -errno;
}

function pageSizeFromAuxv(): number {
  const auxv = readFileSync("/proc/self/auxv");
  for (let at = 0; at + 16 <= auxv.length; at += 16) {
    if (Number(auxv.readBigUInt64LE(at)) === AT_PAGESZ) return Number(auxv.readBigUInt64LE(at + 8));
  }
  return 4096;
}

/** What `uname -r` says; "" off Linux. (`node:os` takes 0.2 ms to load.) */
export function kernelRelease(): string {
  try {
    return readFileSync("/proc/sys/kernel/osrelease", "latin1").trimEnd();
  } catch {
    return "";
  }
}
