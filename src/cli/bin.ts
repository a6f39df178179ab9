/**
 * The command's entry: runs the packs of `dist/cli` from V8's code cache. A pack is a
 * script whose value is an object of module functions by name: `run.pack` has what every
 * start of `bpfkit run` needs, `compile.pack` what compiling adds, `more.pack` the other
 * commands. (In one pack for both, the code of the other commands would cost 2-3 ms a start.)
 * The first two are one module each, called `*`, that exports the exports of several.
 *
 * The cache lies beside the packs, so whoever could tamper with it could already change
 * the packs themselves. V8 compares only the source's length, so a cache file is named
 * after the build's content hash, Node's version and the architecture. Nor does V8 check
 * its checksum (measured: 446 of 446 damaged caches accepted), so the file holds the
 * cache twice: comparing takes 0.1 ms, loading `node:zlib` for a CRC 3.
 * A bundle of 400 KB starts at 1.08 × `node -e 0` with a cache, 1.21 × without.
 */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Script } from "node:vm";
import { readTwice, writeTwice } from "../load/twice.ts";
import type { Host } from "./command.ts";

declare const BPFKIT_BUNDLE_HASH: string;
/** Names of the packs in the order in which they are searched. */
declare const BPFKIT_PACKS: readonly string[];

type ModuleFunction = (
  exports: object,
  require: (id: string) => unknown,
  module: { exports: object },
  meta: ModuleMeta,
) => void;
/** `import.meta` of the modules in the packs. */
interface ModuleMeta {
  readonly url: string;
  readonly dirname: string;
}
type Pack = Readonly<Record<string, ModuleFunction>>;

const directory = join(__dirname, "cli");
const meta: ModuleMeta = {
  dirname: __dirname,
  // Rarely asked for, and making a URL costs 0.3 ms, cold.
  get url() {
    return process.getBuiltinModule("node:url").pathToFileURL(__filename).href;
  },
};
const noCache = process.env["BPFKIT_NO_CODE_CACHE"] !== undefined;
/** Set by the build, which runs the command once so that the first start finds a cache. It lacks what only a start with privileges uses. */
const partial = process.env["BPFKIT_PARTIAL_CODE_CACHE"] !== undefined;

/** Packs that ran without a (whole) cache, to be cached once start-up is over. */
const fresh = new Map<string, Script>();
/** How many of the packs are open. */
let opened = 0;
/** Modules that have not run. */
const waiting = new Map<string, ModuleFunction>();
const loaded = new Map<string, { exports: object }>();

const cacheFile = (pack: string, state = ""): string =>
  join(directory, `${pack}.${BPFKIT_BUNDLE_HASH}.${process.version}.${process.arch}${state}.cache`);

function readPack(name: string): Pack {
  const filename = join(directory, `${name}.pack`);
  const whole = noCache ? undefined : readTwice(cacheFile(name));
  const cachedData = whole ?? (noCache ? undefined : readTwice(cacheFile(name, ".partial")));
  // The build writes ASCII only: decoding it as such is four times as fast as UTF-8.
  const script = new Script(readFileSync(filename, "latin1"), {
    filename,
    ...(cachedData === undefined ? {} : { cachedData }),
  });
  if (whole === undefined || script.cachedDataRejected === true) fresh.set(name, script);
  return script.runInThisContext() as Pack;
}

/** The exports of module `id`; packs are opened until one has it. */
function load(id: string): object {
  for (;;) {
    const known = loaded.get(id);
    if (known !== undefined) return known.exports;
    const run = waiting.get(id);
    if (run !== undefined) {
      const module = { exports: {} };
      loaded.set(id, module);
      run(module.exports, requireFrom, module, meta);
      return module.exports;
    }
    const next = BPFKIT_PACKS[opened++];
    if (next === undefined) throw new Error(`${directory} is damaged: ${id} is missing. Reinstall bpfkit`);
    openPack(next);
  }
}

function openPack(name: string): void {
  for (const [id, run] of Object.entries(readPack(name))) {
    if (id !== "*") {
      waiting.set(id, run);
      continue;
    }
    const module = { exports: {} };
    run(module.exports, requireFrom, module, meta);
    for (const [own, exports] of Object.entries(module.exports)) loaded.set(own, { exports: exports as object });
  }
}

function requireFrom(id: string): unknown {
  return id.startsWith("./") ? load(id.slice(2, -".js".length)) : require(id);
}

function saveCache(): void {
  if (noCache) return;
  for (const [pack, script] of fresh) {
    const data = script.createCachedData();
    const file = cacheFile(pack, partial ? ".partial" : "");
    try {
      writeTwice(file, data);
      if (!partial) rmSync(cacheFile(pack, ".partial"), { force: true });
    } catch {
      // A read-only installation starts without the cache, 10-20 ms later.
    }
  }
  fresh.clear();
}

const { main } = load("main") as { main: (argv: string[], host: Host) => Promise<void> };
void main(process.argv.slice(2), { build: BPFKIT_BUNDLE_HASH, saveCache, importModule: (to) => import(to) }).finally(
  () => {
    if (partial) saveCache();
  },
);
