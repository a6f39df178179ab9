/** Kernel and user memory of a world that no VM runs in: what objects are built in to be looked at, or to be sent somewhere. */
import { ArgumentError } from "../../core/errors.ts";
import type { Space, WorldMemory } from "./types.ts";

/** Where the kernel maps all memory (x86-64, without randomisation). */
const KERNEL_BASE = 0xffff_8880_0000_0000n;
/** Where a process has its mappings. */
const USER_BASE = 0x7f00_0000_0000n;
const LIMIT = 0x8000_0000;

interface Piece {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/**
 * Memory in JavaScript arrays. Addresses ascend from where the kernel's and a process's do.
 *
 * @example
 * const memory = new PlainMemory();
 * const at = memory.alloc(16, "kernel", "a buffer");
 * memory.write(at, Uint8Array.of(1, 2, 3));
 */
export class PlainMemory implements WorldMemory {
  readonly #pieces: Readonly<Record<Space, Piece[]>> = { kernel: [], user: [] };
  readonly #top: Record<Space, bigint> = { kernel: KERNEL_BASE + 0x1000n, user: USER_BASE + 0x1000n };

  alloc(size: number, space: Space, name: string): bigint {
    if (!Number.isInteger(size) || size < 0 || size > LIMIT)
      throw new ArgumentError("size", `${name}: expected 0 to ${LIMIT} bytes, got ${size}`);
    const address = this.#top[space];
    // A gap behind each, so that what runs over its end is found.
    this.#top[space] = (address + BigInt(size) + 64n + 15n) & ~15n;
    this.#pieces[space].push({ address, bytes: new Uint8Array(size) });
    return address;
  }

  free(address: bigint): void {
    const pieces = this.#pieces[address >= KERNEL_BASE ? "kernel" : "user"];
    const i = pieces.findIndex((piece) => piece.address === address);
    if (i >= 0) pieces.splice(i, 1);
  }

  read(address: bigint, size: number): Uint8Array | undefined {
    return this.#at(address, size)?.slice();
  }

  write(address: bigint, bytes: Uint8Array): void {
    const to = this.#at(address, bytes.length);
    if (to === undefined)
      throw new ArgumentError(
        "address",
        `expected ${bytes.length} bytes of the world's memory, got 0x${address.toString(16)}`,
      );
    to.set(bytes);
  }

  #at(address: bigint, size: number): Uint8Array | undefined {
    const pieces = this.#pieces[address >= KERNEL_BASE ? "kernel" : "user"];
    let low = 0;
    let high = pieces.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pieces[middle]!.address <= address) low = middle + 1;
      else high = middle;
    }
    const piece = pieces[low - 1];
    if (piece === undefined) return undefined;
    const offset = Number(address - piece.address);
    return offset + size <= piece.bytes.length ? piece.bytes.subarray(offset, offset + size) : undefined;
  }
}
