/**
 * Writer of a user ring buffer (BPF_MAP_TYPE_USER_RINGBUF, Linux 6.1): samples for a program that calls
 * `map.drain(…)` (kernel/bpf/ringbuf.c, tools/lib/bpf/ringbuf.c).
 *
 * ```text
 *  page 0 (read-only)    page 1 (read-write)   then the data, twice in a row (read-write)
 * ┌───────────────────┬────────────────────┬───────────────┬───────────────┐
 * │ u64 consumer_pos  │ u64 producer_pos   │ max_entries   │ the same again│
 * └───────────────────┴────────────────────┴───────────────┴───────────────┘
 * ```
 */
import { BpfkitError } from "../../core/errors.ts";
import type { Schema } from "../../probe/schema-types.ts";
import type { Kernel } from "../../syscall/kernel.ts";
import { type Mapping, PROT, mapFile } from "../../syscall/mmap.ts";
import { type Encode, codecOf } from "../../values/codec.ts";

/** Length and padding before each sample. */
const HEADER = 8;

export class SampleWriter<T> implements Disposable {
  readonly #consumer: Mapping;
  readonly #ring: Mapping;
  readonly #page: number;
  readonly #capacity: number;
  readonly #size: number;
  readonly #encode: Encode<T>;
  readonly #bytes: Uint8Array;

  /** @internal use `app.sender(handle)` or `collection.sender(name)` */
  constructor(kernel: Kernel, fd: number, capacity: number, schema: Schema, name: string) {
    const page = kernel.pageSize;
    this.#page = page;
    this.#capacity = capacity;
    this.#size = schema.size;
    this.#bytes = new Uint8Array(schema.size);
    this.#encode = codecOf(schema).encoder(this.#bytes.buffer, name) as Encode<T>;
    this.#consumer = mapFile(kernel, fd, page, PROT.READ, `map ${name}`);
    try {
      this.#ring = mapFile(kernel, fd, page + 2 * capacity, PROT.READ | PROT.WRITE, `map ${name}`, { offset: page });
    } catch (error) {
      this.#consumer.close();
      throw error;
    }
  }

  /**
   * Puts one sample into the buffer; false when there is no room. The program takes it when it next drains. One
   * writer at a time.
   */
  send(sample: T): boolean {
    if (this.#ring.closed) throw new BpfkitError("CLOSED", "the writer is closed");
    this.#encode(sample, 0);
    const ring = this.#ring.buffer;
    const producer = new BigInt64Array(ring, 0, 1);
    const at = Atomics.load(producer, 0);
    const taken = Atomics.load(new BigInt64Array(this.#consumer.buffer, 0, 1), 0);
    const total = Math.ceil((HEADER + this.#size) / 8) * 8;
    if (Number(at - taken) + total > this.#capacity) return false;
    const off = this.#page + (Number(at) & (this.#capacity - 1));
    new Uint32Array(ring, off, 2).set([this.#size, 0]);
    // The data is mapped twice in a row: what runs over the end comes out at the start.
    new Uint8Array(ring, off + HEADER, this.#size).set(this.#bytes);
    Atomics.store(producer, 0, at + BigInt(total));
    return true;
  }

  /** Unmaps the buffer; what is in it stays for the program. Closing twice is harmless. */
  close(): void {
    this.#ring.close();
    this.#consumer.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}
