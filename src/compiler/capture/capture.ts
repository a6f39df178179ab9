/** Finds the original source of a JavaScript function, and what its names mean. */
import type { Diagnostic, Label } from "../../core/diagnostic.ts";
import { type AnyNode, type Ast, eachChild, type FunctionNode, isFunction } from "../syntax/ast.ts";
import { LineTable } from "../syntax/lines.ts";
import { blankTypes } from "../syntax/blank.ts";
import { parseJavaScriptAt } from "../syntax/parse.ts";
import { fingerprint } from "./join.ts";
import { moduleResolver, scopeResolver, tagResolver } from "./resolve.ts";
import { type FunctionEntry, functionAt, SourceFile } from "./source.ts";
import { dataUrlText, sourceMappingUrl, SourceMapV3 } from "./source-map.ts";
import { type Tag, tagOf } from "./tag-of.ts";
import type {
  Capture,
  CaptureCode,
  CapturedFunction,
  CaptureHost,
  CaptureResult,
  FunctionLocation,
  LoadedModule,
  Resolved,
} from "./types.ts";

type AnyFunction = (...args: never[]) => unknown;
interface Site {
  readonly url: string;
  readonly line: number;
  readonly col: number;
}

/**
 * A capture over `host`, for one compilation: sources are read and parsed once, values are read as they are when asked for.
 *
 * @example
 * import { createCapture } from "bpfkit/compiler";
 * // const { fn } = createCapture(host).capture(handle.fn, handle.site);
 */
export function createCapture(host: CaptureHost): Capture {
  return new Capturer(host);
}

class Capturer implements Capture {
  readonly #host: CaptureHost;
  readonly #files = new Map<string, SourceFile>();
  readonly #maps = new Map<string, LocatedMap | undefined>();
  /** URLs of scripts that the inspector only numbers. */
  readonly #scripts = new Map<string, string>();
  readonly #done = new Map<AnyFunction, CaptureResult>();

  constructor(host: CaptureHost) {
    this.#host = host;
  }

  capture(fn: AnyFunction, site?: Site): CaptureResult {
    const known = this.#done.get(fn);
    if (known !== undefined) return known;
    const result = this.#capture(fn, site);
    this.#done.set(fn, result);
    return result;
  }

