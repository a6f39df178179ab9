import fc from "fast-check";
import { BpfkitError } from "../../src/core/index.ts";
import { Elf, FunctionTable, prepareBtf, readObject, writeObject } from "../../src/elf/index.ts";
import { assert, suite } from "../harness.ts";
import { FIXTURES, fixtureBytes } from "./fixtures.ts";

const test = suite("elf hostile input");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 3000);
const LIMIT_MS = 1000;

const objects = FIXTURES.map((f) => fixtureBytes(f));

/** Values that break things more often than random ones. */
const word = fc.constantFrom(
  0,
  1,
  2,
  7,
  8,
  0xff,
  0x7fff,
  0xffff,
  0x10000,
  0x7fff_ffff,
  0x8000_0000,
  0xffff_fff8,
  0xffff_ffff,
);

type Change = { at: number; bytes: number[] };

/** Where headers, symbols and BTF are, so that changes hit them as often as code. */
function interesting(bytes: Uint8Array): number[] {
  const elf = Elf.open(bytes);
  const shoff = Number(elf.header.shoff);
  const places = [16, 18, 40, 58, 60, 62];
  for (const s of elf.sections) {
    for (let k = 0; k < 64; k += 4) places.push(shoff + s.index * 64 + k);
    if (/^\.(symtab|BTF|rel|maps)/.test(s.name)) for (let k = 0; k < s.size; k += 4) places.push(s.offset + k);
  }
  return places.filter((p) => p + 4 <= bytes.length);
}
const places = objects.map(interesting);

const mutated: fc.Arbitrary<Uint8Array> = fc.nat(objects.length - 1).chain((k) => {
  const bytes = objects[k]!;
  const change: fc.Arbitrary<Change> = fc.oneof(
    fc.record({ at: fc.nat(bytes.length - 1), bytes: fc.array(fc.nat(255), { minLength: 1, maxLength: 4 }) }),
    fc.tuple(fc.constantFrom(...places[k]!), word, fc.boolean()).map(([at, value, little]) => {
      const b = new Uint8Array(4);
      new DataView(b.buffer).setUint32(0, value, little);
      return { at, bytes: [...b] };
    }),
    fc.tuple(fc.constantFrom(...places[k]!), fc.nat(255)).map(([at, value]) => ({ at, bytes: [value] })),
  );
  return fc
    .tuple(
      fc.array(change, { minLength: 1, maxLength: 6 }),
      fc.oneof({ arbitrary: fc.constant(null), weight: 7 }, { arbitrary: fc.nat(bytes.length), weight: 1 }),
    )
    .map(([changes, cut]) => {
      const copy = bytes.slice();
      for (const c of changes) copy.set(c.bytes.slice(0, copy.length - c.at), c.at);
      return cut === null ? copy : copy.subarray(0, cut);
    });
});

function onlyTyped(what: string, fn: () => void): boolean {
  const started = performance.now();
  let read = true;
  try {
    fn();
  } catch (error) {
    if (!(error instanceof BpfkitError)) throw error;
    assert.ok(error.message.length > 0);
    read = false;
  }
  const took = performance.now() - started;
  assert.ok(took < LIMIT_MS, `${what} took ${took.toFixed(0)} ms`);
  return read;
}

test(
  "a mutated object gives a collection or a typed error, within a second",
  () => {
    let read = 0;
    let runs = 0;
    fc.assert(
      fc.property(mutated, (bytes) => {
        runs++;
        const ok = onlyTyped("readObject", () => {
          const spec = readObject(bytes, { name: "probe" });
          // What was read must be whole: everything it says can be used.
          for (const p of spec.progs) for (const r of p.refs) assert.ok(r.insn < p.insns.length);
          prepareBtf(spec);
          writeObject(spec);
        });
        if (ok) read++;
      }),
      { numRuns: RUNS },
    );
    // Mutations that break everything, or nothing, would test nothing.
    assert.ok(read > runs / 20 && read < runs * 0.95, `${read} of ${runs} were read`);
  },
  { timeoutMs: 600_000 },
);

test(
  "so does the low-level reader, whatever part is asked for",
  () => {
    fc.assert(
      fc.property(mutated, (bytes) => {
        onlyTyped("Elf", () => {
          const elf = Elf.open(bytes);
          void elf.segments;
          for (const s of elf.sections) {
            onlyTyped("data", () => void elf.data(s));
            onlyTyped("symbols", () => [...elf.symbols(s)].forEach((symbol) => elf.fileOffset(symbol.value)));
            onlyTyped("relocations", () => void elf.relocations(s));
          }
          onlyTyped("notes", () => void elf.buildId());
          onlyTyped("functions", () => {
            const table = new FunctionTable(elf);
            for (const f of table) table.find(f.address);
          });
          onlyTyped("findSymbol", () => void elf.findSymbol("first"));
        });
      }),
      { numRuns: Math.ceil(RUNS / 3) },
    );
  },
  { timeoutMs: 600_000 },
);

test("arbitrary bytes give a typed error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 4096 }), fc.boolean(), (bytes, magic) => {
      if (magic) bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1].slice(0, bytes.length));
      onlyTyped("readObject", () => void readObject(bytes));
    }),
    { numRuns: 500 },
  );
});
