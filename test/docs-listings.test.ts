/** The listings of the language's page are what its snippets become. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bpfkit, root, scratch } from "./cli/bpfkit.ts";
import { assert, suite } from "./harness.ts";
import { requires } from "./kernel.ts";

const test = suite("docs listings");
const page = readFileSync(join(root, "docs/probe-language.md"), "utf8");
const pairs = [...page.matchAll(/^```ts\n((?:(?!```).*\n)*)```\n\n```text\n((?:(?!```).*\n)*)```/gm)];

test("every construct has a snippet, most have a listing", () => {
  assert.ok(pairs.length >= 10);
});

const directory = scratch("listings");
for (const [, code = "", listing = ""] of pairs) {
  test(listing.split("\n")[0] ?? "", async () => {
    // Layouts of tracepoints come from tracefs.
    if (code.includes("tracepoint(")) requires({ root: true, kernel: "5.8" });
    // Of the same name each: that of its data sections.
    const file = join(directory, "probe.ts");
    writeFileSync(file, code);
    const { stdout, stderr, code: status } = await bpfkit(["disasm", "--no-source", file]);
    assert.is(status, 0, stderr);
    assert.is(stdout, listing);
  });
}
