//     npx bpfkit test examples/execsnoop.test.ts
import { strict as assert } from "node:assert";
import { type Simulation, simulate } from "bpfkit/testing";
import * as execsnoop from "./execsnoop.ts";

/** A shell that becomes `file`, with these arguments in its memory. */
const exec = (sim: Simulation, file: string, args: readonly string[], uid = 1000): void => {
  const block = new TextEncoder().encode(args.map((a) => `${a}\0`).join(""));
  const start = sim.memory(block);
  const mm = { arg_start: start, arg_end: start + BigInt(block.length) };
  sim.task({ pid: 42, uid, comm: file.replace(/.*\//, ""), parent: { pid: 7 }, struct: { mm } });
  sim.run(execsnoop.onExec, { filename: file, pid: 42, old_pid: 42 });
};

for (const kernel of ["6.1", "6.12", "6.18"]) {
  const sim = simulate(execsnoop, { kernel });
  exec(sim, "/bin/ls", ["ls", "-la", "/tmp/a b"]);
  const [{ args, ...e } = assert.fail("no event")] = sim.drain(execsnoop.execs);
  assert.deepEqual(e, { pid: 42, ppid: 7, uid: 1000, size: 16, comm: "ls", file: "/bin/ls" });
  assert.equal(new TextDecoder().decode(args.subarray(0, e.size)), "ls\0-la\0/tmp/a b\0");

  // Of longer ones the first 1024 bytes.
  exec(sim, "/bin/true", ["true", "x".repeat(3000)]);
  const [long = assert.fail("no event")] = sim.drain(execsnoop.execs);
  assert.equal(long.size, 1024);
  assert.equal(new TextDecoder().decode(long.args), `true\0${"x".repeat(1019)}`);

  // The buffer is full of what nobody reads: the program goes on.
  for (let i = 0; i < 2000; i++) exec(sim, "/bin/true", ["true"]);
  assert.ok(sim.drain(execsnoop.execs).length < 2000);

  // --set onlyUid=1000
  const one = simulate(execsnoop, { kernel, config: { onlyUid: 1000 } });
  exec(one, "/bin/id", ["id"], 0);
  exec(one, "/bin/id", ["id"], 1000);
  assert.deepEqual(
    one.drain(execsnoop.execs).map((x) => x.uid),
    [1000],
  );
}
