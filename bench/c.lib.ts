/** Compiles the rivals that are written in C, into a temporary folder, once per run. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

let folder: string | undefined;

/** Path of the compiled `bench/c/NAME.c`. Needs the Debian packages gcc and libbpf-dev. */
export function compileC(name: string, libraries: readonly string[] = ["-lbpf"]): string {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), "bpfkit-bench-"));
    folder = made;
    process.on("exit", () => rmSync(made, { recursive: true, force: true }));
  }
  const out = join(folder, name);
  execFileSync("gcc", ["-O2", "-o", out, join(import.meta.dirname, "c", `${name}.c`), ...libraries], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  return out;
}
