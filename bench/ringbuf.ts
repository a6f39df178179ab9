/**
 * Events and maps against C on libbpf, in one run: 64-byte samples, rounds alternate.
 *
 * - `drain-cursor`, `drain-objects`: 900,000 ready samples, events/s
 * - `live-objects`: a producer on CPU 0 with back-pressure, no drops, events/s
 * - `wakeup-p50`: from the program's clock to our callback at one event a millisecond
 * - `map-lookup`: one look-up in a hash of 10,000; `map-batch`: all of it to entries
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { type EventReader, openRingBuffer } from "../src/load/ring/index.ts";
import { realKernel } from "../src/syscall/index.ts";
import { struct, u32, u64 } from "../src/probe/schema.ts";
import { NO_WAKEUP, ringProducer } from "../test/load/ring-programs.ts";
import { mapRows } from "./maps.lib.ts";
import { compileC } from "./c.lib.ts";
import { idOf } from "./ids.lib.ts";
import { median, type Row, row } from "./row.ts";

const READY = 900_000;
const RING = 2 ** 26;
const LIVE = 3_000_000;
const LIVE_RING = 2 ** 20;
const ROUNDS = 5;
const WARM_UP = 2;
const LATENCIES = 1000;

/** The six fields that both sides read of a sample's 64 bytes. */
const Sample = struct({ seq: u64, at: u64, pid: u32, cpu: u32, kind: u32, size: u32 });

type SampleReader = EventReader<{ seq: bigint; at: bigint; pid: number; cpu: number; kind: number; size: number }>;

export async function run(): Promise<Row[]> {
  const c = compileC("ringbuf");
  return [...drainRows(c), await liveRow(c), await wakeupRow(c), ...mapRows(c)];
}

function rate(output: string): number {
  const [events, ns] = output.trim().split("\n").at(-1)?.split(" ").map(Number) ?? [];
  return ((events ?? 0) / (ns ?? 1)) * 1e9;
}

function drainRows(c: string): Row[] {
  const kernel = realKernel();
  // A ring of its own for each side: a reader keeps its position, and its compiled code.
  const theirs = ringProducer(kernel, RING, NO_WAKEUP);
  const ours = ringProducer(kernel, RING, NO_WAKEUP);
  const mapId = idOf(kernel, theirs.mapFd, "map");
  const reader = openRingBuffer({ kernel, fd: ours.mapFd, size: RING, schema: Sample });
  const rates = { c: [] as number[], cursor: [] as number[], objects: [] as number[] };
  const words = new Float64Array(1);
  const longs = new BigInt64Array(1);
  const add = (s: Readonly<Record<"pid" | "cpu" | "kind" | "size", number> & Record<"seq" | "at", bigint>>): void => {
    words[0]! += s.pid + s.cpu + s.kind + s.size;
    longs[0]! += s.seq + s.at;
  };
  const addObject: typeof add = (s) => {
    words[0]! += s.pid + s.cpu + s.kind + s.size;
    longs[0]! += s.seq + s.at;
  };
  const timed = (drain: () => number): number => {
    ours.run(READY);
    const start = process.hrtime.bigint();
    const n = drain();
    return (n / Number(process.hrtime.bigint() - start)) * 1e9;
  };
  try {
    for (let round = 0; round < WARM_UP + ROUNDS; round++) {
      theirs.run(READY);
      const cRate = rate(execFileSync(c, ["drain", String(mapId)], { encoding: "utf8" }));
      const cursor = timed(() => reader.drainCursor(add));
      const objects = timed(() => reader.drain(addObject));
      if (round < WARM_UP) continue; // V8 compiles
      rates.c.push(cRate);
      rates.cursor.push(cursor);
      rates.objects.push(objects);
    }
  } finally {
    reader.close();
    theirs.close();
    ours.close();
  }
  const rival = median(rates.c);
  return [
    row(
      "ringbuf",
      `${READY} samples of 64 bytes`,
      "drain-cursor",
      "events/s",
      median(rates.cursor),
      rival,
      "libbpf (C)",
    ),
    row(
      "ringbuf",
      `${READY} samples of 64 bytes`,
      "drain-objects",
      "events/s",
      median(rates.objects),
      rival,
      "libbpf (C)",
    ),
  ];
}

