/**
 * The examples on other kernels: every kernel runs their tests, and loads the objects that this
 * machine compiled for its own kernel. Not part of `npm test`, it takes minutes:
 *
 *   RUN_IN_KERNEL=…/run-in-kernel KERNELS="6.1.*-cloud-amd64 6.12.*-cloud-amd64" npm test -- test/examples/kernels.ts
 *
 * RUN_IN_KERNEL is a program that boots the kernel named by its argument with this machine's root
 * filesystem, runs what follows "--" there and exits with its exit code.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { bpfkit, example, root, scratch } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";

const test = suite("examples on other kernels");
const runner = process.env["RUN_IN_KERNEL"] ?? "";
const kernels = (process.env["KERNELS"] ?? "").split(/\s+/).filter((k) => k !== "");

test("RUN_IN_KERNEL and KERNELS are given", () => {
  assert.ok(runner !== "" && kernels.length > 0);
});

for (const kernel of kernels) {
  test(
    kernel,
    async () => {
      const objects = scratch("objects");
      for (const file of readdirSync(join(root, "examples")).filter((f) => !f.endsWith(".test.ts"))) {
        const name = basename(file, ".ts");
        assert.is((await bpfkit(["compile", "-o", join(objects, `${name}.o`), example(name)])).code, 0, name);
      }
      const tests = [
        "execsnoop",
        "opensnoop",
        "exitsnoop",
        "syscount",
        "runqlat",
        "profile",
        "bashreadline",
        "xdpcount",
        "libbpf",
      ];
      const { status } = spawnSync(
        runner,
        [
          "-t",
          "1500",
          kernel,
          "--",
          process.execPath,
          "--import",
          "tsx",
          "test/run.ts",
          ...tests.map((t) => `test/examples/${t}.test.ts`),
        ],
        // Without hardware virtualisation a machine is ten times slower.
        {
          cwd: root,
          stdio: ["ignore", "inherit", "inherit"],
          env: { ...process.env, OBJECTS: objects, TEST_TIMEOUT_MS: "300000" },
        },
      );
      assert.is(status, 0);
    },
    { timeoutMs: 1_600_000 },
  );
}
