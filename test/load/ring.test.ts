import { availableParallelism } from "node:os";
import { openPerfBuffer, openRingBuffer } from "../../src/load/ring/index.ts";
import { struct, u64 } from "../../src/probe/schema.ts";
import { bpf } from "../../src/syscall/attr.ts";
import { realKernel } from "../../src/syscall/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { perfProducer, type Producer, ringProducer, Sample } from "./ring-programs.ts";

const kernel = realKernel();
const PAGE = 4096;

/** Runs `body` with a ring buffer and reader, and closes both. */
async function withRing(
  size: number,
  body: (p: Producer, open: () => ReturnType<typeof openRingBuffer<typeof Sample>>) => unknown,
): Promise<void> {
  requires({ root: true, kernel: "5.8" });
  const producer = ringProducer(kernel, size);
  const readers: { close(): void }[] = [];
  try {
    await body(producer, () => {
      const reader = openRingBuffer({ kernel, fd: producer.mapFd, size, schema: Sample });
      readers.push(reader);
      return reader;
    });
  } finally {
    for (const r of readers) r.close();
    producer.close();
  }
}

const test = suite("load ring buffer");

test("drain decodes what the program submitted, in order", () =>
  withRing(16 * PAGE, (p, open) => {
    const reader = open();
    p.run(3);
    const got: { seq: bigint; comm: string; pid: number; rest: Uint8Array }[] = [];
    assert.is(
      reader.drain((s) => got.push(s)),
      3,
    );
    assert.equal(
      got.map((s) => s.seq),
      [0n, 1n, 2n],
    );
    assert.is(got[0]?.comm, "bash");
    assert.is(got[0]?.pid, 42);
    assert.is(
      reader.drain(() => assert.unreachable("nothing is left")),
      0,
    );
  }));

test("a cursor sees the same samples, and toObject keeps one", () =>
  withRing(16 * PAGE, (p, open) => {
    const reader = open();
    p.run(2);
    const seqs: bigint[] = [];
    const kept: unknown[] = [];
    reader.drainCursor((c) => {
      seqs.push(c.seq);
      assert.is(c.comm, "bash");
      kept.push(c.toObject());
    });
    assert.equal(seqs, [0n, 1n]);
    assert.is((kept[0] as { seq: bigint }).seq, 0n);
  }));

test("the ring wraps many times without losing or repeating a sample", () =>
  withRing(PAGE, (p, open) => {
    const reader = open();
    let next = 0n;
    for (let round = 0; round < 500; round++) {
      p.run(37);
      assert.is(
        reader.drain((s) => assert.is(s.seq, next++)),
        37,
      );
    }
    assert.is(next, 18_500n);
  }));

test("a full ring refuses samples; what was in it is all read, then it takes new ones", () =>
  withRing(PAGE, (p, open) => {
    const reader = open();
    assert.is(p.run(100), 0);
    // 72 bytes a record; one byte of the ring always stays free.
    const fits = Math.floor((PAGE - 1) / 72);
    assert.is(
      reader.drain(() => {}),
      fits,
    );
    assert.is(p.run(1), 2);
    assert.is(
      reader.drain(() => {}),
      1,
    );
  }));

test("max stops early and the rest stays; a new reader goes on where the last stopped", () =>
  withRing(16 * PAGE, (p, open) => {
    const first = open();
    p.run(10);
    assert.is(
      first.drain(() => {}, 4),
      4,
    );
    first.close();
    const seqs: bigint[] = [];
    open().drain((s) => seqs.push(s.seq));
    assert.equal(seqs, [4n, 5n, 6n, 7n, 8n, 9n]);
  }));

test("a sample on which the callback throws is taken, the others stay", () =>
  withRing(16 * PAGE, (p, open) => {
    const reader = open();
    p.run(3);
    assert.throws(() => {
      reader.drain((s) => {
        if (s.seq === 1n) throw new Error("no");
      });
    }, "no");
    const seqs: bigint[] = [];
    reader.drain((s) => seqs.push(s.seq));
    assert.equal(seqs, [2n]);
  }));

