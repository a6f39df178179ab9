/**
 * The one face of ring buffers and perf buffers: read what is there (`drain`), be
 * called back (`on`), or `for await`. Woken by the buffer's file descriptor, never by
 * a timer. A sample is taken out of the kernel's buffer only when somebody takes it
 * here, so a slow, stopped or restarted reader loses nothing until the buffer is full.
 */
import { BpfkitError } from "../../core/errors.ts";
import type { Kernel, PollHandle } from "../../syscall/kernel.ts";

/** Stops a callback that was registered with `on`. Stopping twice is harmless. */
export interface Subscription extends Disposable {
  stop(): void;
}

export interface EventReader<T> extends AsyncIterable<T>, Disposable {
  /**
   * Hands every sample that is ready to `fn`, at most `max`, and returns how many.
   * A sample counts as taken even if `fn` throws on it.
   */
  drain(fn: (sample: T) => void, max?: number): number;
  /**
   * Like `drain`, with one reused view of the sample instead of an object of its own:
   * half the cost. It is valid only until `fn` returns; `toObject()` copies it.
   */
  drainCursor(fn: (sample: Cursor<T>) => void, max?: number): number;
  /** Calls `fn` for every sample from now on, including those already waiting. */
  on(fn: (sample: T) => void): Subscription;
  /** Samples that the kernel dropped because the buffer was full, as far as the kernel tells. */
  readonly lost: bigint;
  readonly closed: boolean;
  /** Waits for no more: what is ready is still handed out, then loops and subscriptions end. Detach the programs first. */
  end(): void;
  /** Unmaps the buffer, with what is in it. Closing twice is harmless; a waiting `for await` ends. */
  close(): void;
}

/** A view of the current sample: its fields, and `toObject()` for a copy that lasts. */
export type Cursor<T> = Readonly<T> & { toObject(): T };

/**
 * How many samples one turn of the event loop handles at most: a burst must not
 * starve timers and signals. 8192 objects take about 0.3 ms.
 */
const PER_TURN = 8192;
/** How many decoded samples wait for a `for await`; the rest stays in the kernel's buffer. */
const QUEUE = 256;

/** What differs between the two kinds of buffers. */
export interface Source<T> {
  readonly kernel: Kernel;
  readonly fds: readonly number[];
  drain(fn: (sample: T) => void, max: number): number;
  drainCursor(fn: (sample: Cursor<T>) => void, max: number): number;
  /** Tells the kernel how far we are. Returns true if samples have arrived meanwhile. */
  publish(): boolean;
  lost(): bigint;
  /**
   * Is there anything to read? Only of sources whose descriptors forget that they are readable once they were polled:
   * a perf event's does (`perf_poll`), and epoll polls it when it is added and again before it reports it.
   */
  pending?(): boolean;
  close(): void;
}

/** Makes a reader of a source. */
export function eventReader<T>(source: Source<T>): EventReader<T> {
  return new Reader(source);
}

class Reader<T> implements EventReader<T> {
  readonly #source: Source<T>;
  /** Decoded for a `for await` that has not asked for them yet. */
  #queue: T[] = [];
  #queueAt = 0;
  #watches: PollHandle[] = [];
  #reading = false;
  #ending = false;
  #wake: (() => void) | undefined;
  #finishSubscription: (() => void) | undefined;
  #closed = false;
  #lostAtClose = 0n;

  constructor(source: Source<T>) {
    this.#source = source;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get lost(): bigint {
    return this.#closed ? this.#lostAtClose : this.#source.lost();
  }

