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

interface Times {
  readonly open: number;
  readonly name: number;
}

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
    const ours: Times[] = [];
    const theirs: Times[] = [];
    const headers: { ours: number; theirs: number }[] = [];
    for (let i = 0; i < RUNS; i++) {
      ours.push(JSON.parse(execFileSync(process.execPath, [child, "open"], { encoding: "utf8" })) as Times);
      theirs.push(JSON.parse(execFileSync(libbpf, { encoding: "utf8" })) as Times);
      headers.push({
        ours: wall(process.execPath, [child, "header"]),
        theirs: wall(BPFTOOL, ["btf", "dump", "file", VMLINUX, "format", "c"]),
      });
    }
    const of = (list: readonly Times[], key: keyof Times): number => median(list.map((t) => t[key]));
    return [
      row("btf", "vmlinux", "open", "ms", of(ours, "open"), of(theirs, "open"), "libbpf btf__load_vmlinux_btf"),
      row("btf", "task_struct", "name-cold", "ms", of(ours, "name"), 1.5, "limit"),
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
