/**
 * uvu with its holes closed: a suite registers itself (one that never runs fails
 * the run), tests have a timeout and a name filter, anything thrown becomes an
 * Error, and a test can skip only through `skip()`, which is counted and shown.
 */
import { suite as uvuSuite } from "uvu";
import * as uvuAssert from "uvu/assert";

const TIMEOUT_MS = Number(process.env["TEST_TIMEOUT_MS"] ?? 60_000);
const FILTER = process.env["TEST_FILTER"] ?? "";

export interface Counts {
  registered: number;
  passed: number;
  failed: number;
  /** Why each skipped test was skipped. */
  skipped: { test: string; reason: string }[];
}
export const counts: Counts = { registered: 0, passed: 0, failed: 0, skipped: [] };

const pending: { title: string; run: () => void }[] = [];

class Skip extends Error {}

/**
 * Ends the running test as skipped. Only `test/kernel.ts` calls this: it names
 * the missing privilege or kernel version.
 */
export function skip(reason: string): never {
  throw new Skip(reason);
}

export type TestFn = (name: string, fn: () => unknown, options?: { timeoutMs?: number }) => void;

/** A group of tests. It needs no `.run()`: `test/run.ts` runs every registered suite. */
export function suite(title: string): TestFn & { before(fn: () => unknown): void; after(fn: () => unknown): void } {
  const s = uvuSuite(title);
  pending.push({ title, run: () => s.run() });
  const test = (name: string, fn: () => unknown, options: { timeoutMs?: number } = {}): void => {
    const full = `${title} › ${name}`;
    if (!full.includes(FILTER)) return;
    counts.registered++;
    s(name, async () => {
      try {
        await withTimeout(fn, options.timeoutMs ?? TIMEOUT_MS);
        counts.passed++;
      } catch (error) {
        if (error instanceof Skip) {
          counts.skipped.push({ test: full, reason: error.message });
          return;
        }
        counts.failed++;
        throw error instanceof Error ? error : new Error(`non-Error thrown: ${String(error)}`);
      }
    });
  };
  const guarded = (fn: () => unknown) => async (): Promise<void> => {
    try {
      await fn();
    } catch (error) {
      counts.failed++;
      throw error;
    }
  };
  test.before = (fn: () => unknown): void => s.before(guarded(fn));
  test.after = (fn: () => unknown): void => s.after(guarded(fn));
  return test;
}

async function withTimeout(fn: () => unknown, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.race([
      (async () => fn())(),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`timed out after ${ms} ms`)), ms);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

/** Hands every registered suite to uvu; returns how many there were. */
export function flush(): number {
  const suites = pending.splice(0);
  for (const s of suites) s.run();
  return suites.length;
}

/** uvu's assertions, and `bytes` with a hex diff, `throwsCode` for typed errors. */
interface Assert extends Readonly<typeof uvuAssert> {
  bytes(actual: Uint8Array, expected: Uint8Array, message?: string): void;
  throwsCode(fn: () => unknown, code: string, message?: RegExp | string): void;
}
export const assert: Assert = {
  ...uvuAssert,
  bytes(actual: Uint8Array, expected: Uint8Array, message?: string): void {
    const hex = (b: Uint8Array): string =>
      Array.from(
        { length: Math.ceil(b.length / 16) },
        (_, i) =>
          `${(i * 16).toString(16).padStart(6, "0")}  ${Buffer.from(b.subarray(i * 16, i * 16 + 16))
            .toString("hex")
            .replace(/../g, "$& ")}`,
      ).join("\n");
    uvuAssert.fixture(hex(actual), hex(expected), message);
  },
  /** `fn` must throw an error whose `code` is `code` and whose message matches. */
  throwsCode(fn: () => unknown, code: string, message?: RegExp | string): void {
    try {
      fn();
    } catch (error) {
      const e = error as { code?: unknown; message?: unknown };
      uvuAssert.is(e.code, code, `expected error code ${code}, got ${String(e.code)}: ${String(e.message)}`);
      if (typeof message === "string") uvuAssert.is(e.message, message);
      else if (message !== undefined) uvuAssert.match(String(e.message), message);
      return;
    }
    uvuAssert.unreachable(`expected an error with code ${code}`);
  },
};
