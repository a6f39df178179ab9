/** Mutated programs give diagnostics or code, never another error. `FUZZ_RUNS` sets how many. */
import { existsSync } from "node:fs";
import fc from "fast-check";
import { BpfkitError } from "../../src/core/errors.ts";
import { assert, suite } from "../harness.ts";
import { compileText, runningBtf, runText } from "./compile-text.ts";

const test = suite("compiler mutations");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 400);

const HEAD = `import { XDP, dynptr, spinLock, timer, userRingbuf, array, be16, char, config, global, hash, histogram, packed, percpuArray, range, ringbuf, stackTrace, struct, u16, u32, u64, u8, s32, s64, xdp, tracepoint, kprobe } from "bpfkit";
const E = struct({ pid: u32, at: u64, comm: char(16), more: array(u32, 4) });
const Eth = packed({ destination: array(u8, 6), source: array(u8, 6), type: be16 });
const m = hash(u32, u64);
const ms = hash(u32, E);
const events = ringbuf(E);
const counts = percpuArray(u64, 4);
const hist = histogram();
const g = global(u32, 0);
const sg = global(s32, 0);
const arr = global(array(u64, 8), []);
const lim = config(u32, 1);
const settings = Object.freeze({ scale: 10, names: ["a", "b"] });
const list = [1, 2, 3];
const jobs = hash(u32, struct({ n: u64, lock: spinLock, job: timer }));
const commands = userRingbuf(u64);
`;
const BODIES = [
  `const e = ms.get(g.value); if (!e) { ms.set(1, { pid: 2, at: 3, comm: "x", more: [1, 2] }); return 0; } e.at += 1; e.more[g.value] = 5; return e.pid;`,
  `let n = 0; for (const i of range(10)) { if (i === 5) continue; n += i * settings.scale; if (n > lim.value) break; } arr.value[n & 7] ^= 1; return n;`,
  `const eth = ctx.packet(Eth); if (!eth || eth.type !== 0x800) return XDP.DROP; const c = counts.get(0); if (c === undefined) return 1; counts.add(0, 1); return XDP.PASS;`,
  `events.emit({ pid: bpf.pid ? 1 : 2, at: bpf.nsecs(), comm: "abc", more: list }); const f = (a, b = 2) => { if (a > b) return a; return b; }; return f(g.value, 3);`,
  `const old = m.get(1) ?? 0; m.set(1, old + 1); const r = ms.get(2)?.at ?? 7; hist.increment(r / 1000); switch (g.value & 3) { case 0: return 1; case 1: g.value++; break; default: m.delete(3); } return 0;`,
  `let e = ms.get(1); while (g.value < 10) { g.value += 1; if (e) { e.pid--; e = ms.get(g.value); } else break; } const s = e ? e.comm === "x" || e.comm.startsWith("y") : false; return s ? 1 : 0;`,
  `const { pid, at } = ms.get(3) ?? E({ pid: 4 }); const [a, b] = [pid, at]; let t = s64(sg.value) >> 3; do { t -= 1; } while (t > 0 && t < 5); return u32(a) + u8(b) - u16(t);`,
  `const j = jobs.get(1); if (!j) return 0; const n = bpf.locked(j.lock, () => { j.n += 1; return j.n > 3 ? 1 : j.n; }); jobs.startTimer(j.job, 1000, (v, key) => { v.n = key; g.value++; }); return n;`,
  `let a = m.get(1); a ??= g.value; arr.value[1] ||= a; const taken = commands.drain((c) => { if (c > 5) return true; g.value += c; }); const e = E({ pid: 1 }); const f = ms.get(2); if (f && (e === f || f.comm.endsWith("x"))) return 1; return taken > 2 ? 1 : 0;`,
  `const k = g.value ? "a" : lim.value > 3 ? "bb" : "c"; let q = "a"; if (k === "bb") q = k; ms.set(1, { pid: 1, at: 2, comm: q, more: [...list] }); switch (q) { case "a": return 1; default: return list.includes(g.value) ? 2 : list.indexOf(3); }`,
  `const r = m.ref(1); if (r) bpf.atomicAdd(r.value, 2); const v = m.get(1) ?? m.get(2); if (v === undefined) return 0; const w = g.value ? ms.get(1) : ms.get(2); return bpf.atomicCompareExchange(g.value, 1, v) + list.map((x) => x + v)[1] + (w?.pid ?? 3);`,
  `const f = (a, ...rest) => { if (a > 3) return { x: a, y: rest.length }; if (a > 2) return { x: 1, y: g.value }; return { x: 2, y: m.get(1) ?? 3 }; }; const { x, y } = f(...list, g.value); const [n] = [x, y]; return list.some((i) => i > n) ? x : y;`,
  `for (const t of bpf.threads(bpf.task())) { const p = t.real_parent; if (p.pid > 3) g.value++; if (t.comm === "x") break; } const d = dynptr(); if (bpf.dynptrFromXdp(ctx, 0, d) < 0) return 1; const h = bpf.at(Eth, bpf.dynptrSlice(d, 0, Eth(), 14)); return h ? h.type : bpf.exists(bpf.task().state) ? 1 : 0;`,
  `const n = bpf.task().mm?.owner?.pid ?? 4; const k = bpf.taskFromPid(n); if (k) bpf.taskRelease(k); let c = 0; for (const v of bpf.vmas(bpf.task())) c += v.vm_end - v.vm_start; bpf.printk(\`n \${n} \${c}\`); return bpf.task().prio > n ? 1 : c;`,
  `for (const i of range(g.value)) { const r = events.reserve(); if (!r) break; r.pid = i; if (i & 1) events.submit(r); else continue; } for (const [k, v] of m) if (v > k) return 1; m.forEach((v, k) => v > 5); return 0;`,
];
const WORDS = [
  "undefined",
  "null",
  "0",
  "1n",
  "-1",
  "0.5",
  "true",
  '"text"',
  "`t${g.value}`",
  "g",
  "g.value",
  "sg.value",
  "m",
  "ms",
  "ms.get(1)",
  "events",
  "E",
  "E({})",
  "list",
  "settings",
  "ctx",
  "bpf",
  "bpf.comm()",
  "range(3)",
  "range(g.value)",
  "(x) => x",
  "{}",
  "[]",
  "u32",
  "XDP",
  "hist",
  "lim.value",
  "arr.value",
  "arr",
  "nope",
  "k",
  "r",
  "v",
  "w",
  "bpf.task()",
  "bpf.task().mm",
  "...list",
  "list.map((x) => x)",
  '"bb"',
  "this",
  "e",
  "n",
  "i",
  "eth",
  "s",
  "t",
  "f",
  "a",
];
const OPERATORS = [
  "+",
  "-",
  "*",
  "/",
  "%",
  "&",
  "|",
  "^",
  "<<",
  ">>",
  ">>>",
  "<",
  ">=",
  "===",
  "!==",
  "&&",
  "||",
  "??",
  "=",
  "+=",
  ".",
  "?.",
  ",",
  ";",
  "(",
  ")",
  "[",
  "]",
  "{",
  "}",
  "!",
  "~",
  "return",
  "if",
  "for",
  "of",
  "let",
  "const",
  "?",
  ":",
  "=>",
];

