//     npx bpfkit test examples/bashreadline.test.ts
import { strict as assert } from "node:assert";
import { simulate } from "bpfkit/testing";
import * as bashreadline from "./bashreadline.ts";

const { onReadline, lines } = bashreadline;

for (const kernel of ["6.1", "6.12", "6.18"]) {
  const sim = simulate(bashreadline, { kernel });
  sim.task({ pid: 42, uid: 1000, comm: "bash" });
  sim.run(onReadline, { ret: "echo ☃" });
  sim.run(onReadline, { ret: null }); // end of input
  sim.run(onReadline, { ret: "x".repeat(400) });
  assert.deepEqual(sim.drain(lines), [
    { pid: 42, uid: 1000, text: "echo ☃" },
    { pid: 42, uid: 1000, text: "x".repeat(255) },
  ]);
}
