/** A collection from a file of either kind: a BPF object, or a TypeScript module that is compiled. */
import { basename } from "node:path";
import { Btf } from "../btf/btf.ts";
import { readObject } from "../elf/object.ts";
import type { CollectionSpec } from "../elf/spec.ts";
import { compileModule } from "../load/compile-module.ts";
import type { Host } from "./command.ts";
import { readInput } from "./input.ts";
import { moduleOfFile } from "./module-of-file.ts";

export async function specOfFile(
  path: string,
  host: Host,
  options: { btf?: string | undefined } = {},
): Promise<CollectionSpec> {
  if (path.endsWith(".o")) return readObject(readInput(path), { name: basename(path, ".o") });
  const module = await moduleOfFile(path, host);
  return compileModule(module.exports, { ...module, ...btfOption(options.btf) }).spec;
}

/** Kernel types from a file, when one is named. */
export function btfOption(path: string | undefined): { btf?: Btf } {
  return path === undefined ? {} : { btf: Btf.parse(readInput(path), { what: path }) };
}
