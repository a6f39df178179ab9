/**
 * Command-line arguments from one declaration per command, which also prints the
 * help: what `--help` shows and what is accepted cannot differ.
 */
import { editDistance } from "../core/edit-distance.ts";
import { BpfkitError } from "../core/errors.ts";

export interface OptionSpec {
  /** Without dashes, such as "duration". */
  readonly name: string;
  readonly short?: string;
  /** Name of the value in the help; a flag has none. */
  readonly value?: string;
  readonly repeat?: boolean;
  readonly help: string;
}

export interface CommandSpec {
  readonly name: string;
  /** After the command's name, such as "FILE.ts [-- CMD …]". */
  readonly positionals: string;
  readonly summary: string;
  readonly options: readonly OptionSpec[];
  /** Further lines of the help: exit codes, examples. */
  readonly details?: string;
  /** How many positionals are required, and how many are allowed. */
  readonly arity: readonly [min: number, max: number];
}

export interface ParsedArgs {
  readonly positionals: readonly string[];
  /** After `--`; undefined when there was none. */
  readonly rest: readonly string[] | undefined;
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, readonly string[]>;
  value(name: string): string | undefined;
}

/** Wrong arguments: exit code 2. */
export class UsageError extends BpfkitError {
  override readonly name = "UsageError";
  readonly command: CommandSpec | undefined;
  constructor(message: string, command?: CommandSpec) {
    super("USAGE", message);
    this.command = command;
  }
}

const HELP: OptionSpec = { name: "help", short: "h", help: "show this help" };

export function parseCommandArgs(spec: CommandSpec, argv: readonly string[]): ParsedArgs {
  const options = [...spec.options, HELP];
  const positionals: string[] = [];
  const flags = new Set<string>();
  const values = new Map<string, string[]>();
  let rest: string[] | undefined;

  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i] ?? "";
    if (arg === "--") {
      rest = argv.slice(i + 1);
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      positionals.push(arg);
      continue;
    }
    const long = arg.startsWith("--");
    const equals = long ? arg.indexOf("=") : -1;
    const name = long ? arg.slice(2, equals < 0 ? undefined : equals) : arg.slice(1);
    const option = options.find((o) => (long ? o.name === name : o.short === name));
    if (option === undefined) throw new UsageError(`${arg}: no such option${suggest(name, options)}`, spec);
    if (option.value === undefined) {
      if (equals >= 0) throw new UsageError(`--${name} takes no value`, spec);
      flags.add(option.name);
      continue;
    }
    const value = equals >= 0 ? arg.slice(equals + 1) : argv[++i];
    if (value === undefined) throw new UsageError(`${arg} needs a value: ${option.value}`, spec);
    const all = values.get(option.name);
    if (all === undefined) values.set(option.name, [value]);
    else if (option.repeat === true) all.push(value);
    else throw new UsageError(`--${option.name} is given twice`, spec);
  }
  if (!flags.has("help")) {
    const [min, max] = spec.arity;
    if (positionals.length < min) throw new UsageError(`expected ${spec.positionals}`, spec);
    if (positionals.length > max) throw new UsageError(`unexpected argument ${JSON.stringify(positionals[max])}`, spec);
  }
  return { positionals, rest, flags, values, value: (name) => values.get(name)?.[0] };
}

/** The text of `bpfkit COMMAND --help`. */
export function helpText(spec: CommandSpec): string {
  const rows = [...spec.options, HELP].map((o) => {
    const short = o.short === undefined ? "" : `-${o.short}, `;
    return [`  ${short}--${o.name}${o.value === undefined ? "" : ` ${o.value}`}`, o.help] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return [
    spec.summary,
    "",
    `usage: bpfkit ${spec.name} ${spec.positionals}`,
    "",
    ...rows.map(([left, right]) => left.padEnd(width) + right),
    ...(spec.details === undefined ? [] : ["", spec.details]),
    "",
  ].join("\n");
}

function suggest(name: string, options: readonly OptionSpec[]): string {
  const near = options.find((o) => editDistance(o.name, name) <= 2);
  return near === undefined ? "" : `; did you mean --${near.name}?`;
}
