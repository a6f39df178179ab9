/**
 * Reader of a BPF ring buffer (BPF_MAP_TYPE_RINGBUF, Linux 5.8): the pages are mapped
 * and read in place (kernel/bpf/ringbuf.c, tools/lib/bpf/ringbuf.c).
 *
 * ```text
 *  page 0 (read-write)   page 1 (read-only)    then the data, twice in a row (read-only)
 * ┌───────────────────┬────────────────────┬───────────────┬───────────────┐
 * │ u64 consumer_pos  │ u64 producer_pos   │ max_entries   │ the same again│
 * └───────────────────┴────────────────────┴───────────────┴───────────────┘
 * ```
 */
import { ArgumentError, BpfkitError } from "../../core/errors.ts";
import type { Infer, Schema } from "../../probe/schema-types.ts";
import { check } from "../../syscall/errors.ts";
import type { Kernel } from "../../syscall/kernel.ts";
import { codecOf } from "../../values/codec.ts";
import { LOW_WORD, type Loop, makeCursor, ringLoop } from "./drain.ts";
import { type Cursor, type EventReader, eventReader, type Source } from "./reader.ts";

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;

export interface RingBufferOptions {
  readonly kernel: Kernel;
  /** The map's descriptor. It stays the caller's; the reader keeps a duplicate. */
  readonly fd: number;
  /** `max_entries` of the map: the size of the data in bytes, a power of two. */
  readonly size: number;
  /** Samples that the program could not reserve, where the program counts them. */
  readonly lost?: () => bigint;
}

/**
 * Maps the ring buffer `fd` and reads samples of `schema` out of it; without a schema
 * a sample is a Uint8Array of its own. A second reader of the same map would take
 * samples away from the first.
 *
 * Throws `SyscallError` when the pages cannot be mapped.
 */
export function openRingBuffer<S extends Schema>(options: RingBufferOptions & { schema: S }): EventReader<Infer<S>>;
export function openRingBuffer(options: RingBufferOptions & { schema?: undefined }): EventReader<Uint8Array>;
export function openRingBuffer(options: RingBufferOptions & { schema?: Schema | undefined }): EventReader<unknown> {
  return eventReader(new RingSource(options, options.schema));
}

class RingSource implements Source<unknown> {
  readonly kernel: Kernel;
  readonly fds: readonly number[];
  readonly drain: Loop<unknown>;
  readonly #options: RingBufferOptions;
  readonly #mappings: { address: number; length: number }[] = [];
  readonly #consumer: BigInt64Array;
  readonly #producer: Int32Array;
  /** See `RingViews.position`. */
  readonly #position = new Int32Array(2);
  readonly #stop = { now: false };
  readonly #publishEvery: number;
  #published: bigint;
  #cursorLoop: Loop<Cursor<unknown>> | undefined;
  readonly #makeCursorLoop: () => Loop<Cursor<unknown>>;
  #open = true;
  #draining = false;

  constructor(options: RingBufferOptions, schema: Schema | undefined) {
    const { kernel, size } = options;
    this.kernel = kernel;
    this.#options = options;
    const page = kernel.pageSize;
    if (!Number.isInteger(Math.log2(size)) || size < page || size > 2 ** 30) {
      throw new ArgumentError("size", `expected a power of two from ${page} to 2^30 bytes, got ${size}`);
    }
    const fd = check(kernel, kernel.dup(options.fd), "dup");
    this.fds = [fd];
    try {
      const consumer = this.#map(page, PROT_READ | PROT_WRITE, 0);
      const ring = this.#map(page + 2 * size, PROT_READ, page);
      this.#consumer = new BigInt64Array(consumer, 0, 1);
      this.#producer = new Int32Array(ring, 0, 2);
      this.#published = Atomics.load(this.#consumer, 0);
      this.#position[0] = Number(BigInt.asIntN(32, this.#published));
      this.#publishEvery = size / 4;

      const views = {
        producer: this.#producer,
        data: new Int32Array(ring, page),
        dataOffset: page,
        mask: size - 1,
        position: this.#position,
        stop: this.#stop,
        minSize: schema?.size ?? 0,
        short: (got: number): never => {
          throw new BpfkitError(
            "SAMPLE_SIZE",
            `a sample of ${got} bytes came, its schema has ${schema?.size ?? 0}: the program and the schema do not belong together`,
          );
        },
      };
      const bytes = new Uint8Array(ring);
      const at =
        schema === undefined
          ? (offset: number, length: number): unknown => bytes.slice(offset, offset + length)
          : codecOf(schema).decoder(ring, { aligned: true, own: true });
      this.drain = this.#publishing(ringLoop(views, at as (offset: number) => unknown));
      this.#makeCursorLoop = () => {
        if (schema === undefined)
          throw new ArgumentError("schema", "a cursor needs a schema; raw samples are drained as bytes");
        return this.#publishing(ringLoop(views, makeCursor<unknown>(schema, ring, true).move));
      };
    } catch (error) {
      this.close();
      throw error;
    }
  }

  drainCursor(fn: (sample: Cursor<unknown>) => void, max: number): number {
    return (this.#cursorLoop ??= this.#makeCursorLoop())(fn, max);
  }

  publish(): boolean {
    if (!this.#open) return false;
    const taken = this.#position[1] ?? 0;
    if (taken !== 0) {
      this.#published += BigInt(taken >>> 0);
      this.#position[1] = 0;
      // One 64-bit store: two halves could be seen torn at 4 GiB.
      Atomics.store(this.#consumer, 0, this.#published);
    }
    // A record committed before this store woke nobody: look once more.
    return Atomics.load(this.#producer, LOW_WORD) !== this.#position[0] && taken !== 0;
  }

  lost(): bigint {
    return this.#options.lost?.() ?? 0n;
  }

  close(): void {
    if (!this.#open) return;
    if (this.#draining) {
      // Called from a sample's callback: unmapping under the running loop would be fatal.
      this.#stop.now = true;
      return;
    }
    if (this.#mappings.length === 2) this.publish();
    this.#open = false;
    for (const { address, length } of this.#mappings.splice(0)) this.kernel.munmap(address, length);
    for (const fd of this.fds) this.kernel.close(fd);
  }

  /**
   * A long drain has to give space back to producers before it ends: the loop runs in
   * pieces, each at most a quarter of the ring, the smallest record being 8 bytes.
   */
  #publishing<T>(loop: Loop<T>): Loop<T> {
    const piece = Math.max(1, this.#publishEvery / 64);
    return (fn, max) => {
      if (this.#draining) throw new BpfkitError("BUSY", "drain was called from within a sample's callback");
      let total = 0;
      this.#draining = true;
      try {
        while (this.#open && !this.#stop.now && total < max) {
          const n = loop(fn, Math.min(piece, max - total));
          total += n;
          if ((this.#position[1] ?? 0) >>> 0 >= this.#publishEvery) this.publish();
          if (n < piece) break;
        }
      } finally {
        this.#draining = false;
        if (this.#stop.now) this.close();
      }
      return total;
    };
  }

  #map(length: number, prot: number, offset: number): ArrayBuffer {
    const fd = this.fds[0] ?? -1;
    const address = check(this.kernel, this.kernel.mmap(length, prot, MAP_SHARED, fd, offset), "mmap");
    this.#mappings.push({ address, length });
    return this.kernel.view(address, length);
  }
}
