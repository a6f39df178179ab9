/** The kernel's own selftests, compiled and loaded (directory `CORPUS`): every instruction and every log line. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { checkInsn, decodeInsns, disassemble, insnSlots, parseAsm, printInsn } from "../../src/asm/index.ts";
import type { Insn } from "../../src/asm/index.ts";
import * as oracle from "./kernel-oracle.ts";

const test = suite("asm on the selftests");
/** Every Nth recorded load is looked at. */
const STEP = Number(process.env["CORPUS_STEP"] ?? 10);

interface Recorded {
  readonly insns: string;
  readonly kfuncs: readonly { readonly insn: number; readonly name?: string; readonly btf_id?: number }[];
}

function* loads(): Generator<{ name: string; insns: Insn[]; load: Recorded; log: string | undefined }> {
  const corpus = process.env["CORPUS"]!;
  let n = 0;
  for (const suite of readdirSync(join(corpus, "loads")).sort()) {
    for (const object of readdirSync(join(corpus, "loads", suite)).sort()) {
      for (const file of readdirSync(join(corpus, "loads", suite, object)).sort()) {
        if (n++ % STEP !== 0) continue;
        const name = join(suite, object, file.replace(/\.json$/, ""));
        const load = JSON.parse(readFileSync(join(corpus, "loads", `${name}.json`), "utf8")) as Recorded;
        const bytes = Uint8Array.from(load.insns.match(/../g)!, (hex) => Number.parseInt(hex, 16));
        const log = join(corpus, "logs", `${name}.l2.log.gz`);
        yield {
          name,
          insns: decodeInsns(bytes),
          load,
          log: existsSync(log) ? gunzipSync(readFileSync(log)).toString("utf8") : undefined,
        };
      }
    }
  }
}

test("every program's text parses back to the same slots", () => {
  requires({ env: "CORPUS" });
  let programs = 0;
  for (const { name, insns } of loads()) {
    programs++;
    if (insns.length > 20_000) continue;
    assert.equal(parseAsm(disassemble(insns, { labels: true })), insns, name);
    assert.equal(parseAsm(disassemble(insns)), insns, name);
  }
  assert.ok(programs > 1000 / STEP, `${programs} programs`);
});

test("the verifier's log has our text, at every instruction it shows", () => {
  requires({ env: "CORPUS" });
  let lines = 0;
  const opcodes = new Set<number>();
  for (const { name, insns, log } of loads()) {
    if (log === undefined) continue;
    // The first line of a log too long to keep is torn.
    for (const [slot, theirs] of oracle.logTexts(log.slice(log.indexOf("\n")))) {
      const insn = insns[slot];
      // The log goes on after a rejected load of another version of the program.
      if (insn === undefined) continue;
      const ours = printInsn(insns, slot, {
        kfuncName: () => /^call ([^#]*)#/.exec(theirs)?.[1],
        symbol: () => undefined,
      });
      // Addresses of maps, variables and callbacks are not the program's.
      if (insnSlots(insn) === 2 && insn.src !== 0) {
        assert.match(theirs, new RegExp(`^r${insn.dst} = 0x[0-9a-f]+$`), name);
        continue;
      }
      lines++;
      opcodes.add(insn.opcode);
      if (checkInsn(insns, slot) !== undefined) continue;
      assert.is(ours, theirs, `${name} ${slot}`);
    }
  }
  assert.ok(lines > 50_000 / STEP, `${lines} lines`);
  assert.ok(opcodes.size > 100, `${opcodes.size} opcodes`);
});
