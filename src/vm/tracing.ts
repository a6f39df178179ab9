/** The buffer that traced code writes its path to. */
import { ArgumentError } from "../core/errors.ts";
import type { Image } from "./image.ts";
import type { TraceSite } from "./jit/context.ts";
import type { Compiled } from "./jit/jit.ts";
import { TRACE_AT, TRACE_COUNT, type VmMemory } from "./memory.ts";
import { Trace } from "./trace.ts";

const MAX_LIMIT = 1 << 22;

export interface TraceOptions {
  /** Pieces of straight code that are kept, the last ones: a power of two. Default 65536. */
  readonly limit?: number;
}

/** What traces of one VM share. */
export class Tracing {
  readonly limit: number;
  readonly compiled = new Map<Image, Compiled>();
  readonly #memory: VmMemory;
  readonly #base: number;
  readonly #images: Image[] = [];
  readonly #ends = new Map<Image, Uint32Array>();

  constructor(memory: VmMemory, limit: number) {
    if (!Number.isInteger(limit) || limit < 16 || limit > MAX_LIMIT || (limit & (limit - 1)) !== 0) {
      throw new ArgumentError("limit", `expected a power of two from 16 to ${MAX_LIMIT}, got ${limit}`);
    }
    this.limit = limit;
    this.#memory = memory;
    this.#base = memory.alloc(limit * 4, "mem", "the trace", 0).base;
  }

  /** For the code of one more program. */
  site(image: Image): TraceSite {
    const ends = new Uint32Array(image.columns.length);
    this.#ends.set(image, ends);
    return { program: this.#images.push(image) - 1, base: this.#base, bytes: this.limit * 4, ends };
  }

  reset(): void {
    const { view } = this.#memory;
    view.setUint32(TRACE_AT, 0, true);
    view.setBigUint64(TRACE_COUNT, 0n, true);
    // Entries are never 0xffffffff: that is what was not written.
    this.#memory.u8.fill(0xff, this.#base, this.#base + this.limit * 4);
  }

  get executed(): number {
    return Number(this.#memory.view.getBigUint64(TRACE_COUNT, true));
  }

  trace(): Trace {
    const { view } = this.#memory;
    const words = new Uint32Array(this.#memory.u8.slice(this.#base, this.#base + this.limit * 4).buffer);
    const at = view.getUint32(TRACE_AT, true) / 4;
    const truncated = words[at] !== 0xffff_ffff;
    const path = new Uint32Array(truncated ? this.limit : at);
    if (truncated) path.set(words.subarray(at));
    path.set(words.subarray(0, at), truncated ? this.limit - at : 0);
    const { executed } = this;
    return new Trace(path, { truncated, executed, images: this.#images, ends: this.#ends });
  }
}
