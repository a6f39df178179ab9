/** What a subcommand is; `main.ts` lists them. */
import type { CommandSpec, ParsedArgs } from "./args.ts";

/** What the launcher provides. */
export interface Host {
  /** Tells this build from others of the same version. */
  readonly build: string;
  /** Called once start-up is over, so that the code it used is cached for the next start. */
  saveCache(): void;
  /** `import()`: the bundle is run by `vm`, which has none of its own. */
  importModule(url: string): Promise<unknown>;
}

export interface Command {
  readonly spec: CommandSpec;
  /** Resolves to the exit code. */
  run(args: ParsedArgs, host: Host): Promise<number> | number;
}
