/**
 * For bundlers: probes keep their TypeScript source and the values of their names, so that a bundle compiles them as the
 * files would be, minified, without a source map, in a browser or under `node --permission`.
 */
import { readFileSync } from "node:fs";
import { extname, relative, sep } from "node:path";
import { mayHaveProbes, tagFunctions, type TaggedModule } from "../compiler/capture/tag.ts";
import { DiagnosticError } from "../core/errors.ts";
import { renderDiagnostics } from "../core/render.ts";

export interface PluginOptions {
  /**
   * Files whose functions are tagged, by path with `/`. Default: what imports "bpfkit" and is not in `node_modules`.
   * A function that a probe calls must be in such a file.
   */
  readonly include?: RegExp | ((path: string) => boolean);
  /** What file names in messages are relative to. Default: the working directory. */
  readonly root?: string;
}

/** What Rollup, Rolldown and Vite call. */
export interface RollupPlugin {
  readonly name: "bpfkit";
  readonly enforce: "pre";
  readonly transform: (
    this: { warn(message: string): void } | void,
    code: string,
    id: string,
  ) => TaggedModule | undefined;
}

interface EsbuildMessage {
  readonly text: string;
}
/** The part of esbuild's `PluginBuild` that is used. */
export interface EsbuildBuild {
  onLoad(
    options: { readonly filter: RegExp; readonly namespace: string },
    callback: (args: { readonly path: string }) =>
      | {
          contents: string;
          loader: "js" | "jsx" | "ts" | "tsx";
          watchFiles: string[];
          warnings: EsbuildMessage[];
        }
      | undefined,
  ): void;
}
export interface EsbuildPlugin {
  readonly name: "bpfkit";
  readonly setup: (build: EsbuildBuild) => void;
}

const SCRIPTS = /\.[cm]?[jt]sx?$/;

/**
 * The plugin for Rollup and Rolldown. It must see the source before other plugins change it: put it first.
 *
 * @example
 * import { rollup } from "bpfkit/plugin";
 * export default { input: "main.ts", plugins: [rollup()] };
 */
export function rollup(options: PluginOptions = {}): RollupPlugin {
  return {
    name: "bpfkit",
    enforce: "pre",
    transform(code, id) {
      const path = id.replace(/[?#].*$/, "");
      if (!SCRIPTS.test(path) || !wanted(path, code, options)) return undefined;
      return tag(code, path, options, (message) => this?.warn(message));
    },
  };
}

/**
 * The plugin for Vite (and vitest): it runs before Vite's own.
 *
 * @example
 * import { vite } from "bpfkit/plugin";
 * export default { plugins: [vite()] };
 */
export function vite(options: PluginOptions = {}): RollupPlugin {
  return rollup(options);
}

/**
 * The plugin for esbuild.
 *
 * @example
 * import { esbuild } from "bpfkit/plugin";
 * const options = { entryPoints: ["main.ts"], bundle: true, minify: true, plugins: [esbuild()] };
 */
export function esbuild(options: PluginOptions = {}): EsbuildPlugin {
  return {
    name: "bpfkit",
    setup(build) {
      build.onLoad({ filter: SCRIPTS, namespace: "file" }, ({ path }) => {
        if (!placed(path, options)) return undefined;
        const text = readFileSync(path, "utf8");
        if (!wanted(path, text, options)) return undefined;
        const warnings: EsbuildMessage[] = [];
        const tagged = tag(text, path, options, (message) => warnings.push({ text: message }));
        if (tagged === undefined && warnings.length === 0) return undefined;
        const map = tagged === undefined ? "" : inlineMap(tagged);
        const loader = extname(path).replace(/^\.[cm]?/, "") as "js" | "jsx" | "ts" | "tsx";
        return { contents: `${tagged?.code ?? text}${map}`, loader, watchFiles: [path], warnings };
      });
    },
  };
}

function inlineMap({ map }: TaggedModule): string {
  return `//# sourceMappingURL=data:application/json;base64,${Buffer.from(JSON.stringify(map)).toString("base64")}\n`;
}

/** Whether files in this place are looked at. */
function placed(path: string, { include }: PluginOptions): boolean {
  const slashed = path.split(sep).join("/");
  if (include === undefined) return !slashed.includes("/node_modules/");
  return typeof include === "function" ? include(slashed) : include.test(slashed);
}

function wanted(path: string, text: string, options: PluginOptions): boolean {
  return placed(path, options) && (options.include !== undefined || mayHaveProbes(text));
}

function tag(
  text: string,
  path: string,
  options: PluginOptions,
  warn: (message: string) => void,
): TaggedModule | undefined {
  const name = relative(options.root ?? process.cwd(), path)
    .split(sep)
    .join("/");
  try {
    return tagFunctions(text, name);
  } catch (error) {
    if (!(error instanceof DiagnosticError)) throw error;
    // The bundler says what is wrong with the file; if nothing is, only its probes are without a tag.
    warn(`the probes of ${name} are left as they are: ${renderDiagnostics(error.diagnostics, { format: "plain" })}`);
    return undefined;
  }
}