/** One edit: replace, delete, insert or swap tokens. */
const edit = fc.record(
  { at: fc.nat(), kind: fc.nat(4), word: fc.constantFrom(...WORDS), operator: fc.constantFrom(...OPERATORS) },
  { noNullPrototype: true },
);

function mutate(body: string, edits: readonly { at: number; kind: number; word: string; operator: string }[]): string {
  const tokens = body.match(/[\w$]+|"[^"]*"|`[^`]*`|\s+|[^\s\w]/g) ?? [];
  const isWord = (t: string): boolean => /^[\w$"`]/.test(t);
  for (const e of edits) {
    const i = e.at % tokens.length;
    const t = tokens[i] ?? "";
    if (e.kind === 0) tokens[i] = isWord(t) ? e.word : e.operator;
    else if (e.kind === 1) tokens.splice(i, 1);
    else if (e.kind === 2) tokens.splice(i, 0, ` ${isWord(t) ? e.operator : e.word} `);
    else if (e.kind === 3) tokens[i] = tokens[(e.at >>> 3) % tokens.length] ?? "";
    else tokens[i] = isWord(t) ? e.word : t;
    if (tokens.length === 0) break;
  }
  return tokens.join("");
}

/** Kernel types, where there are any. */
const types = existsSync("/sys/kernel/btf/vmlinux") ? { btf: runningBtf() } : {};

test(
  "only diagnostics come out",
  () => {
    let compiledOnes = 0;
    let reported = 0;
    const details = fc.check(
      fc.property(
        fc.constantFrom(...BODIES),
        fc.array(edit, { minLength: 1, maxLength: 3 }),
        fc.nat(2),
        (body, edits, where) => {
          const program = [
            "xdp((ctx, bpf) =>",
            "kprobe('x', (ctx, bpf) =>",
            'tracepoint("syscalls:sys_enter_openat", (ctx, bpf) =>',
          ][where]!;
          const text = `${HEAD}export const p = ${program} { ${mutate(body, edits)} });`;
          try {
            runText(text);
          } catch {
            return; // not JavaScript any more
          }
          try {
            const { result, diagnostics } = compileText(text, /task|tasks|kernel/.test(text) ? types : {});
            if (result === undefined) {
              reported++;
              assert.ok(
                diagnostics.some((d) => d.severity === "error"),
                "no result without an error",
              );
              for (const d of diagnostics)
                assert.ok(d.labels.length > 0 && !/\{\w+\}/.test(d.message), `${d.code}: ${d.message}`);
            } else {
              compiledOnes++;
            }
          } catch (error) {
            if (error instanceof BpfkitError) return;
            throw new Error(`${(error as Error).stack}\n${text.slice(HEAD.length)}`, { cause: error });
          }
        },
      ),
      { numRuns: RUNS, endOnFailure: true },
    );
    if (details.failed)
      throw new Error(`seed ${details.seed}, run ${details.numRuns}: ${(details.errorInstance as Error).message}`, {
        cause: details.errorInstance,
      });
    assert.ok(
      RUNS < 100 || (compiledOnes > 0 && reported > RUNS / 20),
      `${compiledOnes} compiled, ${reported} reported`,
    );
  },
  { timeoutMs: 30_000 + RUNS * 30 },
);
