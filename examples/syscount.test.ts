//     npx bpfkit test examples/syscount.test.ts
import { strict as assert } from "node:assert";
import { simulate } from "bpfkit/testing";
import { syscallNumbers } from "bpfkit/syscall";
import * as syscount from "./syscount.ts";

const { onSyscall, calls, processes } = syscount;
const numbers = syscallNumbers(process.arch);

for (const kernel of ["6.1", "6.12", "6.18"]) {
  const sim = simulate(syscount, { kernel });
  const call = (name: string, comm: string, pid: number): void => {
    sim.task({ pid, comm });
    sim.run(onSyscall, { id: numbers[name] });
  };
  call("openat", "cat", 1);
  call("read", "cat", 1);
  call("read", "cat", 1);
  call("read", "bash", 2);
  assert.deepEqual(
    new Map(sim.entries(calls)),
    new Map([
      ["openat", 1n],
      ["read", 3n],
    ]),
  );
  assert.deepEqual(sim.get(processes, { pid: 1, comm: "cat" }), 3n);

  // --set onlyPid=2
  const one = simulate(syscount, { kernel, config: { onlyPid: 2 } });
  for (const pid of [1, 2]) {
    one.task({ pid });
    one.run(onSyscall, { id: 0 });
  }
  assert.deepEqual(one.entries(processes), [[{ pid: 2, comm: "test" }, 1n]]);
}