test("closing inside a callback ends the drain without touching unmapped memory", () =>
  withRing(16 * PAGE, (p, open) => {
    const reader = open();
    p.run(5);
    assert.is(
      reader.drain(() => reader.close()),
      1,
    );
    assert.ok(reader.closed);
    reader.close();
    assert.throwsCode(() => reader.drain(() => {}), "CLOSED");
    const seqs: bigint[] = [];
    open().drain((s) => seqs.push(s.seq));
    assert.equal(seqs, [1n, 2n, 3n, 4n]);
  }));

test("on is woken by the descriptor for every sample, also for those that waited", () =>
  withRing(16 * PAGE, async (p, open) => {
    const reader = open();
    p.run(2);
    const seqs: bigint[] = [];
    let enough: () => void = () => {};
    const all = new Promise<void>((resolve) => (enough = resolve));
    const subscription = reader.on((s) => {
      seqs.push(s.seq);
      if (seqs.length < 6) setImmediate(() => p.run(1));
      else enough();
    });
    await all;
    subscription.stop();
    subscription.stop();
    assert.equal(seqs.slice(0, 6), [0n, 1n, 2n, 3n, 4n, 5n]);
    p.run(1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const rest: bigint[] = [];
    reader.drain((s) => rest.push(s.seq));
    assert.is(
      seqs.length + rest.length,
      Number((rest.at(-1) ?? seqs.at(-1) ?? -1n) + 1n),
      "a stopped subscription takes nothing more",
    );
  }));

test("for await: leaving the loop and entering it again loses nothing", () =>
  withRing(64 * PAGE, async (p, open) => {
    const reader = open();
    p.run(1000);
    const seqs: bigint[] = [];
    for await (const s of reader) {
      seqs.push(s.seq);
      if (seqs.length === 10) break;
    }
    for await (const s of reader) {
      seqs.push(s.seq);
      if (seqs.length === 300) break;
    }
    assert.is(
      reader.drain((s) => seqs.push(s.seq)),
      700,
    );
    assert.equal(
      seqs,
      Array.from({ length: 1000 }, (_, i) => BigInt(i)),
    );
  }));

test("for await waits for samples and ends when the reader is closed", () =>
  withRing(16 * PAGE, async (p, open) => {
    const reader = open();
    setTimeout(() => p.run(1), 10);
    const seqs: bigint[] = [];
    for await (const s of reader) {
      seqs.push(s.seq);
      setTimeout(() => reader.close(), 20);
    }
    assert.equal(seqs, [0n]);
  }));

test("a second consumer of a reader in use is refused", () =>
  withRing(16 * PAGE, (_p, open) => {
    const reader = open();
    const subscription = reader.on(() => {});
    assert.throwsCode(() => reader.drain(() => {}), "BUSY");
    assert.throwsCode(() => reader.on(() => {}), "BUSY");
    subscription.stop();
    assert.is(
      reader.drain(() => {}),
      0,
    );
  }));

test("a sample shorter than its schema is an error that says so", () =>
  withRing(16 * PAGE, (p) => {
    const Long = struct(Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`f${i}`, u64])));
    const reader = openRingBuffer({ kernel, fd: p.mapFd, size: 16 * PAGE, schema: Long });
    p.run(1);
    assert.throwsCode(() => reader.drain(() => {}), "SAMPLE_SIZE", /64 bytes came, its schema has 72/);
    reader.close();
  }));

test("without a schema a sample is a copy of its bytes", () =>
  withRing(16 * PAGE, (p) => {
    const reader = openRingBuffer({ kernel, fd: p.mapFd, size: 16 * PAGE });
    p.run(1);
    const got: Uint8Array[] = [];
    reader.drain((b) => got.push(b));
    reader.close();
    assert.is(got[0]?.length, 64);
    assert.is(
      Buffer.from(got[0] ?? [])
        .subarray(32, 36)
        .toString(),
      "bash",
    );
  }));

test("a size that is no power of two is refused by name", () =>
  withRing(16 * PAGE, (p) => {
    assert.throwsCode(
      () => openRingBuffer({ kernel, fd: p.mapFd, size: 5000, schema: Sample }),
      "ARGUMENT",
      /size: expected a power of two/,
    );
  }));

