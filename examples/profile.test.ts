//     npx bpfkit test examples/profile.test.ts
import { strict as assert } from "node:assert";
import { simulate } from "bpfkit/testing";
import * as profile from "./profile.ts";

const { onTick, traces, counts, fresh } = profile;

for (const kernel of ["6.1", "6.12", "6.18"]) {
  const sim = simulate(profile, { kernel });
  const busy = {
    pid: 42,
    comm: "node",
    kernelStack: [0xffff_ffff_8100_0010n],
    userStack: [0x5500_0010n, 0x5500_0020n],
  };
  sim.task(busy);
  sim.run(onTick);
  sim.run(onTick);
  sim.task({ ...busy, userStack: [0x5500_0030n] });
  sim.run(onTick);
  sim.task({ pid: 0, comm: "swapper" }); // idle
  sim.run(onTick);

  const stacks = sim.drain(fresh);
  assert.deepEqual(
    stacks.map((s) => [s.pid, s.comm, sim.stack(traces, s.kernel), sim.stack(traces, s.user)]),
    [
      [42, "node", busy.kernelStack, busy.userStack],
      [42, "node", busy.kernelStack, [0x5500_0030n]],
    ],
  );
  assert.deepEqual(
    stacks.map((s) => sim.get(counts, s)),
    [2n, 1n],
  );

  // --set onlyPid=7
  const other = simulate(profile, { kernel, config: { onlyPid: 7 } });
  other.task(busy);
  other.run(onTick);
  assert.deepEqual(other.entries(counts), []);
}
