import { readFileSync } from "node:fs";
import { helperTypes } from "../../scripts/gen-helper-types.ts";
import { assert, suite } from "../harness.ts";

const test = suite("probe helper types");

test("the generated file is what the helper table gives", () => {
  const file = new URL("../../src/probe/helper-types.generated.ts", import.meta.url);
  assert.fixture(readFileSync(file, "utf8"), helperTypes(), "run: node --import tsx scripts/gen-helper-types.ts");
});
