/** `bpfkit/testing` bundled for a browser, in a context that has nothing of Node's. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createContext, runInContext } from "node:vm";
import { build } from "esbuild";
import { writeObject } from "../../src/elf/write-object.ts";
import { compileProbe } from "../../src/testing/compile-probe.ts";
import { testKernel } from "../../src/testing/kernel.ts";
import * as opensnoop from "../../examples/opensnoop.ts";
import { root } from "../cli/bpfkit.ts";
import { assert, suite } from "../harness.ts";

const test = suite("testing browser");

test("simulate() runs an object there, with kernel types that were served", async () => {
  const { outputFiles } = await build({
    stdin: {
      contents: `export { simulate, provideKernel } from "./src/testing/index.ts"; export { readObject } from "./src/elf/object.ts";`,
      resolveDir: root,
      loader: "ts",
    },
    bundle: true,
    platform: "browser",
    format: "iife",
    globalName: "bpfkit",
    write: false,
    target: "es2022",
    define: { "import.meta.url": '"https://example.org/bpfkit.js"' },
    logLevel: "silent",
  });
  const text = outputFiles[0]!.text;
  const context = createContext({
    TextDecoder,
    TextEncoder,
    URL,
    Blob,
    Response,
    DecompressionStream,
    performance,
    console,
    atob,
    object: writeObject(
      compileProbe(opensnoop as never, testKernel("6.12"), { name: "opensnoop", license: undefined, coverage: false })
        .spec,
    ),
    btf: readFileSync(join(root, "data/kernels/6.12.btf.gz")),
    events: readFileSync(join(root, "data/kernels/6.12.events.gz")),
  });
  const result: unknown = await runInContext(
    `${text};
    (async () => {
      const spec = bpfkit.readObject(new Uint8Array(object), { name: "opensnoop" });
      await bpfkit.provideKernel("6.12", { btf: new Uint8Array(btf), events: new Uint8Array(events) });
      const sim = bpfkit.simulate(spec, { kernel: "6.12" });
      sim.task({ pid: 42, comm: "cat" });
      sim.run("enterOpenat", { filename: "/etc/passwd" });
      sim.run("exitOpenat", { ret: 3 });
      // An object does not say what is in a ring buffer: samples are bytes.
      const [sample] = sim.drain("opens");
      return JSON.stringify([typeof process, /\\/etc\\/passwd/.test(new TextDecoder().decode(sample))]);
    })()`,
    context,
  );
  assert.equal(JSON.parse(String(result)), ["undefined", true]);
});
