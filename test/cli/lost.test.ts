import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { bpfkit, jsonLines, scratch } from "./bpfkit.ts";

const test = suite("cli lost samples");

const MAIN = `
export default async (app: App) => {
  for await (const e of app.stream(events)) console.log(JSON.stringify({ n: e.n }));
};
`;
for (const [what, main] of [
  ["what it prints itself", ""],
  ["a main function's stream", MAIN],
] as const)
  test(`run says how many samples found the buffer full: ${what}`, async () => {
    requires({ root: true, kernel: "5.8" });
    const file = join(scratch("lost"), "flood.ts");
    writeFileSync(
      file,
      `import type { App } from "bpfkit/load";
import { array, global, range, rawTracepoint, ringbuf, struct, u32, u64 } from "bpfkit";
const Sample = struct({ n: u32, pad: array(u64, 7) });
export const events = ringbuf(Sample, { size: 4096 });
export const started = global(u32, 0);
export const flood = rawTracepoint("sys_enter", () => {
  if (started.value !== 0) return;
  started.value = 1;
  for (const i of range(1000)) events.emit({ n: i, pad: [] });
});
${main}`,
    );
    const { code, stdout, stderr } = await bpfkit(["run", "--json", "--duration", "0.5", file]);
    assert.is(code, 0, stderr);
    const got = jsonLines<{ n?: number }>(stdout).filter((l) => l.n !== undefined).length;
    const lost = /^(\d+) samples of events were lost/m.exec(stderr)?.[1];
    // Several CPUs may have passed the check before the first stored.
    assert.is((got + Number(lost)) % 1000, 0, `${got} ${stderr}`);
    assert.ok(Number(lost) > 0);
  });