  drain(fn: (sample: T) => void, max = Infinity): number {
    this.#assertFree();
    const queued = this.#drainQueue(fn, max);
    let total = queued;
    do {
      if (total < max) total += this.#source.drain(fn, max - total);
    } while (this.#source.publish() && total < max && !this.#closed);
    return total;
  }

  drainCursor(fn: (sample: Cursor<T>) => void, max = Infinity): number {
    this.#assertFree();
    let total = this.#drainQueue((sample) => fn(cursorOf(sample)), max);
    do {
      if (total < max) total += this.#source.drainCursor(fn, max - total);
    } while (this.#source.publish() && total < max && !this.#closed);
    return total;
  }

  on(fn: (sample: T) => void): Subscription {
    this.#assertFree();
    this.#reading = true;
    const stop = (): void => {
      if (!this.#reading || stopped) return;
      stopped = true;
      this.#reading = false;
      this.#finishSubscription = undefined;
      this.#unwatch();
    };
    let stopped = false;
    const turn = (): void => {
      if (stopped || this.#closed) return;
      let taken = this.#drainQueue(fn, PER_TURN);
      taken += this.#source.drain(fn, PER_TURN - taken);
      // While samples keep coming the position is published rarely: a producer that finds its
      // consumer caught up queues a wake-up for every single sample (2.7-12 µs each, measured).
      // The descriptor stays readable, so the next turn of the loop continues by itself.
      if (taken === 0) this.#source.publish();
      if (this.#source.pending?.() === true) setImmediate(turn);
    };
    const finish = (): void => {
      stop();
      this.drain(fn);
    };
    if (this.#ending) {
      finish();
      return { stop, [Symbol.dispose]: stop };
    }
    this.#finishSubscription = finish;
    this.#watch(turn);
    // What is waiting already makes the descriptor readable, except what sits in our own queue.
    if (this.#queueAt < this.#queue.length) queueMicrotask(turn);
    return { stop, [Symbol.dispose]: stop };
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    this.#assertFree();
    this.#reading = true;
    let done = false;
    const finish = (): IteratorResult<T> => {
      if (!done) {
        done = true;
        this.#reading = false;
        this.#unwatch();
      }
      return { done: true, value: undefined };
    };
    return {
      next: async () => {
        while (!done && !this.#closed) {
          if (this.#queueAt < this.#queue.length) return { done: false, value: this.#take() };
          this.#source.drain((sample) => this.#queue.push(sample), QUEUE);
          if (this.#queueAt < this.#queue.length) continue;
          if (this.#source.publish()) continue;
          if (this.#ending) break;
          await this.#readable();
        }
        return finish();
      },
      return: async () => finish(),
    };
  }

  end(): void {
    if (this.#ending || this.#closed) return;
    this.#ending = true;
    this.#finishSubscription?.();
    this.#wake?.();
  }

  close(): void {
    if (this.#closed) return;
    this.#lostAtClose = this.#source.lost();
    this.#closed = true;
    this.#unwatch();
    this.#source.close();
    this.#wake?.();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #take(): T {
    const sample = this.#queue[this.#queueAt++] as T;
    if (this.#queueAt === this.#queue.length) {
      this.#queue = [];
      this.#queueAt = 0;
    }
    return sample;
  }

  #drainQueue(fn: (sample: T) => void, max: number): number {
    let n = 0;
    while (n < max && this.#queueAt < this.#queue.length) {
      n++;
      fn(this.#take());
    }
    return n;
  }

  /** Resolves when the buffer has something to read, or is closed. */
  async #readable(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#watch(() => {
        this.#unwatch();
        resolve();
      });
    });
    this.#wake = undefined;
  }

  #watch(callback: () => void): void {
    this.#unwatch();
    const watches = this.#source.fds.map((fd) => this.#source.kernel.watch(fd, callback));
    this.#watches = watches;
    if (this.#source.pending === undefined) return;
    // What came before the loop has added the descriptor to its epoll is never reported. The next turn's poll adds it,
    // which is over at the second immediate from now.
    setImmediate(() =>
      setImmediate(() => {
        if (this.#watches === watches && watches.length > 0 && this.#source.pending?.() === true) callback();
      }),
    );
  }

  #unwatch(): void {
    for (const watch of this.#watches.splice(0)) watch.close();
  }

  #assertFree(): void {
    if (this.#closed) throw new BpfkitError("CLOSED", "this reader is closed");
    if (this.#reading)
      throw new BpfkitError(
        "BUSY",
        "this reader is being read already: stop that subscription or leave that loop first",
      );
  }
}

/** A decoded sample in the shape of a cursor. */
function cursorOf<T>(sample: T): Cursor<T> {
  const cursor = (typeof sample === "object" && sample !== null ? sample : { value: sample }) as Cursor<T> & {
    toObject?: () => T;
  };
  return cursor.toObject === undefined
    ? (Object.defineProperty(cursor, "toObject", { value: () => sample }) as Cursor<T>)
    : cursor;
}
