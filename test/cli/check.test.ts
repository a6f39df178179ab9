/** `bpfkit check --also FILE`: what other kernels' types lack. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { BtfBuilder } from "../../src/btf/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { bpfkit, scratch } from "./bpfkit.ts";

const test = suite("cli check");

test("fields that another kernel lacks are warned about where they are used, unless the program asks", async () => {
  requires({ kernel: "5.11" });
  const directory = scratch("check");
  const builder = new BtfBuilder();
  const int = builder.int("int", 4, { signed: true });
  builder.add({
    kind: "struct",
    name: "task_struct",
    size: 8,
    members: [
      { name: "pid", type: int, bitOffset: 0, bitSize: 0 },
      { name: "tgid", type: int, bitOffset: 32, bitSize: 0 },
    ],
  });
  writeFileSync(join(directory, "old.btf"), builder.encode());
  writeFileSync(
    join(directory, "probe.ts"),
    `import { global, rawTracepoint, u32 } from "bpfkit";
export const out = global(u32, 0);
export const p = rawTracepoint("sys_enter", (_ctx, bpf) => {
  const t = bpf.task();
  out.value = t.pid + t.tgid;
  out.value += t.prio;
  if (bpf.exists(t.static_prio)) out.value += t.static_prio;
});
`,
  );
  const old = join(directory, "old.btf");
  const { stdout, code } = await bpfkit(["check", "--json", "--also", old, join(directory, "probe.ts")]);
  assert.is(code, 0);
  const found = JSON.parse(stdout) as { code: string; message: string; labels: { line: number; col: number }[] }[];
  assert.equal(
    found.map((d) => [d.code, d.message, d.labels[0]?.line]),
    [["BPF6007", `struct task_struct.prio is not in the kernel types of ${old}: the program is refused there`, 6]],
  );
});
