/**
 * Loads a TypeScript module as it is, on every Node: blanks its types, appends a thunk that hands
 * out its module-level values to the compiler, and imports it. Positions stay those of the `.ts` file.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { compileFunction } from "node:vm";
import type { PreparedModule } from "../compiler/capture/prepare.ts";
import type { ScriptForm } from "../compiler/capture/script-form.ts";
import type { LoadedModule } from "../compiler/capture/types.ts";
import { closest } from "../core/edit-distance.ts";
import { BpfkitError } from "../core/errors.ts";
import { displayPath } from "../host/capture-host.ts";

/** Keeps what parsing a module gave, so that an unchanged file is not parsed again. Values are plain JSON data. */
export interface PrepareCache {
  get(text: string): PreparedModule | undefined;
  set(text: string, prepared: PreparedModule): void;
}

export interface LoadModuleOptions {
  /** URL of the module that a specifier "bpfkit" or "bpfkit/…" means. */
  readonly resolveOwn: (specifier: string) => string;
  /** What "bpfkit" exports: a module that imports nothing else then runs without Node's ES module loader. */
  readonly own?: Readonly<Record<string, unknown>>;
  readonly cache?: PrepareCache;
  /** Where to note the modules; a map of their own by default. */
  readonly modules?: Map<string, LoadedModule>;
  /** `import()` of the caller: code that `vm` runs has none. */
  readonly importModule?: (url: string) => Promise<unknown>;
}

export interface ModuleResult {
  /** The module's exports. */
  readonly exports: Readonly<Record<string, unknown>>;
  /** Every TypeScript module that was loaded, by URL: for `nodeCaptureHost`. */
  readonly modules: ReadonlyMap<string, LoadedModule>;
}

/** Most files never need it, and loading it costs 0.3 ms. */
const nodeModule = () => process.getBuiltinModule("node:module");

const HOOK = Symbol.for("bpfkit.module");
type Thunk = (name: string) => { readonly value: unknown } | undefined;
type Hooked = typeof globalThis & { [HOOK]?: (url: string, thunk: Thunk) => void };

interface Unit {
  readonly url: string;
  readonly text: string;
  readonly prepared: PreparedModule;
  /** Where each specifier leads: a URL to import, or a unit. */
  readonly targets: (string | Unit)[];
}

/** By data: URL. The engine runs such a module once: who loads the same text again is given what it said then. */
const RAN = new Map<string, LoadedModule>();

/**
 * Imports `path`. TypeScript modules that it imports by relative paths are loaded the same way; everything else is
 * Node's business. A JavaScript file is imported by Node.
 *
 * @param path a file's path or file: URL, ending in .ts, .mts, .js or .mjs
 * @throws DiagnosticError when TypeScript cannot be parsed or erased; BpfkitError ("MODULE_NOT_FOUND") when a file or
 *   package is missing; and whatever the module itself throws.
 */
export async function loadModule(path: string, options: LoadModuleOptions): Promise<ModuleResult> {
  const url = path.startsWith("file:") ? path : pathToFileURL(path).href;
  const importModule = options.importModule ?? ((to: string): Promise<unknown> => import(to));
  const modules = options.modules ?? new Map<string, LoadedModule>();
  if (!isTypeScript(url)) return { exports: (await importModule(url)) as Readonly<Record<string, unknown>>, modules };

  const units = new Map<string, Unit>();
  const entry = await read(url, undefined, units, options);
  const hooked = globalThis as Hooked;
  const before = hooked[HOOK];
  hooked[HOOK] = (loaded, lookup) => {
    const unit = units.get(loaded);
    if (unit !== undefined) modules.set(loaded, { url: loaded, text: unit.text, code: unit.prepared.code, lookup });
    else before?.(loaded, lookup);
  };
  let directory: string | undefined;
  try {
    const script = scriptOf(entry.prepared, options);
    if (script !== undefined) return { exports: runScript(entry, script, options.own ?? {}), modules };
    let runs: string;
    if (units.size === 1) {
      runs = `data:text/javascript,${encodeURIComponent(link(entry, () => ""))}`;
    } else {
      // Several files import each other by name, perhaps in a circle: they need names before they have contents.
      directory = mkdtempSync(join(process.getBuiltinModule("node:os").tmpdir(), "bpfkit-"));
      const names = new Map(
        [...units.values()].map((unit, i) => [unit, pathToFileURL(join(directory as string, `${i}.mjs`)).href]),
      );
      for (const [unit, name] of names)
        writeFileSync(
          fileURLToPath(name),
          link(unit, (target) => names.get(target) ?? ""),
        );
      runs = names.get(entry) as string;
    }
    const exports = (await importModule(runs)) as Readonly<Record<string, unknown>>;
    const known = modules.get(url) ?? RAN.get(runs);
    if (known !== undefined && units.size === 1) {
      RAN.set(runs, known);
      modules.set(url, known);
    }
    return { exports, modules };
  } catch (error) {
    throw explained(error);
  } finally {
    if (before === undefined) delete hooked[HOOK];
    else hooked[HOOK] = before;
    if (directory !== undefined) discard(directory, units);
  }
}

