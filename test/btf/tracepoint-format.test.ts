import { kernelBtf } from "../../src/load/index.ts";
import { tracepointFields } from "../../src/load/tracepoints.ts";
import { type TracepointField, tracepointFormatOfBtf } from "../../src/btf/tracepoint-format.ts";
import { realKernel } from "../../src/syscall/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("btf tracepoint formats");

/** What tracefs and BTF have in common. */
const common = (fields: readonly TracepointField[]): unknown =>
  fields
    .filter((f) => !f.name.startsWith("common_"))
    .map((f) => [f.name, f.offset, f.size, f.dynamic ?? (/^__(data|rel)_loc /.test(f.type) ? "loc" : undefined)]);

test("records are those of tracefs wherever BTF tells them", () => {
  requires({ root: true, kernel: "6.0" });
  const kernel = realKernel();
  const btf = kernelBtf(kernel).vmlinux;
  let told = 0;
  let asked = 0;
  let calls = 0;
  for (const [full, theirs] of Object.entries(tracepointFields(kernel))) {
    const [category = "", name = ""] = full.split(":");
    if (category === "ftrace") continue;
    const ours = tracepointFormatOfBtf(btf, category, name);
    asked++;
    if (ours === undefined) continue;
    told++;
    assert.equal([full, common(ours.fields)], [full, common(theirs)]);
    if (!name.startsWith("sys_enter_")) continue;
    calls++;
    const types = (fields: readonly TracepointField[]): string[] =>
      fields.filter((f) => !f.name.startsWith("common_")).map((f) => f.type.replaceAll(" ", ""));
    assert.equal([full, types(ours.fields)], [full, types(theirs)]);
  }
  assert.ok(told > asked * 0.75, `${told} of ${asked} events are told`);
  assert.ok(calls > 300, `${calls} system calls`);
  assert.is(tracepointFormatOfBtf(btf, "sched", "no_such"), undefined);
  assert.is(tracepointFormatOfBtf(btf, "syscalls", "sys_enter_no_such"), undefined);
});
