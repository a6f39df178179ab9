/** `bpfkit COMMAND …`: finds the command, parses its arguments, reports its errors. */
import { BpfkitError } from "../core/errors.ts";
import { editDistance } from "../core/edit-distance.ts";
import { helpText, parseCommandArgs, UsageError } from "./args.ts";
import type { Command, Host } from "./command.ts";
import { EXIT } from "./exit-codes.ts";

declare const BPFKIT_VERSION: string;

/** Each is loaded when it is called: a start of `run` needs neither the assembler nor the compiler. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import("./commands/run.ts")).runCommand,
  check: async () => (await import("./commands/check.ts")).checkCommand,
  compile: async () => (await import("./commands/compile.ts")).compileCommand,
  disasm: async () => (await import("./commands/disasm.ts")).disasmCommand,
  asm: async () => (await import("./commands/asm.ts")).asmCommand,
  types: async () => (await import("./commands/types.ts")).typesCommand,
  sim: async () => (await import("./commands/sim.ts")).simCommand,
  test: async () => (await import("./commands/test.ts")).testCommand,
  verify: async () => (await import("./commands/verify.ts")).verifyCommand,
};

async function overview(): Promise<string> {
  const commands = await Promise.all(Object.values(COMMANDS).map((load) => load()));
  const width = Math.max(...commands.map((c) => c.spec.name.length)) + 3;
  return [
    "bpfkit: eBPF programs written in TypeScript",
    "",
    "usage: bpfkit COMMAND …",
    "",
    ...commands.map((c) => `  ${c.spec.name.padEnd(width)}${c.spec.summary}`),
    "",
    "bpfkit COMMAND --help shows the options of a command.",
    "",
  ].join("\n");
}

function find(name: string): Promise<Command> {
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load !== undefined) return load();
  const near = Object.keys(COMMANDS).find((c) => editDistance(c, name) <= 2);
  throw new UsageError(
    `${JSON.stringify(name)} is not a command${near === undefined ? "" : `; did you mean ${near}?`} (bpfkit --help lists them)`,
  );
}

/** Runs the command line `argv` (without node and script) and sets the exit code. */
export async function main(argv: readonly string[], host: Host): Promise<void> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    process.stdout.write(await overview());
    process.exitCode = name === undefined ? EXIT.USAGE : EXIT.OK;
    return;
  }
  if (name === "--version" || name === "-V") {
    process.stdout.write(`bpfkit ${BPFKIT_VERSION}\n`);
    return;
  }
  const json = rest.slice(0, rest.includes("--") ? rest.indexOf("--") : undefined).includes("--json");
  try {
    const command = await find(name);
    const args = parseCommandArgs(command.spec, rest);
    if (args.flags.has("help")) {
      process.stdout.write(helpText(command.spec));
      return;
    }
    process.exitCode = await command.run(args, host);
  } catch (error) {
    const { reportError } = await import("./report.ts");
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
