/**
 * Reader of a perf buffer: BPF_MAP_TYPE_PERF_EVENT_ARRAY (Linux 4.4) with one
 * PERF_COUNT_SW_BPF_OUTPUT event and ring per CPU (perf_event_open(2),
 * include/uapi/linux/perf_event.h `struct perf_event_mmap_page`).
 */
import { ArgumentError, BpfkitError } from "../../core/errors.ts";
import type { Infer, Schema } from "../../probe/schema-types.ts";
import { check } from "../../syscall/errors.ts";
import type { Kernel } from "../../syscall/kernel.ts";
import { codecOf } from "../../values/codec.ts";
import { makeCursor } from "./drain.ts";
import { type Cursor, type EventReader, eventReader, type Source } from "./reader.ts";

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
/** Offsets in the control page. */
const DATA_HEAD = 1024;
const DATA_TAIL = 1032;
const PERF_RECORD_LOST = 2;
const PERF_RECORD_SAMPLE = 9;
/** `_IO('$', 0)` and `_IO('$', 1)`. */
const PERF_EVENT_IOC_ENABLE = 0x2400;
const PERF_FLAG_FD_CLOEXEC = 8;
const PERF_TYPE_SOFTWARE = 1;
const PERF_COUNT_SW_BPF_OUTPUT = 10;
const PERF_SAMPLE_RAW = 1 << 10;
/** PERF_ATTR_SIZE_VER0: all that this event needs. */
const ATTR_SIZE = 64;

export interface PerfBufferOptions {
  readonly kernel: Kernel;
  /** Online CPUs, by number. */
  readonly cpus: readonly number[];
  /** Puts the event `fd` into the map's slot `cpu`. */
  readonly setSlot: (cpu: number, fd: number) => void;
  /** Data pages per CPU, a power of two; 64 by default (256 KiB). */
  readonly pages?: number;
}

/**
 * Opens one event and ring per CPU, puts the events into the map and reads samples
 * of `schema` (without one, bytes). Samples of one CPU come in their order; across
 * CPUs there is none.
 */
export function openPerfBuffer<S extends Schema>(options: PerfBufferOptions & { schema: S }): EventReader<Infer<S>>;
export function openPerfBuffer(options: PerfBufferOptions & { schema?: undefined }): EventReader<Uint8Array>;
export function openPerfBuffer(options: PerfBufferOptions & { schema?: Schema | undefined }): EventReader<unknown> {
  return eventReader(new PerfSource(options, options.schema));
}

/** One CPU's ring. */
interface CpuRing {
  readonly fd: number;
  readonly address: number;
  readonly length: number;
  readonly head: BigInt64Array;
  readonly tail: BigInt64Array;
  readonly data: DataView;
  readonly bytes: Uint8Array;
  readonly at: (offset: number, size: number) => unknown;
  readonly cursorAt: ((offset: number, size: number) => Cursor<unknown>) | undefined;
}

class PerfSource implements Source<unknown> {
  readonly kernel: Kernel;
  readonly #page: number;
  readonly #size: number;
  readonly #schema: Schema | undefined;
  readonly #rings: CpuRing[] = [];
  /** A record that wraps around the ring's end is copied here. */
  #scratch = new Uint8Array(65_536);
  readonly #scratchAt: (offset: number, size: number) => unknown;
  readonly #scratchCursorAt: ((offset: number, size: number) => Cursor<unknown>) | undefined;
  #lost = 0n;
  #open = true;
  #draining = false;
  #stop = false;

