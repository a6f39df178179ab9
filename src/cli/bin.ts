/**
 * The command's entry: starts the bundled `cli.cjs` from V8's code cache.
 *
 * The cache lies beside the bundle, so whoever could tamper with it could already
 * change the bundle itself. V8 compares only the source's length, so the file is
 * named after the bundle's content hash, Node's version and the architecture, and
 * it carries a CRC of its own: release builds of V8 do not check theirs.
 * Measured on Node 20 with a 400 KB bundle: 1.08 × `node -e 0` with it, 1.21 × without.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { Script } from "node:vm";
import { crc32 } from "node:zlib";
import type { Host } from "./command.ts";

declare const BPFKIT_BUNDLE_HASH: string;

const file = join(__dirname, "cli.cjs");
const cacheFile = join(__dirname, `cli.${BPFKIT_BUNDLE_HASH}.${process.version}.${process.arch}.cache`);

/** The cached code, or undefined when it is missing or damaged. */
function readCache(): Buffer | undefined {
  if (process.env["BPFKIT_NO_CODE_CACHE"] !== undefined) return undefined;
  try {
    const bytes = readFileSync(cacheFile);
    const data = bytes.subarray(4);
    return bytes.length > 4 && bytes.readUInt32LE(0) === crc32(data) ? data : undefined;
  } catch {
    return undefined;
  }
}

const source = readFileSync(file, "utf8");
const cachedData = readCache();
const script = new Script(`(function (exports, require, module, __filename, __dirname) {${source}\n})`, {
  filename: file,
  ...(cachedData === undefined ? {} : { cachedData }),
});

/** Called once the command has done its start-up work, so that what it used is in the cache. */
function saveCache(): void {
  if (cachedData !== undefined && script.cachedDataRejected !== true) return;
  if (process.env["BPFKIT_NO_CODE_CACHE"] !== undefined) return;
  const data = script.createCachedData();
  const crc = Buffer.alloc(4);
  crc.writeUInt32LE(crc32(data));
  const temporary = `${cacheFile}.${process.pid}`;
  try {
    writeFileSync(temporary, Buffer.concat([crc, data]));
    renameSync(temporary, cacheFile);
  } catch {
    // A read-only installation starts without the cache, 10-20 ms later.
    rmSync(temporary, { force: true });
  }
}

const module_ = { exports: {} as { main?: (argv: string[], host: Host) => Promise<void> } };
const run = script.runInThisContext() as (...args: unknown[]) => void;
run(module_.exports, createRequire(file), module_, file, __dirname);
void module_.exports.main?.(process.argv.slice(2), { saveCache, importModule: (url) => import(url) });
