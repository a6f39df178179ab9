/**
 * The kernel's BTF: opened and indexed against libbpf's `btf__load_vmlinux_btf`, one type by name cold
 * (limit 1.5 ms), and `vmlinux.h` against bpftool, whole processes. Each figure is the median of
 * fresh processes that take turns. Needs gcc, libbpf-dev and bpftool.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { compileC } from "./c.lib.ts";
import { median, row, type Row } from "./row.ts";

const RUNS = 15;
const BPFTOOL = "/usr/sbin/bpftool";
const VMLINUX = "/sys/kernel/btf/vmlinux";

export async function run(): Promise<Row[]> {
  const root = join(import.meta.dirname, "..");
  const folder = mkdtempSync(join(root, "node_modules", ".bpfkit-bench-"));
  try {
    // Bundled, as the published package is; beside node_modules, so that koffi is found.
    const child = join(folder, "child.mjs");
    await build({
      entryPoints: [join(import.meta.dirname, "btf-child.lib.ts")],
      outfile: child,
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node20.19",
      external: ["koffi"],
      logLevel: "error",
    });
    const libbpf = compileC("btf_load");
    const opens: { ours: number; theirs: number }[] = [];
    const names: number[] = [];
    const measure = (what: string): number =>
      Number(execFileSync(process.execPath, [child, what], { encoding: "utf8" }));
    const headers: { ours: number; theirs: number }[] = [];
    for (let i = 0; i < RUNS; i++) {
      const rival = JSON.parse(execFileSync(libbpf, { encoding: "utf8" })) as { open: number };
      opens.push({ ours: measure("open"), theirs: rival.open });
      names.push(measure("name"));
      headers.push({
        ours: wall(process.execPath, [child, "header"]),
        theirs: wall(BPFTOOL, ["btf", "dump", "file", VMLINUX, "format", "c"]),
      });
    }
    const open = (side: "ours" | "theirs"): number => median(opens.map((o) => o[side]));
    return [
      row("btf", "vmlinux", "open", "ms", open("ours"), open("theirs"), "libbpf btf__load_vmlinux_btf"),
      row("btf", "task_struct", "name-cold", "ms", median(names), 1.5, "limit"),
      row(
        "btf",
        "vmlinux.h",
        "process",
        "ms",
        median(headers.map((h) => h.ours)),
        median(headers.map((h) => h.theirs)),
        "bpftool",
      ),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Milliseconds that a command takes, its output read and dropped. */
function wall(command: string, args: readonly string[]): number {
  const start = performance.now();
  execFileSync(command, args, { maxBuffer: 1 << 26 });
  return performance.now() - start;
}
