/**
 * What capturing needs of Node: files, source maps, and the inspector (which sees into closures). Node's modules are
 * asked for when they are needed, not imported: this file loads in a browser, where nothing can be captured this way.
 */
import type {
  CaptureHost,
  FunctionLocation,
  FunctionScopes,
  Inspector,
  LoadedModule,
} from "../compiler/capture/types.ts";

type AnyFunction = (...args: never[]) => unknown;
const inspectorModule = () => process.getBuiltinModule("node:inspector");
type InspectorModule = ReturnType<typeof inspectorModule>;
type Session = InstanceType<InspectorModule["Session"]>;

/**
 * The host for `createCapture` in Node. Nothing is loaded until it is asked for: the inspector costs 5-11 ms.
 *
 * @param modules modules that bpfkit loaded itself (`loadModule`); their names need no inspector
 */
export function nodeCaptureHost(modules: ReadonlyMap<string, LoadedModule> = new Map()): CaptureHost {
  let inspector: Inspector | undefined | null = null;
  return {
    module: (url) => modules.get(url),
    modules: () => modules.values(),
    readText,
    sourceMap: (url) => process.getBuiltinModule("node:module").findSourceMap(url)?.payload,
    displayPath,
    get inspector(): Inspector | undefined {
      if (inspector === null) inspector = connect();
      return inspector;
    },
  };
}

function readText(url: string): string | undefined {
  try {
    return process.getBuiltinModule("node:fs").readFileSync(toPath(url), "utf8");
  } catch {
    return undefined;
  }
}

function toPath(url: string): string {
  return url.startsWith("file:") ? process.getBuiltinModule("node:url").fileURLToPath(url) : url;
}

/** Relative to the working directory where the file is below it, else absolute. */
export function displayPath(url: string): string {
  let path: string;
  try {
    path = toPath(url);
  } catch {
    return url;
  }
  const near = process.getBuiltinModule("node:path").relative(process.cwd(), path);
  return near === "" || near.startsWith("..") ? path : near;
}

interface RemoteValue {
  readonly objectId?: string;
  readonly value?: unknown;
  readonly description?: string;
}
interface Property {
  readonly name: string;
  readonly value?: RemoteValue;
}
interface Properties {
  readonly result: readonly Property[];
  readonly internalProperties?: readonly Property[];
}

/** Values pass through a property of the `node:inspector` exports: `globalThis` is another object inside a vm context. */
const SLOT = Symbol.for("bpfkit.inspector");

/** A session in which every request answers at once; undefined where Node forbids it or has none. */
function connect(): Inspector | undefined {
  try {
    const inspector = inspectorModule() as InspectorModule & {
      [SLOT]?: Holder;
    };
    const session = new inspector.Session();
    session.connect();
    return new NodeInspector(session, inspector);
  } catch {
    return undefined;
  }
}

interface Holder {
  fn?: AnyFunction | undefined;
  scope?: Record<string, unknown> | undefined;
}

class NodeInspector implements Inspector {
  readonly #session: Session;
  readonly #holder: Holder = {};
  readonly #holderId: string;
  #scripts: Map<string, { url: string; sourceMapUrl: string }> | undefined;

  constructor(session: Session, exchange: { [SLOT]?: Holder }) {
    this.#session = session;
    exchange[SLOT] = this.#holder;
    const { result } = this.#post("Runtime.evaluate", {
      expression: 'process.getBuiltinModule("node:inspector")[Symbol.for("bpfkit.inspector")]',
    }) as { result: RemoteValue };
    delete exchange[SLOT];
    if (result.objectId === undefined) throw new Error("the inspector gives no object");
    this.#holderId = result.objectId;
  }

  /** Sends a request; the answer comes before `post` returns. */
  #post(method: string, params: object = {}): unknown {
    let answer: unknown;
    let failure: Error | null = null;
    this.#session.post(method, params, (error, result) => {
      failure = error;
      answer = result;
    });
    if (failure !== null) throw failure as Error;
    if (answer === undefined) throw new Error(`${method} did not answer at once`);
    return answer;
  }

  /** What `locate` found, for the `scopes` that follows. */
  #last: { readonly fn: AnyFunction; readonly internals: readonly Property[] } | undefined;

  #internals(fn: AnyFunction): readonly Property[] {
    if (this.#last?.fn === fn) return this.#last.internals;
    this.#holder.fn = fn;
    try {
      const { result } = this.#post("Runtime.callFunctionOn", {
        objectId: this.#holderId,
        functionDeclaration: "function () { return this.fn }",
        objectGroup: "bpfkit",
      }) as { result: RemoteValue };
      const params = { objectId: result.objectId, ownProperties: true };
      const internals = (this.#post("Runtime.getProperties", params) as Properties).internalProperties ?? [];
      this.#last = { fn, internals };
      return internals;
    } finally {
      this.#holder.fn = undefined;
    }
  }

  locate(fn: AnyFunction): FunctionLocation | undefined {
    const value = this.#internals(fn).find((p) => p.name === "[[FunctionLocation]]")?.value?.value;
    if (typeof value !== "object" || value === null) return undefined;
    const { scriptId, lineNumber, columnNumber } = value as {
      scriptId: string;
      lineNumber: number;
      columnNumber: number;
    };
    return { script: scriptId, line: lineNumber, col: columnNumber };
  }

  scopes(fn: AnyFunction): FunctionScopes | undefined {
    const objectId = this.#internals(fn).find((p) => p.name === "[[Scopes]]")?.value?.objectId;
    if (objectId === undefined) return undefined;
    const scopes: Record<string, unknown>[] = [];
    for (const { name, value } of (this.#post("Runtime.getProperties", { objectId, ownProperties: true }) as Properties)
      .result) {
      if (!/^\d+$/.test(name) || value?.objectId === undefined || value.description === "Global") continue;
      this.#post("Runtime.callFunctionOn", {
        objectId: value.objectId,
        functionDeclaration: "function (holder) { holder.scope = this.object }",
        arguments: [{ objectId: this.#holderId }],
      });
      if (this.#holder.scope !== undefined) scopes.push(this.#holder.scope);
      this.#holder.scope = undefined;
    }
    this.#last = undefined;
    this.#post("Runtime.releaseObjectGroup", { objectGroup: "bpfkit" });
    return {
      lookup(name) {
        const scope = scopes.find((s) => Object.hasOwn(s, name));
        if (scope === undefined) return { found: false };
        try {
          return { found: true, value: scope[name] };
        } catch (error) {
          // Node 22 and later throw in the temporal dead zone; Node 20 shows undefined.
          return { found: false, uninitialised: error instanceof ReferenceError };
        }
      },
    };
  }

  script(id: string): { url: string; text: string; sourceMapUrl: string } | undefined {
    if (this.#scripts === undefined) {
      const scripts = new Map<string, { url: string; sourceMapUrl: string }>();
      this.#scripts = scripts;
      const listen = ({
        params,
      }: {
        params: { scriptId: string; url: string; sourceMapURL?: string | undefined };
      }): void => {
        scripts.set(params.scriptId, { url: params.url, sourceMapUrl: params.sourceMapURL ?? "" });
      };
      // Stays enabled: the text of a script can only be asked for then.
      this.#session.on("Debugger.scriptParsed", listen);
      this.#post("Debugger.enable");
    }
    const known = this.#scripts.get(id);
    if (known === undefined) return undefined;
    const { scriptSource } = this.#post("Debugger.getScriptSource", { scriptId: id }) as { scriptSource: string };
    return { ...known, text: scriptSource };
  }
}