/** How the module runs as a function, if it can here; a name that what it imports lacks is for Node to report. */
function scriptOf({ script }: PreparedModule, { own }: LoadModuleOptions): ScriptForm | undefined {
  if (own === undefined || script === undefined) return undefined;
  return script.imports.every(
    ({ from, imported }) => imported in sourceOf(from, own) || (imported === "default" && from !== "bpfkit"),
  )
    ? script
    : undefined;
}

function sourceOf(from: string, own: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return from === "bpfkit" ? own : ((process.getBuiltinModule(from) ?? {}) as Readonly<Record<string, unknown>>);
}

function isTypeScript(url: string): boolean {
  return /\.m?ts(?:[?#]|$)/.test(url);
}

/** Temporary files are in memory once imported, unless a dynamic import may still come. */
function discard(directory: string, units: ReadonlyMap<string, Unit>): void {
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  if ([...units.values()].some((u) => u.prepared.specifiers.some((s) => s.dynamic))) process.once("exit", remove);
  else remove();
}

async function read(
  url: string,
  importer: string | undefined,
  units: Map<string, Unit>,
  options: LoadModuleOptions,
): Promise<Unit> {
  const known = units.get(url);
  if (known !== undefined) return known;
  let text: string;
  try {
    text = readFileSync(fileURLToPath(url), "utf8");
  } catch (error) {
    const by = importer === undefined ? "" : `, which ${displayPath(importer)} imports,`;
    const why =
      (error as { code?: unknown }).code === "ENOENT"
        ? "does not exist"
        : `cannot be read: ${(error as Error).message}`;
    throw new BpfkitError("MODULE_NOT_FOUND", `${displayPath(url)}${by} ${why}`, { cause: error });
  }
  let prepared = options.cache?.get(text);
  if (prepared === undefined) {
    // The parser is only loaded when there is something to parse.
    const { prepareModule } = await import("../compiler/capture/prepare.ts");
    prepared = prepareModule(text, displayPath(url));
    options.cache?.set(text, prepared);
  }
  const unit: Unit = { url, text, prepared, targets: [] };
  units.set(url, unit);
  if (importer === undefined && scriptOf(prepared, options) !== undefined) return unit;
  for (const { value } of prepared.specifiers) {
    const target = resolve(value, url, options);
    unit.targets.push(
      isTypeScript(target) && /^(?:\.{0,2}\/|file:)/.test(value) ? await read(target, url, units, options) : target,
    );
  }
  return unit;
}

/** The text that runs: specifiers made absolute, `import.meta.url` set right, the thunk and the name at the end. */
function link(unit: Unit, nameOf: (target: Unit) => string): string {
  const { code, specifiers, names, usesImportMeta } = unit.prepared;
  let out = "";
  let at = 0;
  specifiers.forEach(({ start, end }, i) => {
    const target = unit.targets[i] as string | Unit;
    out += code.slice(at, start) + JSON.stringify(typeof target === "string" ? target : nameOf(target));
    at = end;
  });
  out += code.slice(at);
  const url = JSON.stringify(unit.url);
  if (usesImportMeta) {
    const path = fileURLToPath(unit.url);
    const own = JSON.stringify({ url: unit.url, filename: path, dirname: dirname(path) });
    out = out.startsWith("#!")
      ? out.replace("\n", () => `\nObject.assign(import.meta, ${own});`)
      : `Object.assign(import.meta, ${own});${out}`;
  }
  return `${out}\n;globalThis[Symbol.for("bpfkit.module")]?.(${url}, ${thunk(names)});\n//# sourceURL=${unit.url}\n`;
}

function thunk(names: readonly string[]): string {
  const cases = names.map((name) => `case ${JSON.stringify(name)}: return { value: ${name} };`).join(" ");
  // A parameter's name would hide the module's own variable of that name; `arguments` none can be called.
  return `function () { switch (arguments[0]) { ${cases} } }`;
}

const STRICT = '"use strict";';

/** Runs a module as a function: its exports, alive as those of a module are. */
function runScript(
  unit: Unit,
  script: ScriptForm,
  own: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const { code, names } = unit.prepared;
  let out = "";
  let at = 0;
  for (const { start, end, text } of script.edits) {
    out += code.slice(at, start) + text;
    at = end;
  }
  out = (out + code.slice(at)).replace(/^#!/, "//");
  const getters = script.exports
    .map(({ name, value }) => `get ${JSON.stringify(name)}() { return ${value}; }`)
    .join(", ");
  const body = `${STRICT}${out}\n;globalThis[Symbol.for("bpfkit.module")]?.(${JSON.stringify(unit.url)}, ${thunk(names)});return { __proto__: null, ${getters} };`;
  const run = compileFunction(body, [script.module, ...script.imports.map((i) => i.local)], {
    filename: unit.url,
    columnOffset: -STRICT.length,
  }) as (...values: unknown[]) => Readonly<Record<string, unknown>>;
  return Reflect.apply(run, undefined, [
    {},
    ...script.imports.map(({ imported, from }) =>
      imported === "default" ? sourceOf(from, own) : sourceOf(from, own)[imported],
    ),
  ]);
}

function resolve(specifier: string, importer: string, options: LoadModuleOptions): string {
  if (specifier === "bpfkit" || specifier.startsWith("bpfkit/")) return options.resolveOwn(specifier);
  if (nodeModule().isBuiltin(specifier)) return specifier.startsWith("node:") ? specifier : `node:${specifier}`;
  if (/^[a-z][a-z0-9+.-]+:/i.test(specifier)) return specifier;
  if (/^\.{0,2}\//.test(specifier)) return new URL(specifier, importer).href;
  return resolvePackage(specifier, importer);
}

/** A package as `import` finds it. Node's own answer needs a flag for another importer, so `exports` is read here. */
function resolvePackage(specifier: string, importer: string): string {
  const [, name, rest] = /^((?:@[^/]+\/)?[^/]+)(.*)$/s.exec(specifier) ?? [];
  for (let dir = dirname(fileURLToPath(importer)); name !== undefined; dir = dirname(dir)) {
    const home = join(dir, "node_modules", name);
    let exports: unknown;
    try {
      exports = (JSON.parse(readFileSync(join(home, "package.json"), "utf8")) as { exports?: unknown }).exports;
    } catch {
      if (dirname(dir) === dir) break;
      continue;
    }
    const target = exports === undefined ? undefined : exported(exports, `.${rest ?? ""}`);
    if (target !== undefined) return pathToFileURL(join(home, target)).href;
    break;
  }
  try {
    const found = nodeModule().createRequire(importer).resolve(specifier);
    return pathToFileURL(found).href;
  } catch (error) {
    const hint = specifier.startsWith("#") ? "" : `: install it with \`npm install ${name ?? specifier}\``;
    throw new BpfkitError(
      "MODULE_NOT_FOUND",
      `the package "${specifier}" that ${displayPath(importer)} imports cannot be found${hint}`,
      { cause: error },
    );
  }
}

/** The file that `exports` of a package gives for "." or "./sub" under Node's conditions for `import`. */
function exported(exports: unknown, subpath: string): string | undefined {
  const table: Record<string, unknown> =
    typeof exports === "object" &&
    exports !== null &&
    !Array.isArray(exports) &&
    Object.keys(exports).every((k) => k.startsWith("."))
      ? (exports as Record<string, unknown>)
      : { ".": exports };
  if (Object.hasOwn(table, subpath)) return condition(table[subpath], "");
  const patterns = Object.keys(table)
    .filter((k) => k.includes("*"))
    .sort((a, b) => b.indexOf("*") - a.indexOf("*"));
  for (const key of patterns) {
    const [before = "", after = ""] = key.split("*");
    if (subpath.startsWith(before) && subpath.endsWith(after) && subpath.length >= key.length - 1) {
      return condition(table[key], subpath.slice(before.length, subpath.length - after.length));
    }
  }
  return undefined;
}

function condition(target: unknown, star: string): string | undefined {
  if (typeof target === "string") return target.startsWith("./") ? target.replaceAll("*", star) : undefined;
  if (Array.isArray(target)) return target.map((t) => condition(t, star)).find((t) => t !== undefined);
  if (typeof target !== "object" || target === null) return undefined;
  for (const [name, value] of Object.entries(target)) {
    if (!["node", "import", "module-sync", "default"].includes(name)) continue;
    const found = condition(value, star);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Rust's and Zig's i32 is the kernel's s32; the nearest spelling would be u32. */
function closestExport(name: string, names: readonly string[]): string | undefined {
  const signed = name.replace(/^i(?=\d+$)/, "s");
  return names.includes(signed) ? signed : closest(name, names);
}

/** Node's message for a name that a module lacks, with the usual causes: a misspelt name, or a type imported as a value. */
function explained(error: unknown): unknown {
  const missing =
    error instanceof SyntaxError
      ? /module '([^']*)' does not provide an export named '([^']+)'/.exec(error.message)
      : null;
  if (missing === null) return error;
  const [, module = "", name = ""] = missing;
  const own = /^data:text\/javascript,export const \{([^}]*)\} = globalThis\[Symbol\.for\("bpfkit/.exec(module);
  const where = own !== null ? "bpfkit" : module.startsWith("file:") ? displayPath(module) : module;
  const near = own === null ? undefined : closestExport(name, own[1]!.trim().split(", "));
  const hint = near === undefined ? `If it is a type, write \`import { type ${name} }\`` : `Did you mean '${near}'?`;
  return new BpfkitError("IMPORT", `${where} exports nothing named '${name}'. ${hint}`, { cause: error });
}
