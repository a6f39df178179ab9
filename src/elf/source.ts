/** Where a file's bytes come from: all in memory, or read piece by piece. */
import { DecodeError } from "../core/errors.ts";

/**
 * Random access to a file. A 100 MB binary is not read to find one symbol: hand in an object whose
 * `read` is a `pread`.
 */
export interface RandomAccess {
  /** Bytes in the file. */
  readonly size: number;
  /** Exactly `length` bytes at `offset`; only asked for ranges inside `size`. */
  read(offset: number, length: number): Uint8Array;
}

export type ElfSource = Uint8Array | RandomAccess;

/** `ElfSource` with every range checked. */
export class CheckedSource {
  readonly size: number;
  readonly what: string;
  readonly #bytes: Uint8Array | undefined;
  readonly #access: RandomAccess | undefined;

  constructor(source: ElfSource, what: string) {
    this.what = what;
    if (source instanceof Uint8Array) {
      // Plain bytes, so that what is cut out of a Node Buffer compares and prints like what is not.
      this.#bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
      this.size = source.length;
    } else {
      this.#access = source;
      this.size = source.size;
    }
  }

  /** `size` bytes at `offset`: a view when the file is in memory. `path` names the part for the error. */
  bytes(offset: number, size: number, path: readonly string[]): Uint8Array {
    if (!(offset >= 0) || !(size >= 0) || offset + size > this.size) {
      throw new DecodeError(
        this.what,
        `${size} bytes at 0x${offset.toString(16)} reach past the end of the file (${this.size} bytes)`,
        {
          offset,
          path,
        },
      );
    }
    if (this.#bytes !== undefined) return this.#bytes.subarray(offset, offset + size);
    const got = (this.#access as RandomAccess).read(offset, size);
    if (got.length !== size) {
      throw new DecodeError(this.what, `the file gave ${got.length} bytes where ${size} were asked for`, {
        offset,
        path,
      });
    }
    return got;
  }

  /** A 64-bit offset or size as a number. */
  number(value: bigint, at: { offset: number; path: readonly string[] }): number {
    if (value > 0x1f_ffff_ffff_ffffn)
      throw new DecodeError(this.what, `0x${value.toString(16)} is no offset or size in a file`, at);
    return Number(value);
  }
}
