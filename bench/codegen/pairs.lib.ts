/** Programs written twice, NAME.ts and NAME.c: both compiled for the running kernel. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Btf, dumpC } from "../../src/btf/index.ts";
import { type CompileResult, compile, createCapture } from "../../src/compiler/index.ts";
import { type CollectionSpec, readObject } from "../../src/elf/index.ts";
import { nodeCaptureHost } from "../../src/host/capture-host.ts";
import { tracepointFormatOf } from "../../src/load/compile-module.ts";
import { kernelBtf, load } from "../../src/load/index.ts";
import { loadModule } from "../../src/load/module-loader.ts";
import { realKernel } from "../../src/syscall/index.ts";

export const PAIRS: readonly string[] = readdirSync(import.meta.dirname)
  .filter((f) => f.endsWith(".c"))
  .map((f) => f.slice(0, -2))
  .sort();

export function vmlinux(): Btf {
  return kernelBtf(realKernel()).vmlinux;
}

/** What compiling a pair's TypeScript again and again needs. */
export async function loadTs(name: string): Promise<() => CompileResult> {
  const own = (specifier: string): string =>
    pathToFileURL(
      join(import.meta.dirname, `../../src/${specifier === "bpfkit" ? "probe" : specifier.slice(7)}/index.ts`),
    ).href;
  const { exports, modules } = await loadModule(join(import.meta.dirname, `${name}.ts`), {
    resolveOwn: own,
    importModule: (url) => import(url),
  });
  return () =>
    compile({
      name,
      exports,
      capture: createCapture(nodeCaptureHost(modules)),
      btf: vmlinux(),
      tracepointFormat: (full) => tracepointFormatOf(realKernel(), full),
    });
}

export async function compileTs(name: string): Promise<CompileResult> {
  return (await loadTs(name))();
}

let directory: string | undefined;
/** A temporary directory with `vmlinux.h`, gone when this process ends. */
export function headers(): string {
  if (directory === undefined) {
    const made = mkdtempSync(join(tmpdir(), "bpfkit-pairs-"));
    process.on("exit", () => rmSync(made, { recursive: true, force: true }));
    writeFileSync(join(made, "vmlinux.h"), dumpC(vmlinux()));
    directory = made;
  }
  return directory;
}

/** The command that compiles NAME.c to `out`. */
export function clang(name: string, out: string): readonly [file: string, args: readonly string[]] {
  const options = [
    "-O2",
    "-mcpu=v3",
    "-g",
    "-target",
    "bpf",
    "-D__TARGET_ARCH_x86",
    "-Wall",
    "-Wno-missing-declarations",
  ];
  return ["clang-19", [...options, "-I", headers(), "-c", join(import.meta.dirname, `${name}.c`), "-o", out]];
}

export function compileC(name: string): CollectionSpec {
  const out = join(headers(), `${name}.o`);
  const [file, args] = clang(name, out);
  execFileSync(file, args, { stdio: ["ignore", "ignore", "inherit"] });
  return readObject(readFileSync(out), { name });
}

export interface Figures {
  readonly insns: number;
  readonly processed: number;
}

/** Instructions (8-byte slots) of all programs, and what the running kernel's verifier processed of them. */
export function figures(spec: CollectionSpec): Figures {
  const collection = load(spec, { logLevel: 2 });
  try {
    let processed = 0;
    for (const [name, log] of collection.logs) {
      const found = /^processed (\d+) insns/m.exec(log);
      if (found === null) throw new Error(`${spec.name}: the log of ${name} does not say how much was processed`);
      processed += Number(found[1]);
    }
    return { insns: spec.progs.reduce((sum, p) => sum + p.insns.length, 0), processed };
  } finally {
    collection.close();
  }
}
