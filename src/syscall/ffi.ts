/**
 * The door to libc: the only file that imports koffi. Nothing is loaded before the
 * first call of `ffi()`.
 *
 * Only numbers and byte arrays cross this border: a wrong-typed member of a koffi
 * struct would abort the whole process, so structs are encoded by our own checked
 * encoders (`attr.ts`) and passed as bytes. Every call returns the result or a
 * negative errno, read in the statement after the call (later it is gone).
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { NotSupportedError } from "../core/errors.ts";

/** A handle of libuv's poll on a file descriptor. It is closed exactly once. */
export interface PollHandle {
  close(): void;
  ref(): void;
  unref(): void;
}

/** libc as numbers and bytes. Addresses are numbers: user space ends below 2^53. */
export interface Ffi {
  /** `syscall(nr, a, b, c)`: the result, or -errno. */
  syscall3(nr: number, a: number, b: number, c: number): number;
  /** `syscall(nr, a, bytes, c)`: the second argument is a pointer. */
  syscall3b(nr: number, a: number, bytes: Uint8Array, c: number): number;
  /** `syscall(nr, a, …, f)`: the result, or -errno. */
  syscall6(nr: number, a: number, b: number, c: number, d: number, e: number, f: number): number;
  /** Like `syscall6`, on a thread of its own, so that a blocking call does not stop the event loop. */
  syscall6Async(nr: number, a: number, b: number, c: number, d: number, e: number, f: number): Promise<number>;
  /** Address of the first byte. Stable as long as `bytes` is referenced. */
  address(bytes: Uint8Array): number;
  /**
   * The memory at `address` as an ArrayBuffer, without a copy. Touching it after
   * the memory is unmapped kills the process: owners hand it out only while mapped.
   */
  view(address: number, length: number): ArrayBuffer;
  /** Calls back on the event loop when `fd` is readable; undefined when this runtime cannot. */
  poll(fd: number, callback: () => void): PollHandle | undefined;
}

interface Native {
  load(path: null): { func(name: string, result: string, args: readonly string[]): NativeFunction };
  address(bytes: Uint8Array): bigint;
  view(address: bigint, length: number): ArrayBuffer;
  errno(): number;
  node?: { poll?(fd: number, options: { readable: true }, callback: (status: number) => void): PollHandle | null };
}
interface NativeFunction {
  (...args: readonly (number | Uint8Array)[]): number | bigint;
  async(...args: readonly unknown[]): void;
}

let loaded: Ffi | undefined;

/** libc, loaded on first use. Throws `NotSupportedError` where there is no Linux or no native koffi. */
export function ffi(): Ffi {
  return (loaded ??= load());
}

function load(): Ffi {
  if (process.platform !== "linux") {
    throw new NotSupportedError(
      "linux",
      `loading BPF programs needs Linux, this is ${process.platform}. Compiling, verifying and simulating work here.`,
    );
  }
  const native = loadNative();
  const libc = native.load(null);
  const i = "int64";
  const sys3 = libc.func("syscall", i, [i, i, i, i]);
  const sys3b = libc.func("syscall", i, [i, i, "uint8_t *", i]);
  const sys6 = libc.func("syscall", i, [i, i, i, i, i, i, i]);
  const errno = native.errno;
  return {
    syscall3(nr, a, b, c) {
      const r = sys3(nr, a, b, c);
      return r === -1 ? -errno() : Number(r);
    },
    syscall3b(nr, a, bytes, c) {
      const r = sys3b(nr, a, bytes, c);
      return r === -1 ? -errno() : Number(r);
    },
    syscall6(nr, a, b, c, d, e, f) {
      const r = sys6(nr, a, b, c, d, e, f);
      return r === -1 ? -errno() : Number(r);
    },
    syscall6Async(nr, a, b, c, d, e, f) {
      return new Promise((resolve, reject) => {
        sys6.async(nr, a, b, c, d, e, f, (error: unknown, r: number | bigint) => {
          // errno is the worker thread's own here, and right inside this callback only.
          if (error === null || error === undefined) resolve(r === -1 ? -errno() : Number(r));
          else reject(error instanceof Error ? error : new Error(String(error)));
        });
      });
    },
    address: (bytes) => Number(native.address(bytes)),
    view: (address, length) => native.view(BigInt(address), length),
    poll: (fd, callback) => poll(native, fd, callback),
  };
}

/**
 * The native module itself: `process.dlopen` of the prebuilt file costs 1-2 ms
 * where `require("koffi")` costs 5-7 (a fifth of Node's whole start). Whatever goes
 * wrong on that short way (musl, another architecture, another package layout)
 * ends in the ordinary `require`, whose error is the one worth showing.
 */
function loadNative(): Native {
  const file = prebuiltFile();
  if (file !== undefined) {
    try {
      const module = { exports: {} as unknown };
      process.dlopen(module, file);
      if (isNative(module.exports)) return module.exports;
    } catch {
      // The slow way below explains itself.
    }
  }
  try {
    const koffi: unknown = process.getBuiltinModule("node:module").createRequire(import.meta.url)("koffi");
    if (isNative(koffi)) return koffi;
    throw new Error("it is not version 3");
  } catch (cause) {
    throw new NotSupportedError(
      "koffi",
      `the native module koffi cannot be loaded (${cause instanceof Error ? cause.message : String(cause)}). Reinstall with optional dependencies: npm install koffi`,
      { cause },
    );
  }
}

/**
 * The prebuilt file, found as Node would find the package: in the `node_modules` of
 * each directory upwards. (Asking `require.resolve` costs more than the rest of loading.)
 */
function prebuiltFile(): string | undefined {
  const libc = process.arch === "x64" ? "x86_64" : process.arch === "arm64" ? "aarch64" : process.arch;
  if (existsSync(`/lib/ld-musl-${libc}.so.1`)) return undefined;
  const inside = `@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`;
  for (let dir = import.meta.dirname; ; dir = dirname(dir)) {
    for (const modules of ["node_modules/koffi/node_modules", "node_modules"]) {
      const file = join(dir, modules, inside);
      if (existsSync(file)) return file;
    }
    if (dir === dirname(dir)) return undefined;
  }
}

function isNative(x: unknown): x is Native {
  if (typeof x !== "object" || x === null) return false;
  const n = x as Record<string, unknown>;
  const whole = ["load", "address", "view", "errno"].every((name) => typeof n[name] === "function");
  return whole && String(n["version"]).startsWith("3.");
}

/** Handles that are open: one that is collected would close itself and never wake anybody. */
const watched = new Set<PollHandle>();

function poll(native: Native, fd: number, callback: () => void): PollHandle | undefined {
  if (typeof native.node?.poll !== "function") return undefined;
  let open = true;
  const handle = native.node.poll(fd, { readable: true }, () => {
    if (!open) return;
    // An exception that leaves a libuv callback is seen by nobody and ends all
    // further events: it has to be rethrown where Node can see it.
    try {
      callback();
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  });
  if (handle === null) return undefined;
  watched.add(handle);
  return {
    close() {
      if (!open) return;
      open = false;
      watched.delete(handle);
      handle.close();
    },
    ref() {
      if (open) handle.ref();
    },
    unref() {
      if (open) handle.unref();
    },
  };
}