  constructor(options: PerfBufferOptions, schema: Schema | undefined) {
    const pages = options.pages ?? 64;
    if (!Number.isInteger(Math.log2(pages))) throw new ArgumentError("pages", `expected a power of two, got ${pages}`);
    this.kernel = options.kernel;
    this.#page = options.kernel.pageSize;
    this.#size = pages * this.#page;
    this.#schema = schema;
    this.#scratchAt = valueAt(schema, this.#scratch);
    this.#scratchCursorAt = cursorAt(schema, this.#scratch.buffer);
    try {
      for (const cpu of options.cpus) options.setSlot(cpu, this.#openRing(cpu).fd);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get fds(): readonly number[] {
    return this.#rings.map((r) => r.fd);
  }

  drain(fn: (sample: unknown) => void, max: number): number {
    return this.#drain(fn, max, (ring, scratch) => (scratch ? this.#scratchAt : ring.at));
  }

  drainCursor(fn: (sample: Cursor<unknown>) => void, max: number): number {
    if (this.#schema === undefined)
      throw new ArgumentError("schema", "a cursor needs a schema; raw samples are drained as bytes");
    return this.#drain(
      fn as (sample: unknown) => void,
      max,
      (ring, scratch) => (scratch ? this.#scratchCursorAt : ring.cursorAt) ?? ring.at,
    );
  }

  publish(): boolean {
    return false;
  }

  lost(): bigint {
    return this.#lost;
  }

  pending(): boolean {
    return this.#rings.some(({ head, tail }) => Atomics.load(head, 0) !== Atomics.load(tail, 0));
  }

  close(): void {
    if (!this.#open) return;
    if (this.#draining) {
      this.#stop = true;
      return;
    }
    this.#open = false;
    for (const { fd, address, length } of this.#rings.splice(0)) {
      if (address > 0) this.kernel.munmap(address, length);
      this.kernel.close(fd);
    }
  }

  #drain(
    fn: (sample: unknown) => void,
    max: number,
    choose: (ring: CpuRing, scratch: boolean) => CpuRing["at"],
  ): number {
    if (this.#draining) throw new BpfkitError("BUSY", "drain was called from within a sample's callback");
    this.#draining = true;
    let total = 0;
    try {
      for (const ring of this.#rings) {
        if (total >= max || this.#stop) break;
        total += this.#drainRing(ring, fn, max - total, choose(ring, false), choose(ring, true));
      }
    } finally {
      this.#draining = false;
      if (this.#stop) this.close();
    }
    return total;
  }

  #drainRing(
    ring: CpuRing,
    fn: (sample: unknown) => void,
    max: number,
    at: CpuRing["at"],
    scratchAt: CpuRing["at"],
  ): number {
    const { data, bytes } = ring;
    const size = this.#size;
    const start = Number(Atomics.load(ring.tail, 0));
    const head = Number(Atomics.load(ring.head, 0));
    let position = start;
    let n = 0;
    try {
      while (position < head && n < max && !this.#stop) {
        // Records are 8-byte aligned, so a header never wraps.
        const offset = position % size;
        const type = data.getUint32(this.#page + offset, LITTLE);
        const length = data.getUint16(this.#page + offset + 6, LITTLE);
        if (length < 8)
          throw new BpfkitError("PERF_RECORD", `perf record of ${length} bytes at ${position}: the ring is damaged`);
        position += length;
        const wraps = offset + length > size;
        if (wraps) {
          const first = size - offset;
          this.#scratch.set(bytes.subarray(this.#page + offset, this.#page + size), 0);
          this.#scratch.set(bytes.subarray(this.#page, this.#page + length - first), first);
        }
        const view = wraps ? new DataView(this.#scratch.buffer) : data;
        const base = wraps ? 0 : this.#page + offset;
        if (type === PERF_RECORD_LOST) this.#lost += view.getBigUint64(base + 16, LITTLE);
        if (type !== PERF_RECORD_SAMPLE) continue;
        // struct { header; u32 size; char data[size]; }: size includes padding to 8.
        const sampleSize = view.getUint32(base + 8, LITTLE);
        const needed = this.#schema?.size ?? 0;
        if (sampleSize < needed) {
          throw new BpfkitError(
            "SAMPLE_SIZE",
            `a sample of ${sampleSize} bytes came, its schema has ${needed}: the program and the schema do not belong together`,
          );
        }
        n++;
        fn((wraps ? scratchAt : at)(base + 12, sampleSize));
      }
    } finally {
      if (position !== start) Atomics.store(ring.tail, 0, BigInt(position));
    }
    return n;
  }

  #openRing(cpu: number): CpuRing {
    const { kernel } = this;
    const attr = new Uint8Array(ATTR_SIZE);
    const view = new DataView(attr.buffer);
    view.setUint32(0, PERF_TYPE_SOFTWARE, LITTLE);
    view.setUint32(4, ATTR_SIZE, LITTLE);
    view.setBigUint64(8, BigInt(PERF_COUNT_SW_BPF_OUTPUT), LITTLE);
    view.setBigUint64(16, 1n, LITTLE); // sample_period
    view.setBigUint64(24, BigInt(PERF_SAMPLE_RAW), LITTLE);
    view.setUint32(48, 1, LITTLE); // wakeup_events
    const fd = check(kernel, kernel.perfEventOpen(attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC), "perf_event_open");
    const length = this.#page + this.#size;
    const address = kernel.mmap(length, PROT_READ_WRITE, MAP_SHARED, fd, 0);
    if (address < 0) kernel.close(fd);
    check(kernel, address, "mmap");
    const buffer = kernel.view(address, length);
    const bytes = new Uint8Array(buffer);
    const ring: CpuRing = {
      fd,
      address,
      length,
      head: new BigInt64Array(buffer, DATA_HEAD, 1),
      tail: new BigInt64Array(buffer, DATA_TAIL, 1),
      data: new DataView(buffer),
      bytes,
      at: valueAt(this.#schema, bytes),
      cursorAt: cursorAt(this.#schema, buffer),
    };
    this.#rings.push(ring);
    check(kernel, kernel.ioctl(fd, PERF_EVENT_IOC_ENABLE, 0), "ioctl(PERF_EVENT_IOC_ENABLE)");
    return ring;
  }
}

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Samples of a perf buffer are aligned to 4 bytes only. */
function valueAt(schema: Schema | undefined, bytes: Uint8Array): (offset: number, size: number) => unknown {
  return schema === undefined
    ? (offset, size) => bytes.slice(offset, offset + size)
    : codecOf(schema).decoder(bytes.buffer, { own: true });
}

function cursorAt(
  schema: Schema | undefined,
  buffer: ArrayBufferLike,
): ((offset: number, size: number) => Cursor<unknown>) | undefined {
  return schema === undefined ? undefined : makeCursor<unknown>(schema, buffer, false).move;
}