async function liveRow(c: string): Promise<Row> {
  const kernel = realKernel();
  const producer = ringProducer(kernel, LIVE_RING, 0, (LIVE_RING / 4) * 3);
  const mapId = idOf(kernel, producer.mapFd, "map");
  const progId = idOf(kernel, producer.progFd, "prog");
  const ours: number[] = [];
  const theirs: number[] = [];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const reader = spawn(c, ["live", String(mapId), String(LIVE)], { stdio: ["ignore", "pipe", "inherit"] });
      let text = "";
      reader.stdout.on("data", (d: Buffer) => (text += d.toString()));
      await once(() => text.includes("ready"));
      let load = startProducer(c, progId);
      await new Promise((resolve) => reader.on("exit", resolve));
      await stop(load);
      theirs.push(rate(text));

      const mine = openRingBuffer({ kernel, fd: producer.mapFd, size: LIVE_RING, schema: Sample });
      mine.drain(() => {});
      load = startProducer(c, progId);
      ours.push(await countEvents(mine, LIVE));
      await stop(load);
      mine.drain(() => {});
      mine.close();
    }
  } finally {
    producer.close();
  }
  return row(
    "ringbuf",
    `${LIVE} samples of 64 bytes`,
    "live-objects",
    "events/s",
    median(ours),
    median(theirs),
    "libbpf (C)",
  );
}

/** Events per second from the first to the last of `count`. */
function countEvents(reader: SampleReader, count: number): Promise<number> {
  return new Promise((resolve) => {
    let n = 0;
    let start = 0n;
    const words = new Float64Array(1);
    const subscription = reader.on((s) => {
      if (n === 0) start = process.hrtime.bigint();
      words[0] = (words[0] ?? 0) + s.pid + s.cpu + s.kind + s.size;
      if (++n !== count) return;
      subscription.stop();
      resolve((count / Number(process.hrtime.bigint() - start)) * 1e9);
    });
  });
}

async function wakeupRow(c: string): Promise<Row> {
  const kernel = realKernel();
  const producer = ringProducer(kernel, LIVE_RING);
  const mapId = idOf(kernel, producer.mapFd, "map");
  const progId = idOf(kernel, producer.progFd, "prog");
  const ours: number[] = [];
  const theirs: number[] = [];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const reader = spawn(c, ["wakeup", String(mapId), String(LATENCIES)], { stdio: ["ignore", "pipe", "inherit"] });
      let text = "";
      reader.stdout.on("data", (d: Buffer) => (text += d.toString()));
      await once(() => text.includes("ready"));
      const pace = (): ChildProcess =>
        spawn(c, ["pace", String(progId), String(LATENCIES), "1000"], { stdio: "inherit" });
      pace();
      await new Promise((resolve) => reader.on("exit", resolve));
      theirs.push(Number(text.trim().split(" ").at(-1)));

      const mine = openRingBuffer({ kernel, fd: producer.mapFd, size: LIVE_RING, schema: Sample });
      mine.drain(() => {});
      pace();
      ours.push(median(await latencies(mine, LATENCIES)));
      mine.close();
    }
  } finally {
    producer.close();
  }
  return row("ringbuf", "1 event a millisecond", "wakeup-p50", "ns", median(ours), median(theirs), "libbpf (C)");
}

function latencies(reader: SampleReader, count: number): Promise<number[]> {
  return new Promise((resolve) => {
    const all: number[] = [];
    const subscription = reader.on((s) => {
      all.push(Number(process.hrtime.bigint() - s.at));
      if (all.length !== count) return;
      subscription.stop();
      resolve(all);
    });
  });
}

function startProducer(c: string, progId: number): ChildProcess {
  return spawn(c, ["produce", String(progId), "0"], { stdio: ["pipe", "inherit", "inherit"] });
}

async function stop(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.on("exit", resolve));
  child.stdin?.end();
  await gone;
}

async function once(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}
