/**
 * What `import … from "bpfkit"` means in a file that the command loads: the copy inside
 * this very bundle. A second copy from disk would cost 5 ms and have other identities.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { BpfkitError } from "../core/errors.ts";
import * as probe from "../probe/index.ts";

/** What "bpfkit" exports. */
export const own: Readonly<Record<string, unknown>> = probe;

const KEY = "bpfkit.probe";

/** URL of the module for the specifier "bpfkit" or "bpfkit/…". */
export function resolveOwn(specifier: string): string {
  if (specifier === "bpfkit") {
    (globalThis as Record<symbol, unknown>)[Symbol.for(KEY)] = probe;
    const names = Object.keys(probe).join(", ");
    return `data:text/javascript,export const { ${names} } = globalThis[Symbol.for("${KEY}")];`;
  }
  const name = specifier.slice("bpfkit/".length);
  // The bundle lies beside the published files; from source there is a folder each.
  const candidates = [join(import.meta.dirname, `${name}.js`), join(import.meta.dirname, "..", name, "index.ts")];
  const found = /^[a-z]+$/.test(name) ? candidates.find((path) => existsSync(path)) : undefined;
  if (found === undefined) throw new BpfkitError("MODULE_NOT_FOUND", `there is no module ${JSON.stringify(specifier)}`);
  return pathToFileURL(found).href;
}
