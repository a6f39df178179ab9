/** The committed objects: `scripts/gen-testdata.sh` makes them from the .c files beside them. */
import { readdirSync, readFileSync } from "node:fs";
import { readObject, type CollectionSpec } from "../../src/elf/index.ts";

const directory = new URL("../testdata/", import.meta.url);

/** File names of all objects that can be read, such as "maps-el.o". */
export const FIXTURES: readonly string[] = readdirSync(directory)
  .filter((f) => f.endsWith(".o") && !f.startsWith("legacy"))
  .sort();

export function fixtureBytes(file: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(file, directory)));
}

export function fixturePath(file: string): string {
  return new URL(file, directory).pathname;
}

/** A fixture as a collection named "probe". */
export function fixture(file: string): CollectionSpec {
  return readObject(fixtureBytes(file), { name: "probe" });
}
