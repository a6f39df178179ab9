/** `bpfkit types`: the running kernel's types for the editor, or as a C header. */
import { dumpC } from "../../btf/dump-c.ts";
import { dumpTs } from "../../btf/dump-ts.ts";
import { kernelBtf } from "../../load/kernel-btf.ts";
import { realKernel } from "../../syscall/index.ts";
import { tracepointFields } from "../../load/tracepoints.ts";
import type { TracepointField } from "../../btf/tracepoint-format.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeOutput } from "../input.ts";
import { btfOption } from "../spec-of-file.ts";
import { BpfkitError } from "../../core/errors.ts";

export const typesCommand: Command = {
  spec: {
    name: "types",
    positionals: "",
    summary: "write vmlinux.d.ts: kernel structs, tracepoints and kfuncs, typed for the editor",
    arity: [0, 0],
    options: [
      {
        name: "output",
        short: "o",
        value: "FILE",
        help: 'where to write (default: vmlinux.d.ts; with --c vmlinux.h); "-" is standard output',
      },
      { name: "btf", value: "FILE", help: "the types of this BTF file instead of the running kernel's" },
      { name: "c", help: "a C header (vmlinux.h) instead of TypeScript" },
      { name: "only", value: "NAME", repeat: true, help: "only this struct and those inside it (may be repeated)" },
    ],
    details:
      "Put the file beside your probes (or in tsconfig's include): a wrong field is then a TypeScript error.\nTracepoint layouts come from tracefs, which only root can read; without it their fields are typed loosely.",
  },
  run(args) {
    const { btf = kernelBtf(realKernel()).vmlinux } = btfOption(args.value("btf"));
    const c = args.flags.has("c");
    const output = args.value("output") ?? (c ? "vmlinux.h" : "vmlinux.d.ts");
    const only = args.values.get("only");
    if (c) {
      writeOutput(output, dumpC(btf, only === undefined ? {} : { only }));
      return EXIT.OK;
    }
    const text =
      only === undefined
        ? dumpTs(btf, { tracepoints: args.value("btf") === undefined ? tracepoints() : {} })
        : dumpTs(btf, { only });
    writeOutput(output, text);
    if (output !== "-") process.stderr.write(`wrote ${output}\n`);
    return EXIT.OK;
  },
};

function tracepoints(): Readonly<Record<string, readonly TracepointField[]>> {
  try {
    return tracepointFields(realKernel());
  } catch (error) {
    if (!(error instanceof BpfkitError)) throw error;
    process.stderr.write(`note: tracepoints are left out: ${error.message}\n`);
    return {};
  }
}
