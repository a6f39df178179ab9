/** Captures every program of a module and what it uses, and prints it as JSON. argv: module, "loader" | "import", URL of bpfkit. */
import { pathToFileURL } from "node:url";
import { createCapture } from "../../../../src/compiler/capture/index.ts";
import { references } from "../../../../src/compiler/capture/join.ts";
import type { LoadedModule } from "../../../../src/compiler/capture/index.ts";
import { nodeCaptureHost } from "../../../../src/host/capture-host.ts";
import { loadModule } from "../../../../src/load/module-loader.ts";

type AnyFunction = (...args: never[]) => unknown;
interface Row {
  text?: string;
  at?: string;
  codes?: string[];
  names?: Record<string, string>;
}

/** Every program of `module` and every function they use, by name. */
export async function describe(module: string, how: string, own: string): Promise<Record<string, Row>> {
  let exports: Readonly<Record<string, unknown>>;
  let modules: ReadonlyMap<string, LoadedModule> = new Map();
  if (how === "loader") ({ exports, modules } = await loadModule(module, { resolveOwn: () => own }));
  else exports = (await import(pathToFileURL(module).href)) as Readonly<Record<string, unknown>>;
  if (typeof exports["default"] === "object" && exports["default"] !== null && !("onExec" in exports))
    exports = exports["default"] as typeof exports;
  const capture = createCapture(nodeCaptureHost(modules));
  const rows: Record<string, Row> = {};

  const add = (key: string, fn: AnyFunction, site?: { url: string; line: number; col: number }): void => {
    const result = capture.capture(fn, site);
    const row: Row = (rows[key] = {});
    if (!result.ok) {
      row.codes = result.diagnostics.map((d) => d.code);
      return;
    }
    const { fn: captured } = result;
    const span = captured.span(captured.node);
    row.text = captured.text.slice(captured.node.start, captured.node.end);
    row.at = `${captured.file.replace(/.*\//, "")}:${span.line}:${span.col}`;
    row.names = {};
    for (const { node } of references(captured.node)) {
      if (row.names[node.name] !== undefined) continue;
      const found = captured.resolve(node.name, node);
      if (found.k === "unknown") continue;
      row.names[node.name] = found.k === "refused" ? found.code : show(found.value);
      if (found.k === "value" && typeof found.value === "function" && !("kind" in found.value)) {
        const inner = `${key}>${node.name}`;
        if (!key.endsWith(`>${node.name}`)) add(inner, found.value as AnyFunction);
      }
    }
  };
  for (const [key, value] of Object.entries(exports)) {
    const handle = value as
      | { kind?: unknown; fn: AnyFunction; site?: { url: string; line: number; col: number } }
      | null
      | undefined;
    if (handle?.kind === "program") add(key, handle.fn, handle.site);
  }
  return rows;
}

function show(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function")
    return "kind" in value ? `schema ${String((value as { name?: unknown }).name)}` : "function";
  if (typeof value !== "object" || value === null)
    return `${typeof value} ${Object.is(value, -0) ? "-0" : String(value)}`;
  const { kind, type, section, u64 } = value as { kind?: string; type?: string; section?: string; u64?: unknown };
  if (u64 !== undefined) return "namespace";
  if (kind !== undefined) return `${kind} ${type ?? section}`;
  return JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? `${v}n` : v));
}

if (process.argv[2] !== undefined && import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [, , module = "", how = "", own = ""] = process.argv;
  process.stdout.write(`\n@@${JSON.stringify(await describe(module, how, own))}@@\n`);
}
