//     npx bpfkit test examples/exitsnoop.test.ts
import { strict as assert } from "node:assert";
import { simulate } from "bpfkit/testing";
import * as exitsnoop from "./exitsnoop.ts";

const { onExit, exits } = exitsnoop;

for (const kernel of ["6.1", "6.12", "6.18"]) {
  const sim = simulate(exitsnoop, { kernel, now: 9_000_000n });
  const task = { pid: 42, tgid: 42, comm: "sh", real_parent: { tgid: 7 }, start_time: 5_000_000 };
  sim.run(onExit, { p: { ...task, exit_code: 3 << 8 } });
  sim.run(onExit, { p: { ...task, exit_code: 9 } });
  sim.run(onExit, { p: { ...task, pid: 43 } }); // a thread
  sim.run(onExit, { p: task });
  const sh = { pid: 42, ppid: 7, uid: 0, comm: "sh", microseconds: 4000n };
  assert.deepEqual(sim.drain(exits), [
    { ...sh, code: 3, signal: "none" },
    { ...sh, code: 0, signal: "SIGKILL" },
    { ...sh, code: 0, signal: "none" },
  ]);

  // --set onlyFailed=1
  const failed = simulate(exitsnoop, { kernel, config: { onlyFailed: 1 } });
  for (const exit_code of [0, 256]) failed.run(onExit, { p: { ...task, exit_code } });
  assert.deepEqual(
    failed.drain(exits).map((e) => e.code),
    [1],
  );
}
