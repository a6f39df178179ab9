/** `bpfkit compile`: a TypeScript module to a BPF object that libbpf, bpftool and others load. */
import { writeObject } from "../../elf/write-object.ts";
import { compileModule } from "../../load/compile-module.ts";
import type { Command } from "../command.ts";
import { noProgram } from "../compile-file.ts";
import { EXIT } from "../exit-codes.ts";
import { writeOutput } from "../input.ts";
import { moduleOfFile } from "../module-of-file.ts";
import { table, toJson } from "../output.ts";
import { warn } from "../report.ts";
import { btfOption } from "../spec-of-file.ts";

export const compileCommand: Command = {
  spec: {
    name: "compile",
    positionals: "FILE.ts",
    summary: "compile a TypeScript module to a BPF object, without privilege",
    arity: [1, 1],
    options: [
      {
        name: "output",
        short: "o",
        value: "FILE.o",
        help: "the object to write (default: the file's name in this directory)",
      },
      { name: "btf", value: "FILE", help: "kernel types (default: the running kernel's)" },
      { name: "explain", help: "say for each program what it became" },
      { name: "json", help: "print what was compiled as JSON" },
    ],
    details:
      "Relocations are left to the loader (CO-RE), so the object runs on other kernels too:\n\n  bpftool prog loadall FILE.o /sys/fs/bpf/DIR",
  },
  async run(args, host) {
    const [path = ""] = args.positionals;
    const module = await moduleOfFile(path, host);
    const { spec, explain, diagnostics } = compileModule(module.exports, {
      ...module,
      ...btfOption(args.value("btf")),
    });
    warn(diagnostics, spec.sources);
    if (spec.progs.length === 0) throw noProgram(path);
    const output = args.value("output") ?? `${module.name}.o`;
    writeOutput(output, writeObject(spec));
    if (args.flags.has("json")) {
      const maps = spec.maps.map((m) => ({
        name: m.name,
        type: m.type,
        keySize: m.keySize,
        valueSize: m.valueSize,
        maxEntries: m.maxEntries,
      }));
      process.stdout.write(`${toJson({ output, programs: explain, maps })}\n`);
    } else if (args.flags.has("explain")) {
      const rows = explain.map((p) => [p.name, p.insns, p.stack, p.coreRelos, p.subprograms.join(" ") || "-"]);
      process.stdout.write(table(["program", "insns", "stack", "CO-RE", "subprograms"], rows));
    }
    return EXIT.OK;
  },
};
