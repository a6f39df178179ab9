/** The examples: they compile, the kernel takes them, and libbpf makes the same instructions of our objects. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { Btf } from "../../src/btf/index.ts";
import { createCapture } from "../../src/compiler/capture/index.ts";
import { type CompileResult, tryCompile } from "../../src/compiler/compile.ts";
import { writeObject } from "../../src/elf/index.ts";
import { nodeCaptureHost } from "../../src/host/capture-host.ts";
import { load } from "../../src/load/index.ts";
import { loadModule } from "../../src/load/module-loader.ts";
import { realKernel, tracepointFormat } from "../../src/syscall/index.ts";
import { assert, suite } from "../harness.ts";
import { requires, which } from "../kernel.ts";
import { show } from "./compile-text.ts";

const test = suite("compiler examples");
const root = join(import.meta.dirname, "../../examples");
const names = readdirSync(root)
  .filter((f) => f.endsWith(".ts") && !f.endsWith(".test.ts"))
  .map((f) => basename(f, ".ts"));

let vmlinux: Btf | undefined;

async function compileExample(name: string): Promise<CompileResult> {
  const source = (folder: string): string => pathToFileURL(join(root, `../src/${folder}/index.ts`)).href;
  const { exports, modules } = await loadModule(join(root, `${name}.ts`), {
    resolveOwn: (specifier) => source(specifier === "bpfkit" ? "probe" : specifier.slice("bpfkit/".length)),
    importModule: (url) => import(url),
  });
  const kernel = realKernel();
  vmlinux ??= Btf.parse(readFileSync("/sys/kernel/btf/vmlinux"));
  const { result, diagnostics } = tryCompile({
    name,
    exports,
    capture: createCapture(nodeCaptureHost(modules)),
    btf: vmlinux,
    tracepointFormat: (full) => {
      const [category = "", event = ""] = full.split(":");
      return tracepointFormat(kernel, category, event);
    },
  });
  if (result === undefined) throw new Error(show(diagnostics));
  assert.equal(diagnostics, []);
  return result;
}

/** Instructions as the kernel shows them, without what differs from one load to the next: ids of maps. */
function normal(xlated: Uint8Array): string[] {
  const out: string[] = [];
  for (let i = 0; i < xlated.length; i += 8) {
    const insn = Uint8Array.from(xlated.subarray(i, i + 8));
    if (insn[0] === 0x18) insn.fill(0, 4);
    out.push(Buffer.from(insn).toString("hex"));
    if (insn[0] === 0x18) {
      i += 8;
      out.push("");
    }
  }
  return out;
}

for (const name of names) {
  test(`${name}: loads, and libbpf makes the same of its object`, async () => {
    requires({ root: true, capability: ["CAP_BPF", "CAP_PERFMON"], kernel: "5.11" });
    const result = await compileExample(name);
    const collection = load(result.spec);
    const ours = new Map(result.spec.progs.map((p) => [p.name, normal(collection.prog(p.name).xlated())]));
    collection.close();
    requires({ package: "bpftool", capability: "CAP_SYS_ADMIN" });
    const dir = mkdtempSync(join(tmpdir(), "bpfkit-examples-"));
    try {
      writeFileSync(join(dir, "x.o"), writeObject(result.spec));
      const bpftool = which("bpftool") ?? "bpftool";
      const script = `set -e; mkdir fs; mount -t bpf bpf fs; ${bpftool} prog loadall x.o fs/p 2>err || { cat err >&2; exit 1; }; for p in fs/p/*; do ${bpftool} prog dump xlated pinned $p file $(basename $p).bin; done`;
      execFileSync("unshare", ["-m", "sh", "-c", script], { cwd: dir, stdio: ["ignore", "ignore", "pipe"] });
      for (const [prog, insns] of ours) {
        const theirs = normal(readFileSync(join(dir, `${prog}.bin`)));
        assert.equal(theirs, insns, `${name}: ${prog}`);
      }
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
}

test("objects carry names, lines and relocations", async () => {
  requires({ root: true, kernel: "5.11" });
  const { spec } = await compileExample("exitsnoop");
  const btf = Btf.parse(spec.btf ?? new Uint8Array());
  assert.equal(
    btf.findByName("task_struct", "struct")?.members.map((m) => m.name),
    ["exit_code", "pid", "tgid", "real_parent", "start_time", "comm"],
  );
  assert.is(btf.findByName("onExit", "func")?.linkage, "global");
  const [prog] = spec.progs;
  assert.is(prog?.section, "tp_btf/sched_process_exit");
  assert.ok((prog?.coreRelos.length ?? 0) >= 6);
  const first = prog?.lines[0];
  assert.match(first?.text ?? "", /const task = ctx\.p;/);
  assert.is(spec.license, "GPL");
});
