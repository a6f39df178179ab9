//     npx bpfkit test examples/runqlat.test.ts
import { strict as assert } from "node:assert";
import { simulate } from "bpfkit/testing";
import * as runqlat from "./runqlat.ts";

const { onWakeup, onWakeupNew, onSwitch, waitMicroseconds } = runqlat;
const RUNNING = 0;
const SLEEPING = 1;

for (const kernel of ["6.1", "6.12", "6.18"]) {
  const sim = simulate(runqlat, { kernel });
  const idle = { pid: 0, __state: SLEEPING };
  sim.run(onWakeup, { p: { pid: 1 } });
  sim.advance(5_000); // 5 µs
  sim.run(onSwitch, { prev: idle, next: { pid: 1 } });
  // Preempted, it waits until it runs again; the other one is new.
  sim.run(onWakeupNew, { p: { pid: 2 } });
  sim.advance(100_000);
  sim.run(onSwitch, { preempt: true, prev: { pid: 1, __state: RUNNING }, next: { pid: 2 } });
  sim.advance(3_000_000);
  sim.run(onSwitch, { prev: { pid: 2, __state: SLEEPING }, next: { pid: 1 } });
  // Nobody saw how long this one waited.
  sim.run(onSwitch, { prev: idle, next: { pid: 99 } });
  assert.deepEqual(sim.histogram(waitMicroseconds), [
    { low: 4n, high: 8n, count: 1n },
    { low: 64n, high: 128n, count: 1n },
    { low: 2048n, high: 4096n, count: 1n },
  ]);
}
