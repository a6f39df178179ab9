/** Where a handle was declared, so that the compiler can find its source text. */

/**
 * A place in a script as the engine sees it: `url` is its file: URL or path, `line` and `col`
 * are from 1 and count in the text that runs, which may differ from the file (see source maps).
 */
export interface CallSite {
  readonly url: string;
  readonly line: number;
  readonly col: number;
}

interface V8CallSite {
  getScriptNameOrSourceURL?(): string | null;
  getFileName(): string | null;
  getLineNumber(): number | null;
  getColumnNumber(): number | null;
}
type V8Error = ErrorConstructor & {
  stackTraceLimit?: number;
  captureStackTrace?(target: object, upTo: (...args: never[]) => unknown): void;
  prepareStackTrace?: ((error: Error, sites: V8CallSite[]) => unknown) | undefined;
};

/** A public function by its name, `{ hash }`: the name survives where a bundler renames the function. */
export type DeclaredBy = Readonly<Record<string, (...args: never[]) => unknown>>;

/** The name of a declaring function. */
export function declarer(declaredBy: DeclaredBy): string {
  return Object.keys(declaredBy)[0]!;
}

/**
 * Notes the caller of `declaredBy`, which must be on the stack, and returns the function that tells it; undefined where
 * the engine cannot tell. Where a file was loaded by bpfkit nobody asks, and finding the position takes 0.1 ms, cold.
 */
export function callSite(declaredBy: DeclaredBy): () => CallSite | undefined {
  const V8 = Error as V8Error;
  const holder: { stack?: unknown } = {};
  const { stackTraceLimit } = V8;
  try {
    V8.stackTraceLimit = 1;
    V8.captureStackTrace?.(holder, declaredBy[declarer(declaredBy)]!);
  } catch {
    // Frozen intrinsics (`node --frozen-intrinsics`, SES).
  } finally {
    if (stackTraceLimit !== undefined) V8.stackTraceLimit = stackTraceLimit;
  }
  let site: CallSite | undefined;
  let known = false;
  return () => {
    if (!known) site = read(V8, holder);
    known = true;
    return site;
  };
}

function read(V8: V8Error, holder: { stack?: unknown }): CallSite | undefined {
  const { prepareStackTrace } = V8;
  try {
    // Structured, and raw: a hook such as source-map-support's would map the position already.
    V8.prepareStackTrace = (_, sites) => sites[0];
  } catch {
    return undefined;
  }
  try {
    const site = holder.stack as V8CallSite | undefined;
    if (typeof site !== "object" || site === null) return undefined;
    // A module that runs from a data: URL says where it came from with `//# sourceURL=`.
    const url = site.getScriptNameOrSourceURL?.() ?? site.getFileName();
    const line = site.getLineNumber();
    const col = site.getColumnNumber();
    return url === undefined || url === null || line === null || col === null
      ? undefined
      : Object.freeze({ url, line, col });
  } finally {
    V8.prepareStackTrace = prepareStackTrace;
  }
}
