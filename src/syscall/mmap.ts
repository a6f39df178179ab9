/** Owned memory mappings. */
import { BpfkitError } from "../core/errors.ts";
import { check } from "./errors.ts";
import type { Kernel } from "./kernel.ts";

export const PROT = { READ: 1, WRITE: 2 } as const;
export const MAP = { SHARED: 1, PRIVATE: 2, FIXED_NOREPLACE: 0x10_0000 } as const;

/**
 * A mapping that belongs to this object. `buffer` may be touched only until `close()`:
 * after that the memory is gone and reading it would kill the process, so owners copy
 * out what they hand on.
 */
export class Mapping {
  readonly length: number;
  readonly #kernel: Kernel;
  readonly #address: number;
  #buffer: ArrayBuffer | undefined;

  constructor(kernel: Kernel, address: number, length: number) {
    this.#kernel = kernel;
    this.#address = address;
    this.length = length;
    this.#buffer = kernel.view(address, length);
  }

  /** The mapped memory. Throws code "CLOSED" when it is unmapped. */
  get buffer(): ArrayBuffer {
    if (this.#buffer === undefined) throw new BpfkitError("CLOSED", "the mapping is closed");
    return this.#buffer;
  }
  get closed(): boolean {
    return this.#buffer === undefined;
  }

  close(): void {
    if (this.#buffer === undefined) return;
    this.#buffer = undefined;
    this.#kernel.munmap(this.#address, this.length);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Maps `length` bytes of `fd` from `offset`, shared. Throws `SyscallError`. */
export function mapFile(
  kernel: Kernel,
  fd: number,
  length: number,
  prot: number,
  what: string,
  options: { offset?: number; at?: number } = {},
): Mapping {
  const at = options.at ?? 0;
  const flags = MAP.SHARED | (at === 0 ? 0 : MAP.FIXED_NOREPLACE);
  const address = check(kernel, kernel.mmap(length, prot, flags, fd, options.offset ?? 0, at), "mmap", {
    subject: what,
  });
  try {
    return new Mapping(kernel, address, length);
  } catch (error) {
    kernel.munmap(address, length);
    throw error;
  }
}
