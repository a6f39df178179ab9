/**
 * The verifier simulator against the running kernel's own `verification time` of the same load (log level 4), in turns,
 * single-threaded, over the 40 accepted programs of the corpus with most processed instructions. `CORPUS` names the
 * corpus. Figures are the least of several runs: both sides are disturbed by whatever else runs on the machine.
 *
 * - `time`: limits are 3× for the geometric mean and 8× for the worst
 * - `cold`: the first verification of a process, programs of about 1,000 lines of C; limit 100 ms
 * - `corpus`: every program of the corpus once; limit 240 s
 * - `growth`: time per instruction at 100,000 instructions against 1,000
 * - `rss`: peak resident set over all of `time`; limit 1 GiB
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { type Row, median, row, withGeomean } from "./row.ts";

const PROGRAMS = 40;
const COLD = [
  "progs/test_cls_redirect/cls_redirect",
  "progs/profiler1/tracepoint__syscalls__sys_enter_kill",
  "progs-v4/xdp_synproxy_kern/syncookie_xdp",
];

export async function run(): Promise<Row[]> {
  if ((process.env["CORPUS"] ?? "") === "") throw new Error("CORPUS must name the corpus of recorded loads");
  const folder = mkdtempSync(join(import.meta.dirname, "..", "node_modules", ".bpfkit-bench-"));
  try {
    // Bundled, as the published package is; beside node_modules, so that koffi is found.
    const child = join(folder, "child.mjs");
    await build({
      entryPoints: [join(import.meta.dirname, "verifier-child.lib.ts")],
      outfile: child,
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node20.19",
      external: ["koffi"],
      logLevel: "error",
    });
    return measure((...args) => {
      const { status, stdout } = spawnSync(process.execPath, [child, ...args], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "inherit"],
      });
      if (status !== 0) throw new Error(`${args.join(" ")}: exit code ${status}`);
      return stdout
        .trimEnd()
        .split("\n")
        .map((l) => JSON.parse(l) as Record<string, number> & { name: string });
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function measure(child: (...args: string[]) => (Record<string, number> & { name: string })[]): Row[] {
  const programs = child("top", `${PROGRAMS}`);
  const memory = programs.pop()!;
  const rows = programs.map((p) => row("verifier", p.name, "time", "ms", p["ours"]!, p["kernel"]!, "kernel"));
  const worst = rows.reduce((w, r) => (r.ratio > w.ratio ? r : w));
  const cold = COLD.map((name) => {
    const ms = median(Array.from({ length: 5 }, () => child("cold", name)[0]!["ms"]!));
    return row("verifier", name, "cold", "ms", ms, 100, "limit");
  });
  const corpus = child("corpus")[0]!;
  const growth = child("growth")[0]!;
  return [
    ...withGeomean(rows),
    { ...worst, case: `worst: ${worst.case}` },
    ...cold,
    row("verifier", `${corpus["programs"]!} programs`, "corpus", "s", corpus["ms"]! / 1000, 240, "limit"),
    row("verifier", "100,000 insns", "growth", "ns/insn", growth["large"]!, growth["small"]!, "1,000 insns"),
    row("verifier", `top ${PROGRAMS}`, "rss", "MiB", memory["rssMiB"]!, 1024, "limit"),
  ];
}
