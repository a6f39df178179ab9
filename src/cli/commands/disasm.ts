/** `bpfkit disasm`: the instructions of an object or a TypeScript module, with the source lines between them. */
import { disassemble } from "../../asm/disasm.ts";
import { BpfkitError } from "../../core/errors.ts";
import type { CollectionSpec, ProgSpec } from "../../elf/spec.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { toJson } from "../output.ts";
import { specOfFile } from "../spec-of-file.ts";
import { symbolsOf } from "../symbols.ts";

export const disasmCommand: Command = {
  spec: {
    name: "disasm",
    positionals: "FILE.o|FILE.ts",
    summary: "show the instructions of an object or a TypeScript module between its source lines",
    arity: [1, 1],
    options: [
      { name: "program", short: "p", value: "NAME", repeat: true, help: "only this program (may be repeated)" },
      { name: "btf", value: "FILE", help: "kernel types for a .ts file (default: the running kernel's)" },
      { name: "no-source", help: "leave the source lines out" },
      { name: "json", help: "one JSON object a program" },
    ],
  },
  async run(args, host) {
    const [path = "-"] = args.positionals;
    const spec = await specOfFile(path, host, { btf: args.value("btf") });
    const wanted = args.values.get("program");
    const progs = wanted === undefined ? spec.progs : wanted.map((name) => find(spec, name, path));
    for (const [i, prog] of progs.entries()) {
      if (args.flags.has("json")) {
        process.stdout.write(
          `${toJson({ program: prog.name, section: prog.section, insns: prog.insns, refs: prog.refs, lines: prog.lines })}\n`,
        );
      } else {
        process.stdout.write(`${i === 0 ? "" : "\n"}${progText(prog, !args.flags.has("no-source"))}`);
      }
    }
    return EXIT.OK;
  },
};

function find(spec: CollectionSpec, name: string, path: string): ProgSpec {
  const prog = spec.progs.find((p) => p.name === name);
  if (prog !== undefined) return prog;
  throw new BpfkitError(
    "NO_PROGRAM",
    `${path} has no program ${JSON.stringify(name)}; it has ${spec.progs.map((p) => p.name).join(", ") || "none"}`,
  );
}

/** One program: a header, then for every new source line that line and its instructions. */
function progText(prog: ProgSpec, source: boolean): string {
  const functions = new Map(prog.funcs.map((f) => [f.insn, f.name]));
  const lines = new Map(source ? prog.lines.map((l) => [l.insn, l]) : []);
  const symbols = symbolsOf(prog);
  let last = "";
  const before = (slot: number): string[] => {
    const out: string[] = [];
    const name = functions.get(slot);
    if (name !== undefined && slot !== 0) out.push("", `${name}:`);
    const line = lines.get(slot);
    const where = line === undefined ? "" : `${line.file}:${line.line}`;
    if (line !== undefined && where !== last) {
      last = where;
      out.push(`; ${line.text.trim()} @ ${where}`);
    }
    return out;
  };
  return `${prog.name} (${prog.section}), ${prog.insns.length} instructions\n${disassemble(prog.insns, { symbol: (slot) => symbols.get(slot), before })}`;
}
