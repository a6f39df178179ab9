/**
 * Measurements of the verifier in a process of its own, one JSON object a line.
 *
 * `top N`: the N accepted programs of the corpus with most processed instructions, ours and the kernel's verification
 * in turns; `cold SUITE/OBJECT/PROGRAM`: the first verification of a process; `corpus`: every program once;
 * `growth`: one program at two lengths.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as b from "../src/asm/index.ts";
import type { Insn } from "../src/asm/index.ts";
import { realKernel } from "../src/syscall/index.ts";
import { verify } from "../src/verifier/verify.ts";
import { bare } from "../test/verifier/bare.ts";
import { Corpus, type JsonLoad, type Truth } from "../test/verifier/corpus.ts";
import { LiveLoad } from "../test/verifier/live-load.ts";
import { median } from "./row.ts";

const [mode = "", argument = ""] = process.argv.slice(2);
const print = (value: object): void => console.log(JSON.stringify(value));
const nameOf = (t: Truth): string => `${t.suite}/${t.object}/${t.program}`;
const timed = (what: () => void): number => {
  const start = performance.now();
  what();
  return performance.now() - start;
};

function kernelMs(live: LiveLoad): number {
  const { log } = live.verify(4);
  const us = /^verification time (\d+) usec$/m.exec(log)?.[1];
  if (us === undefined) throw new Error(`the kernel's log has no verification time: ${log.slice(0, 200)}`);
  return Number(us) / 1000;
}

/** Rounds until both sides have run for a while: short programs are repeated more often. */
const roundsFor = (ms: number): number => Math.max(3, Math.min(15, Math.ceil(1500 / ms)));

function top(corpus: Corpus, count: number): void {
  const kernel = realKernel();
  const programs = corpus.truth
    .filter((t) => t.verdict === "accept" && t.load_path !== null)
    .sort((x, y) => (y.insns_processed ?? 0) - (x.insns_processed ?? 0))
    .slice(0, count);
  for (const t of programs) {
    const json = JSON.parse(readFileSync(join(corpus.dir, t.load_path!), "utf8")) as JsonLoad;
    const load = corpus.toLoad(json);
    const live = new LiveLoad(kernel, json);
    try {
      const ours: number[] = [];
      const theirs: number[] = [];
      const first = timed(() => verify(load, { logLevel: 4 }));
      for (let i = roundsFor(first); i > 0; i--) {
        theirs.push(kernelMs(live));
        ours.push(timed(() => verify(load, { logLevel: 4 })));
      }
      print({
        name: nameOf(t),
        insns: t.insns_processed,
        ours: Math.min(...ours),
        kernel: Math.min(...theirs),
        median: median(ours),
        kernelMedian: median(theirs),
      });
    } finally {
      live.close();
    }
  }
  print({ rssMiB: process.resourceUsage().maxRSS / 1024 });
}

function cold(corpus: Corpus, name: string): void {
  const load = corpus.load(corpus.truth.find((t) => nameOf(t) === name)!);
  print({ ms: timed(() => verify(load, { logLevel: 4 })), rssMiB: process.resourceUsage().maxRSS / 1024 });
}

function whole(corpus: Corpus): void {
  const programs = corpus.truth.filter((t) => t.verifier_ran && t.load_path !== null && t.verdict !== "env");
  const ms = timed(() => {
    for (const t of programs) verify(corpus.load(t), { logLevel: 4 });
  });
  print({ programs: programs.length, ms, rssMiB: process.resourceUsage().maxRSS / 1024 });
}

/** Branches whose paths meet again, stores and loads of the stack: `blocks` times. */
function blocks(count: number): Insn[] {
  const out: Insn[] = [b.mov64Imm(7, 0)];
  for (let i = 0; i < count; i++) {
    out.push(
      b.stxMem("dw", 10, 7, -8 * (1 + (i & 7))),
      b.callHelper(7),
      b.jmpImm("jset", 0, 1 << (i & 15), 1),
      b.add64Imm(7, i & 0xff),
      b.ldxMem("dw", 7, 10, -8 * (1 + (i & 7))),
      b.alu64Imm("and", 7, 0xff),
    );
  }
  return [...out, b.mov64Imm(0, 0), b.exit()];
}

function growth(): void {
  const sizes = [200, 20_000].map((n) => bare(blocks(n)));
  const perInsn = sizes.map((load) => {
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 5; round++) {
      let processed = 0;
      const ms = timed(() => {
        while (processed < 100_000) processed += verify(load, { logLevel: 4 }).insnsProcessed;
      });
      best = Math.min(best, (ms * 1e6) / processed);
    }
    return best;
  });
  print({ small: perInsn[0], large: perInsn[1] });
}

if (mode === "growth") growth();
else {
  const corpus = new Corpus(process.env["CORPUS"]!);
  if (mode === "top") top(corpus, Number(argument));
  else if (mode === "cold") cold(corpus, argument);
  else whole(corpus);
}
