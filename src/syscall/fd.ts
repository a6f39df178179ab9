/** Owned file descriptors: closed once, by whoever owns them, whatever happens. */
import { BpfkitError } from "../core/errors.ts";
import type { Kernel } from "./kernel.ts";

/**
 * A file descriptor that belongs to this object. Closing twice is harmless; using it
 * after that throws code "CLOSED" instead of hitting some other file that got the number.
 */
export class Fd {
  readonly what: string;
  readonly #kernel: Kernel;
  #fd: number;

  constructor(kernel: Kernel, fd: number, what: string) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.what = what;
  }

  /** The number. Throws code "CLOSED" when it is closed. */
  get fd(): number {
    if (this.#fd < 0) throw new BpfkitError("CLOSED", `${this.what} is closed`);
    return this.#fd;
  }
  get closed(): boolean {
    return this.#fd < 0;
  }

  close(): void {
    const fd = this.#fd;
    this.#fd = -1;
    if (fd >= 0) this.#kernel.close(fd);
  }

  /** Gives the number away: the caller has to close it from now on. */
  release(): number {
    const fd = this.fd;
    this.#fd = -1;
    return fd;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * What has been acquired so far, newest last. `close()` gives all back in reverse
 * order, even when one of them throws (the first error is rethrown at the end).
 */
export class Owned {
  readonly #things: { close(): void }[] = [];

  own<T extends { close(): void }>(thing: T): T {
    this.#things.push(thing);
    return thing;
  }

  close(): void {
    let first: { error: unknown } | undefined;
    for (const thing of this.#things.splice(0).reverse()) {
      try {
        thing.close();
      } catch (error) {
        first ??= { error };
      }
    }
    if (first !== undefined) throw first.error;
  }

  /** Forgets everything without closing it: the work succeeded and others own it now. */
  disown(): void {
    this.#things.length = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
