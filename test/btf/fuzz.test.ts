/** Damaged BTF gives typed errors only, in bounded time. `FUZZ_RUNS` sets how many inputs. */
import fc from "fast-check";
import {
  alignOf,
  Btf,
  BtfBuilder,
  CoreResolver,
  dedupBtf,
  dumpC,
  dumpTs,
  findMember,
  parseBtfExt,
  resolve,
  sizeOf,
  writeBtfExt,
} from "../../src/btf/index.ts";
import { BpfkitError, DecodeError } from "../../src/core/index.ts";
import { assert, suite } from "../harness.ts";
import { buildFrom, damage, damages, typeSpecs } from "./arbitrary.ts";

const test = suite("btf damaged input");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 800);

/** Runs `fn`; a `DecodeError` (or another typed error) is fine, anything else is not, nor is more than a second. */
function typed(what: string, fn: () => void): void {
  const start = process.cpuUsage();
  try {
    fn();
  } catch (error) {
    if (!(error instanceof BpfkitError)) throw new Error(`${what}: ${String(error)}`, { cause: error });
    if (error instanceof DecodeError) assert.ok(error.offset >= 0 && error.what !== "", what);
  }
  // Processor time: other processes on the machine do not count.
  const ms = process.cpuUsage(start).user / 1000;
  assert.ok(ms < 1000, `${what} took ${ms.toFixed(0)} ms`);
}

function useAll(btf: Btf): void {
  typed("validate", () => btf.validate());
  for (let id = 0; id < btf.typeCount; id++) {
    typed("decode", () => btf.typeById(id));
    typed("resolve", () => resolve(btf, id));
    typed("sizeOf", () => sizeOf(btf, id));
    typed("alignOf", () => alignOf(btf, id));
    typed("findMember", () => findMember(btf, id, "len"));
    typed("name", () => btf.findIds(btf.nameOf(id)));
  }
  typed("dumpC", () => dumpC(btf));
  typed("dumpTs", () => dumpTs(btf));
  typed("dedup", () => dedupBtf(btf));
}

function relocateAll(local: Btf, target: Btf): void {
  const resolver = new CoreResolver([target]);
  for (let typeId = 0; typeId < local.typeCount + 1; typeId++) {
    for (let kind = 0; kind < 14; kind++) {
      for (const access of ["0", "0:0", "0:1:0", "1:2:3"]) {
        typed(`relocation ${kind}`, () => resolver.resolve(local, { insn: 0, typeId, access, kind }));
      }
    }
  }
}

test("BTF", () => {
  fc.assert(
    fc.property(typeSpecs, damages, fc.constantFrom("little" as const, "big" as const), (specs, list, endian) => {
      const bytes = damage(buildFrom(specs, endian), list);
      typed("parse", () => useAll(Btf.parse(bytes)));
    }),
    { numRuns: RUNS },
  );
});

test("BTF in CO-RE relocations, on both sides", () => {
  fc.assert(
    fc.property(typeSpecs, damages, (specs, list) => {
      const whole = Btf.parse(buildFrom(specs));
      typed("relocate", () => {
        const damaged = Btf.parse(damage(whole.bytes, list));
        relocateAll(damaged, whole);
        relocateAll(whole, damaged);
        relocateAll(damaged, damaged);
      });
    }),
    { numRuns: Math.ceil(RUNS / 8) },
  );
});

test(".BTF.ext", () => {
  const builder = new BtfBuilder();
  const int = builder.int("int", 4, { signed: true });
  const ext = writeBtfExt(
    {
      funcs: [{ section: "xdp", records: [{ insnOff: 0, typeId: int }] }],
      lines: [{ section: "xdp", records: [{ insnOff: 0, file: "a.ts", text: "return 1", line: 3, col: 5 }] }],
      coreRelos: [{ section: "xdp", records: [{ insnOff: 8, typeId: int, access: "0", kind: 8 }] }],
    },
    builder,
  );
  const btf = builder.build();
  fc.assert(
    fc.property(damages, (list) => typed("parseBtfExt", () => void parseBtfExt(damage(ext, list), btf))),
    { numRuns: RUNS * 2 },
  );
});
