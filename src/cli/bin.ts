/**
 * The command's entry: runs the packs of `dist/cli` from V8's code cache. A pack is a
 * script whose value is an object of module functions by name: `run.pack` has what every
 * start of `bpfkit run` needs, `more.pack` the rest (the compiler, the other commands).
 *
 * The cache lies beside the packs, so whoever could tamper with it could already change
 * the packs themselves. V8 compares only the source's length, so a cache file is named
 * after the build's content hash, Node's version and the architecture, and it carries a CRC
 * of its own: V8 does not check its checksum (measured: 446 of 446 damaged caches accepted).
 * A bundle of 400 KB starts at 1.08 × `node -e 0` with a cache, 1.21 × without.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Script } from "node:vm";
import { crc32 } from "node:zlib";
import type { Host } from "./command.ts";

declare const BPFKIT_BUNDLE_HASH: string;

type ModuleFunction = (exports: object, require: (id: string) => unknown, module: { exports: object }, url: string, directory: string) => void;
type Pack = Readonly<Record<string, ModuleFunction>>;

const directory = join(__dirname, "cli");
const nodeRequire = createRequire(__filename);
const url = pathToFileURL(__filename).href;
const noCache = process.env["BPFKIT_NO_CODE_CACHE"] !== undefined;

/** Packs that ran without a (good) cache, to be cached once start-up is over. */
const fresh = new Map<string, Script>();
const packs: Pack[] = [];
const loaded = new Map<string, { exports: object }>();

const cacheFile = (pack: string): string => join(directory, `${pack}.${BPFKIT_BUNDLE_HASH}.${process.version}.${process.arch}.cache`);

/** The cached code of a pack, or undefined when it is missing or damaged. */
function readCache(pack: string): Buffer | undefined {
  if (noCache) return undefined;
  try {
    const bytes = readFileSync(cacheFile(pack));
    const data = bytes.subarray(4);
    return bytes.length > 4 && bytes.readUInt32LE(0) === crc32(data) ? data : undefined;
  } catch {
    return undefined;
  }
}

function readPack(name: string): Pack {
  const filename = join(directory, `${name}.pack`);
  const cachedData = readCache(name);
  // The build writes ASCII only: decoding it as such is four times as fast as UTF-8.
  const script = new Script(readFileSync(filename, "latin1"), { filename, ...(cachedData === undefined ? {} : { cachedData }) });
  if (cachedData === undefined || script.cachedDataRejected === true) fresh.set(name, script);
  const pack = script.runInThisContext() as Pack;
  packs.push(pack);
  return pack;
}

function find(id: string): ModuleFunction {
  for (const pack of packs) if (pack[id] !== undefined) return pack[id];
  const found = packs.length < 2 ? readPack("more")[id] : undefined;
  if (found === undefined) throw new Error(`${directory} is damaged: ${id} is missing. Reinstall bpfkit`);
  return found;
}

function load(id: string): object {
  const known = loaded.get(id);
  if (known !== undefined) return known.exports;
  const module = { exports: {} };
  loaded.set(id, module);
  find(id)(module.exports, requireFrom, module, url, __dirname);
  return module.exports;
}

function requireFrom(id: string): unknown {
  return id.startsWith("./") ? load(id.slice(2, -".js".length)) : nodeRequire(id);
}

function saveCache(): void {
  if (noCache) return;
  for (const [pack, script] of fresh) {
    const data = script.createCachedData();
    const crc = Buffer.alloc(4);
    crc.writeUInt32LE(crc32(data));
    const file = cacheFile(pack);
    const temporary = `${file}.${process.pid}`;
    try {
      writeFileSync(temporary, Buffer.concat([crc, data]));
      renameSync(temporary, file);
    } catch {
      // A read-only installation starts without the cache, 10-20 ms later.
      rmSync(temporary, { force: true });
    }
  }
  fresh.clear();
}

readPack("run");
const { main } = load("main") as { main: (argv: string[], host: Host) => Promise<void> };
void main(process.argv.slice(2), { saveCache, importModule: (to) => import(to) });
