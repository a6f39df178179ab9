/** `bpfkit check`: everything that is wrong with a probe file, without loading it. */
import type { Btf } from "../../btf/btf.ts";
import type { Diagnostic } from "../../core/diagnostic.ts";
import { DiagnosticError } from "../../core/errors.ts";
import { renderDiagnostics } from "../../core/render.ts";
import { compileModule } from "../../load/compile-module.ts";
import type { Command, Host } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { moduleOfFile } from "../module-of-file.ts";
import { absentIn } from "../other-kernels.ts";
import { useColor } from "../output.ts";
import { withFiles } from "../report.ts";
import { btfOption } from "../spec-of-file.ts";

export const checkCommand: Command = {
  spec: {
    name: "check",
    positionals: "FILE.ts …",
    summary: "show all errors and warnings of probe files, without privilege",
    arity: [1, Number.POSITIVE_INFINITY],
    options: [
      { name: "btf", value: "FILE", help: "kernel types (default: the running kernel's)" },
      { name: "also", value: "FILE", repeat: true, help: "warn about what this kernel's types lack (may be repeated)" },
      { name: "json", help: "one JSON array of diagnostics, for editors" },
    ],
    details: "Exit codes: 0 no errors (there may be warnings) · 1 errors",
  },
  async run(args, host) {
    const btf = btfOption(args.value("btf"));
    const others = (args.values.get("also") ?? []).map((path) => ({ path, ...btfOption(path) }));
    const found: Diagnostic[] = [];
    for (const path of args.positionals) found.push(...(await diagnosticsOf(path, host, btf, others)));
    const options = {
      sources: withFiles(found),
      color: useColor(process.stdout),
      format: args.flags.has("json") ? "json" : "text",
    } as const;
    process.stdout.write(found.length === 0 && options.format === "json" ? "[]\n" : renderDiagnostics(found, options));
    const errors = found.filter((d) => d.severity === "error").length;
    if (options.format === "text" && found.length > 0)
      process.stdout.write(`\n${count(errors, "error")}, ${count(found.length - errors, "warning")}\n`);
    return errors > 0 ? EXIT.FAILED : EXIT.OK;
  },
};

async function diagnosticsOf(
  path: string,
  host: Host,
  btf: ReturnType<typeof btfOption>,
  others: readonly { readonly path: string; readonly btf?: Btf }[],
): Promise<readonly Diagnostic[]> {
  try {
    const module = await moduleOfFile(path, host);
    const { spec, diagnostics } = compileModule(module.exports, { ...module, ...btf });
    return [...diagnostics, ...others.flatMap((o) => (o.btf === undefined ? [] : absentIn(spec, o.btf, o.path)))];
  } catch (error) {
    if (error instanceof DiagnosticError) return error.diagnostics;
    throw error;
  }
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
