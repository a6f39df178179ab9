/**
 * Writes `data/kernels/NAME.btf.gz` and `NAME.events.gz`: types and trace events of a kernel, for tests and for `verify`
 * without that kernel. DIRECTORY is what collect.sh wrote.
 *
 *   node --import tsx scripts/kernel-types/make.mts NAME DIRECTORY
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { Btf } from "../../src/btf/btf.ts";
import { parseTracepointFormat } from "../../src/btf/tracepoint-format.ts";
import { reduce } from "./reduce.mts";
import { FUNCTION_GROUPS, selectTypes } from "./select.mts";

/** What the types of a kernel may take in the package. */
const LIMIT = 600_000;

const [name, directory] = process.argv.slice(2);
if (name === undefined || directory === undefined) throw new Error("usage: make.mts NAME DIRECTORY");
const text = (file: string): string => readFileSync(join(directory, file), "utf8");

/** A line an event: name, then a field each, as `name,type,offset,size,flags`: 1 signed, 2 data_loc, 4 rel_loc. The first line is the release. */
function eventLines(): string {
  const lines: string[] = [];
  for (const part of text("formats").split(/^== /m).slice(1)) {
    const end = part.indexOf("\n");
    const [category = "", event = ""] = part.slice(0, end).split("/");
    let fields;
    try {
      ({ fields } = parseTracepointFormat(part.slice(end + 1), category));
    } catch {
      // Events of the function tracer have a format of another shape.
      continue;
    }
    const own = fields.filter((f) => !f.name.startsWith("common_"));
    lines.push(
      [
        `${category}:${event}`,
        ...own.map((f) =>
          [
            f.name,
            f.type,
            f.offset,
            f.size,
            (f.signed ? 1 : 0) + (f.dynamic === "data_loc" ? 2 : f.dynamic === "rel_loc" ? 4 : 0),
          ].join(","),
        ),
      ].join("\t"),
    );
  }
  return `${text("release").trim()}\n${lines.sort().join("\n")}\n`;
}

const btf = Btf.parse(readFileSync(join(directory, "vmlinux.btf")));
let packed: Buffer | undefined;
for (let groups = FUNCTION_GROUPS.length; groups >= 0; groups--) {
  const keep = selectTypes(btf, groups);
  const bytes = reduce(btf, keep);
  packed = gzipSync(bytes, { level: 9, memLevel: 9 });
  console.log(
    `${name}: ${groups} groups of functions, ${keep.size} types, ${bytes.length} bytes, packed ${packed.length}`,
  );
  if (packed.length <= LIMIT) break;
}
const out = join(import.meta.dirname, "../../data/kernels");
mkdirSync(out, { recursive: true });
writeFileSync(join(out, `${name}.btf.gz`), packed!);
const events = gzipSync(eventLines(), { level: 9, memLevel: 9 });
console.log(`${name}: events packed ${events.length}`);
writeFileSync(join(out, `${name}.events.gz`), events);
