/** `bpfkit COMMAND …`: finds the command, parses its arguments, reports its errors. */
import { BpfkitError } from "../core/index.ts";
import { editDistance, helpText, parseCommandArgs, UsageError } from "./args.ts";
import type { Command, Host } from "./command.ts";
import { asmCommand } from "./commands/asm.ts";
import { compileCommand } from "./commands/compile.ts";
import { disasmCommand } from "./commands/disasm.ts";
import { runCommand } from "./commands/run.ts";
import { typesCommand } from "./commands/types.ts";
import { EXIT } from "./exit-codes.ts";
import { reportError } from "./report.ts";

declare const BPFKIT_VERSION: string;

const COMMANDS: readonly Command[] = [runCommand, compileCommand, disasmCommand, asmCommand, typesCommand];

function overview(): string {
  const width = Math.max(...COMMANDS.map((c) => c.spec.name.length)) + 3;
  return [
    "bpfkit: eBPF programs written in TypeScript",
    "",
    "usage: bpfkit COMMAND …",
    "",
    ...COMMANDS.map((c) => `  ${c.spec.name.padEnd(width)}${c.spec.summary}`),
    "",
    "bpfkit COMMAND --help shows the options of a command.",
    "",
  ].join("\n");
}

function find(name: string): Command {
  const command = COMMANDS.find((c) => c.spec.name === name);
  if (command !== undefined) return command;
  const near = COMMANDS.find((c) => editDistance(c.spec.name, name) <= 2);
  throw new UsageError(
    `${JSON.stringify(name)} is not a command${near === undefined ? "" : `; did you mean ${near.spec.name}?`} (bpfkit --help lists them)`,
  );
}

/** Runs the command line `argv` (without node and script) and sets the exit code. */
export async function main(argv: readonly string[], host: Host): Promise<void> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    process.stdout.write(overview());
    process.exitCode = name === undefined ? EXIT.USAGE : EXIT.OK;
    return;
  }
  if (name === "--version" || name === "-V") {
    process.stdout.write(`bpfkit ${BPFKIT_VERSION}\n`);
    return;
  }
  const json = rest.slice(0, rest.includes("--") ? rest.indexOf("--") : undefined).includes("--json");
  try {
    const command = find(name);
    const args = parseCommandArgs(command.spec, rest);
    if (args.flags.has("help")) {
      process.stdout.write(helpText(command.spec));
      return;
    }
    process.exitCode = await command.run(args, host);
  } catch (error) {
    process.exitCode = reportError(error, {
      json,
      sources: error instanceof BpfkitError ? sourcesOf(error) : new Map(),
    });
  }
}

function sourcesOf(error: BpfkitError): ReadonlyMap<string, string> {
  const sources = (error as { sources?: unknown }).sources;
  return sources instanceof Map ? (sources as ReadonlyMap<string, string>) : new Map();
}