  #capture(fn: AnyFunction, site: Site | undefined): CaptureResult {
    const text = Function.prototype.toString.call(fn);
    const refused = this.#refuseKind(fn, text, site);
    if (refused !== undefined) return refused;
    const tag = tagOf(fn);
    if (tag !== undefined) return this.#fromTag(fn, tag, site);
    const module = this.#moduleOf(text, site);
    const result = module === undefined ? this.#fromScript(fn, text, site) : this.#fromModule(fn, text, module, site);
    return result.ok ? this.#checkBody(result.fn) : result;
  }

  // ── what cannot be compiled whatever its source says ──

  #refuseKind(fn: AnyFunction, text: string, site: Site | undefined): CaptureResult | undefined {
    const own = fn.name.replace(/^bound /, "");
    const name = own === "" ? "this function" : `'${own}'`;
    if (/\{\s*\[native code\]\s*\}\s*$/.test(text)) {
      const bound = fn.name.startsWith("bound ");
      return this.#fail(
        "BPF7004",
        `${bound ? `${name} is a bound function` : `${name} is a native function or a proxy`}: it has no source to compile`,
        site,
        {
          help: bound
            ? "capture the function itself and pass its arguments"
            : "write it as a function in TypeScript, or use what `bpf` offers",
        },
      );
    }
    const kind = /^class\b/.test(text)
      ? "a class"
      : /^async\b(?!\s*(?:=>|\())/.test(text) || /^async\s*\(/.test(text)
        ? "an async function"
        : /^(?:function\s*\*|\*)/.test(text)
          ? "a generator"
          : undefined;
    if (kind === undefined) return undefined;
    return this.#fail("BPF7011", `${name} is ${kind}, which cannot be compiled to BPF`, site, {
      help: "write a plain function or an arrow function",
    });
  }

  /** `this` and private names in the body, each at its own place. */
  #checkBody(fn: CapturedFunction): CaptureResult {
    const diagnostics: Diagnostic[] = [];
    const walk = (node: Ast | AnyNode): void => {
      if (
        node.type === "ThisExpression" ||
        node.type === "Super" ||
        (node.type === "MetaProperty" && fn.node.type === "ArrowFunctionExpression")
      ) {
        const word = node.type === "Super" ? "super" : node.type === "MetaProperty" ? "import.meta" : "this";
        diagnostics.push(
          diagnostic(
            "BPF7005",
            `\`${word}\` cannot be used in a program: the kernel runs it, no object does`,
            [{ span: fn.span(node) }],
            "capture what it holds in a constant outside of the function",
          ),
        );
        return;
      }
      if (node.type === "PrivateIdentifier") {
        diagnostics.push(
          diagnostic(
            "BPF7006",
            `the private member \`#${String((node as AnyNode)["name"])}\` cannot be used in a program`,
            [{ span: fn.span(node) }],
            "capture its value in a constant outside of the function",
          ),
        );
        return;
      }
      if (node !== fn.node && isFunction(node) && node.type !== "ArrowFunctionExpression") return;
      eachChild(node, walk);
    };
    walk(fn.node);
    return diagnostics.length === 0 ? { ok: true, fn } : { ok: false, diagnostics };
  }

  // ── functions that the bundler plugin tagged ──

  #fromTag(fn: AnyFunction, tag: Tag, site: Site | undefined): CaptureResult {
    const source = this.#file(tag.module.path, tag.module.text, tag.module.path);
    const parsed = source.parsed();
    if ("code" in parsed) return { ok: false, diagnostics: [parsed] };
    const entry = parsed.functions.find((f) => f.node.start === tag.start);
    if (entry === undefined) return this.#notFound(fn, site, `no function of ${source.path} begins at ${tag.start}`);
    const result: CaptureResult = {
      ok: true,
      fn: captured(fn, entry.node, source, tagResolver(source, entry.node, tag)),
    };
    return this.#checkBody(result.fn);
  }

  // ── modules that bpfkit loaded ──

  #moduleOf(text: string, site: Site | undefined): LoadedModule | undefined {
    const own = site === undefined ? undefined : this.#host.module(site.url);
    if (own !== undefined && own.code.includes(text)) return own;
    for (const module of this.#host.modules()) if (module.code.includes(text)) return module;
    return undefined;
  }

  #fromModule(fn: AnyFunction, text: string, module: LoadedModule, site: Site | undefined): CaptureResult {
    const source = this.#file(module.url, module.text);
    const parsed = source.parsed();
    if ("code" in parsed) return { ok: false, diagnostics: [parsed] };
    const same = parsed.functions.filter((f) => runsAs(f, module.code, text));
    const entry = same.length > 1 ? this.#tellApart(fn, same, source, module, site) : same[0];
    if (entry === undefined) return this.#notFound(fn, site, `no function of ${source.path} has its text`);
    const scopes = (): ReturnType<NonNullable<CaptureHost["inspector"]>["scopes"]> => this.#host.inspector?.scopes(fn);
    return { ok: true, fn: captured(fn, entry.node, source, moduleResolver(source, entry.node, module, scopes)) };
  }

  /** Which of several functions with the same text is `fn`: the one in the declaring call, else where the engine says. */
  #tellApart(
    fn: AnyFunction,
    same: readonly FunctionEntry[],
    source: SourceFile,
    module: LoadedModule,
    site: Site | undefined,
  ): FunctionEntry | undefined {
    if (site !== undefined && this.#host.module(site.url) === module) {
      const at = source.lines.offset(site.line, site.col);
      const next = same.find((f) => f.start >= at);
      if (next !== undefined) return next;
    }
    const location = this.#host.inspector?.locate(fn);
    if (location === undefined) return same[0];
    const at = source.lines.offset(location.line + 1, location.col + 1);
    return same.find((f) => f.start <= at && at < f.end) ?? same[0];
  }

  // ── everything else: the engine's inspector and source maps ──

  #fromScript(fn: AnyFunction, text: string, site: Site | undefined): CaptureResult {
    const { inspector } = this.#host;
    const location = inspector?.locate(fn);
    if (inspector === undefined || location === undefined) {
      return this.#fail("BPF7010", "the values that this function uses cannot be read in this process", site, {
        notes: ["Node's inspector is not available here (--permission without --allow-inspector, or another runtime)"],
        help: "start the file with `bpfkit run FILE.ts`, which needs no inspector",
      });
    }
    const tried: string[] = [];
    let edited: CaptureResult | undefined;
    for (const script of this.#candidates(location, site)) {
      const found = this.#inScript(text, location, script);
      if (found.k === "found") {
        this.#scripts.set(location.script, script.url);
        const scopes = inspector.scopes(fn) ?? { lookup: () => ({ found: false }) as const };
        return {
          ok: true,
          fn: captured(
            fn,
            found.node,
            found.source,
            scopeResolver(found.source, found.node, scopes, found.running, found.original),
          ),
        };
      }
      if (found.k === "edited")
        edited = this.#fail(
          "BPF7002",
          `${found.path} was changed since it was loaded: '${fn.name}' no longer stands where it was`,
          undefined,
          { help: "start the program again" },
        );
      else if (found.k === "error") edited = { ok: false, diagnostics: [found.diagnostic] };
      else tried.push(found.why);
    }
    return edited ?? this.#notFound(fn, site, ...tried);
  }

  /** Scripts that may hold the function, cheapest first. */
  *#candidates(
    location: FunctionLocation,
    site: Site | undefined,
  ): Generator<{ url: string; text: string | undefined; mapUrl: string | undefined }> {
    const known = this.#scripts.get(location.script);
    if (known !== undefined) yield { url: known, text: undefined, mapUrl: undefined };
    if (site !== undefined && site.url !== known) yield { url: site.url, text: undefined, mapUrl: undefined };
    const script = this.#host.inspector?.script(location.script);
    if (script !== undefined)
      yield {
        url: script.url,
        text: script.text,
        mapUrl: script.sourceMapUrl === "" ? undefined : script.sourceMapUrl,
      };
  }

  #inScript(
    text: string,
    location: FunctionLocation,
    script: { url: string; text: string | undefined; mapUrl: string | undefined },
  ): Found {
    const running = parseRunning(text);
    const arrow =
      running === undefined
        ? /^(?:\(|[\p{ID_Continue}$]+\s*=>)/u.test(text)
        : running.node.type === "ArrowFunctionExpression";
    const header = arrow ? "" : text.slice(0, headerLength(text));
    const start = { line: location.line, col: location.col - header.length };
    if (header.includes("\n") || start.col < 0) return { k: "no", why: "its head spans several lines" };
    const map = this.#map(script.url, script.text, script.mapUrl);
    if (map === undefined) return this.#unmapped(text, start, script);
    return this.#mapped(text, start, script, map, running);
  }

  /** The running text is what was written (JavaScript), or that with its types blanked. */
  #unmapped(
    text: string,
    start: { line: number; col: number },
    script: { url: string; text: string | undefined },
  ): Found {
    const own = this.#host.readText(script.url) ?? script.text ?? dataUrlText(script.url);
    if (own === undefined) return { k: "no", why: `${script.url} cannot be read` };
    const source = this.#file(script.url, own);
    const offset = source.lines.offset(start.line + 1, start.col + 1);
    const parsed = source.parsed();
    const entry =
      "code" in parsed
        ? functionAt(source, offset)
        : parsed.functions.find((f) => f.runs === offset || f.start === offset);
    if (entry === undefined)
      return "code" in parsed ? { k: "error", diagnostic: parsed } : { k: "edited", path: source.path };
    if (own.slice(entry.start, entry.end) !== text && !("code" in parsed)) {
      const blanked = blankTypes(own, parsed.program as never, source.path);
      if (!blanked.ok || squeeze(blanked.code.slice(entry.runs, entry.end)) !== squeeze(text))
        return { k: "edited", path: source.path };
    }
    return { k: "found", source, node: entry.node, running: undefined, original: (o) => o };
  }

  #mapped(
    text: string,
    start: { line: number; col: number },
    script: { url: string },
    { map, base }: LocatedMap,
    running: { node: Ast; shift: number } | undefined,
  ): Found {
    const from = map.original(start.line, start.col);
    if (from === undefined)
      return { k: "no", why: `the source map of ${script.url} says nothing about line ${start.line + 1}` };
    const url = resolveUrl(from.source, base);
    const carried = map.content(from.source);
    const own = carried ?? this.#host.readText(url);
    if (own === undefined)
      return { k: "no", why: `${url}, which the source map of ${script.url} names, cannot be read` };
    const source = this.#file(url, own);
    const parsed = source.parsed();
    const offset = source.lines.offset(from.line + 1, from.col + 1);
    const at = { offset, exact: from.exact, carried: carried !== undefined };
    const entry = "code" in parsed ? functionAt(source, offset) : nearest(parsed.functions, at, running?.node);
    if (entry === undefined)
      return "code" in parsed ? { k: "error", diagnostic: parsed } : { k: "edited", path: source.path };
    const lines = new LineTable(text);
    const original = (offset: number): number | undefined => {
      const at = lines.at(offset - (running?.shift ?? 0));
      const position = map.original(start.line + at.line - 1, at.line === 1 ? start.col + at.col - 1 : at.col - 1);
      if (position === undefined || !position.exact || position.source !== from.source) return undefined;
      return source.lines.offset(position.line + 1, position.col + 1);
    };
    return { k: "found", source, node: entry.node, running: running?.node, original };
  }

  #map(url: string, text: string | undefined, mapUrl: string | undefined): LocatedMap | undefined {
    const known = this.#maps.get(url);
    // The text that the engine runs may name a map that the file on disk does not.
    if (known !== undefined || (this.#maps.has(url) && text === undefined)) return known;
    // Node has made the sources of a map that it knows absolute.
    let map = SourceMapV3.decode(this.#host.sourceMap(url));
    let base = url;
    if (map === undefined) {
      const own = text ?? this.#host.readText(url);
      const reference = mapUrl ?? (own === undefined ? undefined : sourceMappingUrl(own));
      if (reference !== undefined) {
        const inline = dataUrlText(reference);
        if (inline === undefined) base = resolveUrl(reference, url);
        map = SourceMapV3.decode(inline ?? this.#host.readText(base));
      }
    }
    const located = map === undefined ? undefined : { map, base };
    this.#maps.set(url, located);
    return located;
  }

  #file(url: string, text: string, path = this.#host.displayPath(url)): SourceFile {
    const known = this.#files.get(url);
    if (known !== undefined && known.text === text) return known;
    const file = new SourceFile(path, text);
    this.#files.set(url, file);
    return file;
  }

  #notFound(fn: AnyFunction, site: Site | undefined, ...notes: string[]): CaptureResult {
    const name = fn.name === "" ? "this function" : `'${fn.name}'`;
    return this.#fail("BPF7001", `the source of ${name} cannot be found`, site, {
      notes,
      help: "keep source maps (and the files they name) beside the running files, or start the file with `bpfkit run FILE.ts`",
    });
  }

  #fail(
    code: CaptureCode,
    message: string,
    site: Site | undefined,
    more: { notes?: readonly string[]; help?: string },
  ): CaptureResult {
    const labels: Label[] = [];
    if (site !== undefined) labels.push({ span: this.#siteSpan(site) });
    return { ok: false, diagnostics: [diagnostic(code, message, labels, more.help, more.notes)] };
  }

  /** The declaration's place in the original source, where a map can tell. */
  #siteSpan(site: Site): Label["span"] {
    const located = this.#map(site.url, undefined, undefined);
    const from = located?.map.original(site.line - 1, site.col - 1);
    const [file, line, col] =
      located === undefined || from === undefined
        ? [this.#host.displayPath(site.url), site.line, site.col]
        : [this.#host.displayPath(resolveUrl(from.source, located.base)), from.line + 1, from.col + 1];
    return { file, line, col, endLine: line, endCol: col + 1 };
  }
}

/** A map, and the URL that its sources are relative to: its own, or the script's when it is inline. */
interface LocatedMap {
  readonly map: SourceMapV3;
  readonly base: string;
}

type Found =
  | {
      readonly k: "found";
      readonly source: SourceFile;
      readonly node: FunctionNode;
      readonly running: Ast | undefined;
      readonly original: (offset: number) => number | undefined;
    }
  | { readonly k: "edited"; readonly path: string }
  | { readonly k: "error"; readonly diagnostic: Diagnostic }
  | { readonly k: "no"; readonly why: string };

function captured(
  fn: AnyFunction,
  node: FunctionNode,
  source: SourceFile,
  resolve: (name: string, at: Ast) => Resolved,
): CapturedFunction {
  return {
    name: fn.name,
    node,
    file: source.path,
    text: source.text,
    span: (n) => source.span(n.start, n.end),
    line: (line) => source.lines.line(line),
    resolve,
  };
}

function diagnostic(
  code: CaptureCode,
  message: string,
  labels: readonly Label[],
  help?: string,
  notes: readonly string[] = [],
): Diagnostic {
  return { code, severity: "error", message, labels, notes, ...(help === undefined ? {} : { help }) };
}

/** The engine's text of a function as a tree; offsets of the tree minus `shift` are offsets in the text. */
function parseRunning(text: string): { node: Ast; shift: number } | undefined {
  const expression = parseJavaScriptAt(`(${text}\n)`, 0, "");
  if (expression.ok && isFunction(expression.node)) return { node: expression.node, shift: 1 };
  const method = parseJavaScriptAt(`({${text}\n})`, 0, "");
  if (!method.ok) return undefined;
  let found: Ast | undefined;
  eachChild(method.node, (property) => {
    const value = (property as AnyNode)["value"] as AnyNode | undefined;
    if (value !== undefined && isFunction(value)) found ??= value;
  });
  return found === undefined ? undefined : { node: found, shift: 2 };
}

/** Length of what stands before `(` in the text of a function that is no arrow: `function name`, `name`, `get x`. */
function headerLength(text: string): number {
  const open = text.indexOf("(");
  return open < 0 ? 0 : open;
}

/** Is `text` what the engine prints of this function of the blanked `code`? A type at the very end leaves blanks. */
function runsAs(entry: FunctionEntry, code: string, text: string): boolean {
  return (
    code.startsWith(text, entry.runs) &&
    /^\s*$/.test(code.slice(entry.runs + text.length, entry.end)) &&
    entry.runs + text.length <= entry.end
  );
}

function squeeze(text: string): string {
  return text.replace(/\s+/g, "");
}

/**
 * The function that a mapped position means. One that begins exactly there is it, when the map carries the text that it
 * was made from; else (coarse maps, a file that may have been edited) the next one that looks like the running one.
 */
function nearest(
  functions: readonly FunctionEntry[],
  at: { readonly offset: number; readonly exact: boolean; readonly carried: boolean },
  running: Ast | undefined,
): FunctionEntry | undefined {
  const params = running === undefined ? undefined : ((running as AnyNode)["params"] as unknown[]).length;
  const fits = (f: FunctionEntry): boolean => {
    const own = f.node.params.filter((p) => (p as { name?: string }).name !== "this");
    if (params !== undefined && own.length !== params) return false;
    const isArrow = f.node.type === "ArrowFunctionExpression";
    return running === undefined || isArrow || running.type !== "ArrowFunctionExpression";
  };
  const looksLikeIt = (f: FunctionEntry): boolean => fits(f) && (running === undefined || resembles(f.node, running));
  const begins = functions.find((f) => (f.start === at.offset || f.runs === at.offset) && fits(f));
  if (begins !== undefined && ((at.exact && at.carried) || looksLikeIt(begins))) return begins;
  const next = functions.find((f) => f.start > at.offset && f.start - at.offset < NEAR && looksLikeIt(f));
  return next ?? functions.findLast((f) => f.start < at.offset && at.offset < f.end && looksLikeIt(f));
}

/** How far behind a mapped position, in UTF-16 units, a function may begin: past `export default`, names, arguments. */
const NEAR = 200;

/** Does every property, string and call of the written function appear in the running one? */
function resembles(written: Ast, running: Ast): boolean {
  const there = fingerprint(running);
  for (const [key, count] of fingerprint(written)) if ((there.get(key) ?? 0) < count) return false;
  return true;
}

function resolveUrl(reference: string, base: string): string {
  if (/^[a-z][a-z0-9+.-]+:/i.test(reference)) return reference;
  try {
    const from = base.startsWith("/") ? `file://${encodeURI(base).replace(/[?#]/g, encodeURIComponent)}` : base;
    return new URL(reference, from).href;
  } catch {
    return reference;
  }
}
