/** What was compiled with this kernel's types is loaded as it is, field offsets included: proved here, not at every start. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Btf } from "../../src/btf/btf.ts";
import { CoreResolver } from "../../src/btf/core.ts";
import { compileModule } from "../../src/load/compile-module.ts";
import { kernelBtf } from "../../src/load/kernel-btf.ts";
import { loadModule } from "../../src/load/module-loader.ts";
import { own, resolveOwn } from "../../src/cli/own-module.ts";
import { realKernel } from "../../src/syscall/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("load relocations");
const root = join(import.meta.dirname, "../..");
const files = ["examples", "bench/codegen"].flatMap((directory) =>
  readdirSync(join(root, directory))
    .filter((f) => /^\w+\.ts$/.test(f))
    .map((f) => join(root, directory, f)),
);

test("programs compiled for this kernel need none of their CO-RE relocations", async () => {
  requires({ root: true });
  const target = kernelBtf(realKernel());
  const proving = new CoreResolver([target.vmlinux]);
  let relos = 0;
  for (const file of files) {
    const { exports, modules } = await loadModule(file, { own, resolveOwn });
    const { spec, madeFor } = compileModule(exports, { name: "probe", modules });
    if (spec.btf === undefined) continue;
    const local = Btf.parse(spec.btf);
    const quick = new CoreResolver([target.vmlinux]);
    if (madeFor !== undefined) quick.madeFrom(local);
    for (const { insns, coreRelos, name } of spec.progs) {
      const proved = proving.relocate({ insns, relos: coreRelos, local });
      const taken = quick.relocate({ insns, relos: coreRelos, local });
      const status = (r: typeof proved): unknown => r.results.map((x) => [x.status, x.target?.id]);
      assert.equal(status(taken), status(proved), `${file} ${name}`);
      assert.equal(taken.insns, proved.insns, `${file} ${name}`);
      assert.equal(taken.insns, insns, `${file} ${name}`);
      relos += coreRelos.length;
    }
  }
  assert.ok(relos > 50, `${relos} relocations`);
});
