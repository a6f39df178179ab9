/**
 * The kernel's own selftests: every program that libbpf's loader got accepted is accepted
 * from here, and every one refused is refused, exceptions listed with their cause. The
 * verdicts were recorded on the kernel named in the corpus. `CORPUS_STEP=1` tries all.
 */
import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { readObject } from "../../src/elf/index.ts";
import { load } from "../../src/load/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("load corpus");
const STEP = Number(process.env["CORPUS_STEP"] ?? 23);

/** Outcomes that are no disagreement about a program, by code, with the cause. */
const EXPLAINED: Readonly<Record<string, string>> = {
  NOT_SUPPORTED: "struct_ops maps and freplace programs",
  SECTION: "the section names no program type; the recording guessed it",
  KSYM: "the recording weakened externs that this kernel lacks",
};
const OBJECTS: Readonly<Record<string, string>> = {
  htab_mem_bench: "its maps get their sizes from the test's C code",
  bpf_hashmap_lookup: "its maps get their sizes from the test's C code",
  bloom_filter_bench: "its maps get their sizes from the test's C code",
  test_map_in_map: "the inner map is set by the test's C code",
  test_map_in_map_invalid: "the inner map is set by the test's C code",
  test_select_reuseport_kern: "the inner map is set by the test's C code",
  test_mmap: "its maps get their sizes from the test's C code",
  verifier_bitfield_write: "relocated against types of the test, not of the kernel",
  linked_funcs1: "has to be linked first",
  linked_funcs2: "has to be linked first",
  verifier_direct_packet_access: "one program needs a flag that the recording set",
};

interface Truth {
  readonly suite: string;
  readonly object: string;
  readonly program: string;
  readonly verdict: "accept" | "reject" | "env";
}

test(
  "verdicts equal those of the recorded loads",
  () => {
    requires({ root: true, kernel: "6.18", env: "CORPUS" });
    const root = process.env["CORPUS"] ?? "";
    const truth = readFileSync(join(root, "truth.jsonl"), "utf8").trim().split("\n");
    const rows = truth
      .map((line) => JSON.parse(line) as Truth)
      .filter((r) => r.suite === "progs" && r.verdict !== "env");
    const wrong: string[] = [];
    let compared = 0;
    for (const row of rows.filter((_, i) => i % STEP === 0)) {
      const file = join(root, "progs", `${row.object}.o`);
      if (OBJECTS[row.object] !== undefined || !existsSync(file)) continue;
      let got = "accept";
      try {
        load(readObject(readFileSync(file), { name: row.object }), { programs: [row.program] }).close();
      } catch (error) {
        const code = (error as { code?: string }).code ?? String(error);
        if (EXPLAINED[code] !== undefined) continue;
        got = code === "VERIFIER" ? "reject" : code;
      }
      compared++;
      if (got !== row.verdict)
        wrong.push(`${row.object}/${row.program}: ${row.verdict} there, ${got} here (${release()})`);
    }
    assert.equal(wrong, []);
    assert.ok(compared > rows.length / STEP / 2, `${compared} programs compared`);
  },
  { timeoutMs: 600_000 },
);
