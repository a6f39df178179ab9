/** Map access against C on libbpf: one look-up, and a whole hash by batch look-up. */
import { execFileSync } from "node:child_process";
import { load } from "../src/load/index.ts";
import { u32, u64 } from "../src/probe/schema.ts";
import { realKernel } from "../src/syscall/index.ts";
import { BPF_MAP_TYPE } from "../src/uapi/index.ts";
import { idOf } from "./ids.lib.ts";
import { median, type Row, row } from "./row.ts";

const ENTRIES = 10_000;
const ROUNDS = 21;

export function mapRows(c: string): Row[] {
  const kernel = realKernel();
  using collection = load(
    {
      name: "bench",
      endian: "little",
      license: "GPL",
      kernelVersion: 0,
      btf: undefined,
      progs: [],
      sources: new Map(),
      maps: [
        {
          name: "table",
          type: BPF_MAP_TYPE.HASH,
          keySize: 4,
          valueSize: 8,
          maxEntries: ENTRIES,
          flags: 0,
          mapExtra: 0n,
          numaNode: undefined,
          btfKeyTypeId: 0,
          btfValueTypeId: 0,
          structOps: undefined,
          inner: undefined,
          initialSlots: [],
          data: undefined,
          frozen: false,
          pinning: "none",
          variables: [],
        },
      ],
    },
    { schemas: new Map([["table", { key: u32, value: u64 }]]) },
  );
  const map = collection.map<number, bigint>("table");
  for (let i = 0; i < ENTRIES; i++) map.set(i, BigInt(i));
  const id = String(idOf(kernel, map.fd, "map"));
  const ns = (mode: string): number =>
    Number(
      execFileSync(c, [mode, id, String(ENTRIES)], { encoding: "utf8" })
        .trim()
        .split(" ")[1],
    );

  const lookup = { ours: [] as number[], theirs: [] as number[] };
  const batch = { ours: [] as number[], theirs: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    lookup.theirs.push(ns("lookup") / ENTRIES);
    let start = process.hrtime.bigint();
    let found = 0;
    for (let i = 0; i < ENTRIES; i++) if (map.get(i) !== undefined) found++;
    lookup.ours.push(Number(process.hrtime.bigint() - start) / found);

    batch.theirs.push(ns("batch"));
    start = process.hrtime.bigint();
    const entries = map.toArray();
    batch.ours.push(Number(process.hrtime.bigint() - start) * (ENTRIES / entries.length));
  }
  return [
    row("ringbuf", `hash of ${ENTRIES}`, "map-lookup", "ns", median(lookup.ours), median(lookup.theirs), "libbpf (C)"),
    row("ringbuf", `hash of ${ENTRIES}`, "map-batch", "ns", median(batch.ours), median(batch.theirs), "libbpf (C)"),
  ];
}
