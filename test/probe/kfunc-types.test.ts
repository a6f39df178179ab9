import { readFileSync } from "node:fs";
import { kfuncMethod, typedKfuncs } from "../../scripts/gen-kfunc-types.ts";
import { assert, suite } from "../harness.ts";

const test = suite("probe kfunc types");

test("every kernel function of the table is a method, of the program types that have it", () => {
  const text = readFileSync(new URL("../../src/probe/kfunc-types.generated.ts", import.meta.url), "utf8");
  const methods = [...text.matchAll(/^ {2}(\w+)(?:\(|: LooseKfunc)/gm)].map((m) => m[1]);
  assert.equal(
    methods,
    typedKfuncs().map((k) => kfuncMethod(k.name)),
    "run: node --import tsx scripts/gen-kfunc-types.ts",
  );
  const of = (type: string): string[] => (new RegExp(`^ {2}${type}: (.*);$`, "m").exec(text)?.[1] ?? "").split(" | ");
  assert.ok(of("xdp").includes("Common"));
  assert.ok(of("xdp").includes('"dynptrFromXdp"') && !of("kprobe").includes('"dynptrFromXdp"'));
  assert.ok(of("tracing").includes('"taskFromPid"') && of("syscall").includes('"taskFromPid"'));
});