test("opening and closing leaves no descriptor and no mapping", () =>
  withRing(16 * PAGE, async (p) => {
    const { readdirSync, readFileSync } = await import("node:fs");
    const state = (): string =>
      `${readdirSync("/proc/self/fd").length} ${readFileSync("/proc/self/maps", "utf8").split("bpf-map").length}`;
    const before = state();
    for (let i = 0; i < 50; i++) openRingBuffer({ kernel, fd: p.mapFd, size: 16 * PAGE, schema: Sample }).close();
    assert.is(state(), before);
  }));

const perf = suite("load perf buffer");

async function withPerf(
  pages: number,
  body: (p: Producer, reader: ReturnType<typeof openPerfBuffer<typeof Sample>>) => unknown,
): Promise<void> {
  requires({ root: true, kernel: "4.10" });
  const cpus = availableParallelism();
  const producer = perfProducer(kernel, cpus);
  const cpuList = Array.from({ length: cpus }, (_, i) => i);
  const setSlot = (cpu: number, fd: number): void => {
    const key = new Uint8Array(new Uint32Array([cpu]).buffer);
    const value = new Uint8Array(new Uint32Array([fd]).buffer);
    assert.is(bpf(kernel, "MAP_UPDATE_ELEM", { map_fd: producer.mapFd, key, value }), 0);
  };
  const reader = openPerfBuffer({ kernel, cpus: cpuList, pages, setSlot, schema: Sample });
  try {
    await body(producer, reader);
  } finally {
    reader.close();
    producer.close();
  }
}

perf("samples arrive whole and in order, also where the ring wraps", () =>
  withPerf(1, (p, reader) => {
    const seqs = new Set<bigint>();
    for (let round = 0; round < 200; round++) {
      p.run(11);
      reader.drain((s) => {
        assert.is(s.comm, "bash");
        seqs.add(s.seq);
      });
    }
    assert.is(seqs.size, 2200);
    assert.is(reader.lost, 0n);
  }),
);

perf("lost samples are counted", () =>
  withPerf(1, (p, reader) => {
    p.run(200);
    let n = reader.drain(() => {});
    p.run(1); // the kernel reports a loss in front of the next record
    n += reader.drain(() => {});
    assert.ok(reader.lost > 0n);
    assert.is(BigInt(n) + reader.lost, 201n);
  }),
);

perf("for await is woken by the event's descriptor", () =>
  withPerf(8, async (p, reader) => {
    setTimeout(() => p.run(2), 5);
    const seqs: bigint[] = [];
    for await (const s of reader) {
      seqs.push(s.seq);
      if (seqs.length === 2) break;
    }
    assert.equal(seqs, [0n, 1n]);
  }),
);

perf("a sample that comes before the loop's poll knows of it wakes the reader", () =>
  withPerf(8, async (p, reader) => {
    const samples = reader[Symbol.asyncIterator]();
    for (let i = 0; i < 20; i++) {
      const next = samples.next();
      p.run(1);
      assert.is((await next).value?.seq, BigInt(i));
    }
    await samples.return?.();
  }),
);

perf("a cursor works on unaligned records", () =>
  withPerf(8, (p, reader) => {
    p.run(3);
    const seqs: bigint[] = [];
    reader.drainCursor((c) => seqs.push(c.seq));
    assert.equal([...seqs].sort(), [0n, 1n, 2n]);
  }),
);

test("end hands out what is ready, then loops and subscriptions end", () =>
  withRing(16 * PAGE, async (p, open) => {
    const reader = open();
    const seen: bigint[] = [];
    const loop = (async () => {
      for await (const s of reader) seen.push(s.seq);
    })();
    await new Promise((resolve) => setTimeout(resolve, 20));
    p.run(3);
    reader.end();
    await loop;
    assert.equal(seen, [0n, 1n, 2n]);
    assert.is(reader.closed, false);

    const other = open();
    const called: bigint[] = [];
    other.on((s) => called.push(s.seq));
    p.run(2);
    other.end();
    assert.is(called.length, 2);
    p.run(1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.is(called.length, 2);
    // What came later is there for who asks.
    assert.is(
      other.drain(() => undefined),
      1,
    );
    for await (const _ of other) assert.unreachable("nothing is ready");
  }));
