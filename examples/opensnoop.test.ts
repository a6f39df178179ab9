//     npx bpfkit test examples/opensnoop.test.ts
import { strict as assert } from "node:assert";
import { simulate } from "bpfkit/testing";
import * as opensnoop from "./opensnoop.ts";

const { enterOpenat, exitOpenat, enterOpenat2, exitOpenat2, opens } = opensnoop;

for (const kernel of ["6.1", "6.12", "6.18"]) {
  const sim = simulate(opensnoop, { kernel });
  sim.task({ pid: 42, tgid: 40, uid: 1000, comm: "cat" });
  sim.run(enterOpenat, { dfd: -100, filename: "/etc/passwd", flags: 0 });
  sim.run(exitOpenat, { ret: 3 });
  sim.run(enterOpenat2, { filename: "/etc/shadow" });
  sim.run(exitOpenat2, { ret: -13 });
  const cat = { pid: 40, uid: 1000, comm: "cat" };
  assert.deepEqual(sim.drain(opens), [
    { ...cat, fd: 3, error: "ok", file: "/etc/passwd" },
    { ...cat, fd: -1, error: "EACCES", file: "/etc/shadow" },
  ]);

  // Opened before the probe was attached: only its end is seen.
  sim.run(exitOpenat, { ret: 4 });
  assert.deepEqual(sim.drain(opens), []);
  assert.deepEqual(sim.entries("names"), []);

  // --set onlyFailed=1
  const failed = simulate(opensnoop, { kernel, config: { onlyFailed: 1 } });
  for (const ret of [3, -2]) {
    failed.run(enterOpenat, { filename: "x" });
    failed.run(exitOpenat, { ret });
  }
  assert.deepEqual(
    failed.drain(opens).map((e) => e.error),
    ["ENOENT"],
  );

  // --set onlyPid=7
  const one = simulate(opensnoop, { kernel, config: { onlyPid: 7 } });
  for (const pid of [6, 7]) {
    one.task({ pid });
    one.run(enterOpenat, { filename: "x" });
    one.run(exitOpenat, { ret: 3 });
  }
  assert.deepEqual(
    one.drain(opens).map((e) => e.pid),
    [7],
  );
}
