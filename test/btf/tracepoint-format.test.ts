import { kernelBtf } from "../../src/load/index.ts";
import { tracepointFormatOfBtf } from "../../src/btf/tracepoint-format.ts";
import { realKernel, tracepointFormat } from "../../src/syscall/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("btf tracepoint formats");

test("records are those of tracefs wherever BTF names them", () => {
  requires({ root: true, kernel: "5.4" });
  const kernel = realKernel();
  const btf = kernelBtf(kernel).vmlinux;
  let checked = 0;
  for (const full of [
    "sched:sched_switch",
    "sched:sched_process_exec",
    "sched:sched_process_fork",
    "raw_syscalls:sys_enter",
    "raw_syscalls:sys_exit",
    "syscalls:sys_exit_openat",
    "block:block_rq_issue",
    "sock:inet_sock_set_state",
    "irq:irq_handler_entry",
    "signal:signal_generate",
  ]) {
    const [category = "", name = ""] = full.split(":");
    const ours = tracepointFormatOfBtf(btf, category, name);
    if (ours === undefined) continue;
    const theirs = tracepointFormat(kernel, category, name).fields.filter((f) => !f.name.startsWith("common_"));
    assert.equal(
      ours.fields.map((f) => [f.name, f.offset, f.size, f.dynamic]),
      theirs.map((f) => [f.name, f.offset, f.size, f.dynamic]),
      full,
    );
    checked++;
  }
  assert.ok(checked >= 6, `${checked} records checked`);
  assert.is(tracepointFormatOfBtf(btf, "syscalls", "sys_enter_openat"), undefined);
  assert.is(tracepointFormatOfBtf(btf, "sched", "no_such"), undefined);
});
