/**
 * Runs every `*.test.ts` below `test/` (or below the paths given), in one process.
 *
 *   npm test                      everything
 *   npm test -- test/asm          one folder or file
 *   TEST_FILTER="print" npm test  only tests whose "suite › name" contains the text
 *
 * Exit code 0 only if every file registered a suite and every test finished.
 * The last line is `N passed, N failed, N skipped`.
 */
import { readdirSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";

interface UvuGlobals {
  UVU_DEFER?: number;
  UVU_QUEUE?: unknown[][];
  UVU_INDEX?: number;
}
const globals = globalThis as UvuGlobals;
globals.UVU_DEFER = 1;
const { exec } = await import("uvu");
const { counts, flush } = await import("./harness.ts");

const root = resolve(import.meta.dirname, "..");
const paths = process.argv.slice(2).filter((a) => !a.startsWith("-"));

function* testFiles(path: string): Generator<string> {
  if (statSync(path).isFile()) {
    yield path;
    return;
  }
  for (const entry of readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.isDirectory() && entry.name !== "testdata") yield* testFiles(join(path, entry.name));
    else if (entry.name.endsWith(".test.ts")) yield join(path, entry.name);
  }
}

const files = (paths.length === 0 ? [join(root, "test")] : paths.map((p) => resolve(p))).flatMap((p) => [
  ...testFiles(p),
]);
const problems: string[] = [];
const queue = (globals.UVU_QUEUE ??= []);
for (const file of files) {
  const name = relative(root, file);
  queue.push([name]);
  globals.UVU_INDEX = queue.length - 1;
  try {
    await import(pathToFileURL(file).href);
    if (flush() === 0) problems.push(`${name}: registers no suite`);
  } catch (error) {
    counts.failed++;
    problems.push(`${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }
}
if (files.length === 0) problems.push("no test files");
if (problems.length === 0 || queue.length > 0) await exec();

const finished = counts.passed + counts.failed + counts.skipped.length;
if (finished < counts.registered) problems.push(`${counts.registered - finished} registered tests never ran`);
if (counts.registered === 0) problems.push("no test registered");
for (const { test, reason } of counts.skipped) console.log(`skipped: ${test}: ${reason}`);
for (const problem of problems) console.log(`problem: ${problem}`);
console.log(`${counts.passed} passed, ${counts.failed + problems.length} failed, ${counts.skipped.length} skipped`);
process.exit(counts.failed + problems.length === 0 ? 0 : 1);
