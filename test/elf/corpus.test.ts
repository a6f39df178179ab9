import { readFileSync } from "node:fs";
import { readObject, writeObject } from "../../src/elf/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { btfDifferences, differences, loads, objects } from "./corpus.ts";
import { agreesWithElfy } from "./elfy.ts";

const test = suite("elf corpus");

/** Objects that cannot be read, and why. libbpf reads none of them either. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  linked_funcs1: /\(\?raw_tp\/sys_enter\): .* is no kfunc in \.ksyms/,
  linked_funcs2: /\(\?raw_tp\/sys_enter\): .* is no kfunc in \.ksyms/,
  linked_maps1: /\.maps\.map2\): a map must be a global variable, this one is extern/,
  linked_maps2: /\.maps\.map1\): a map must be a global variable, this one is extern/,
  linked_vars1: /\(\.text\): .* is in neither \.ksyms nor \.kconfig/,
  linked_vars2: /\(raw_tp\/sys_enter\): .* is in neither \.ksyms nor \.kconfig/,
  test_pinning_invalid: /pinning\): expected 0 \(none\) or 1 \(by name\), got 2/,
  test_sk_assign: /\(maps\): map definitions in a section named maps/,
  test_subskeleton: /is no kfunc in \.ksyms/,
  test_subskeleton_lib: /a map must be a global variable, this one is extern/,
  test_usdt_multispec: /is in neither \.ksyms nor \.kconfig/,
};

test(
  "every object reads, or gives a typed error with its reason; written again it is the same",
  () => {
    requires({ env: "CORPUS" });
    let read = 0;
    for (const { suite: group, object, path } of objects(process.env["CORPUS"]!)) {
      const bytes = readFileSync(path);
      const reason = REFUSED[object];
      if (reason !== undefined) {
        assert.throwsCode(() => readObject(bytes, { name: object }), "DECODE", reason);
        continue;
      }
      const spec = readObject(bytes, { name: object });
      assert.equal(readObject(writeObject(spec), { name: object }), spec, `${group}/${object}`);
      read++;
    }
    assert.ok(read > 500, `only ${read} objects`);
  },
  { timeoutMs: 300_000 },
);

test(
  "programs, func_info, line_info and maps are those that libbpf gave the kernel",
  () => {
    requires({ env: "CORPUS" });
    const wrong: string[] = [];
    let compared = 0;
    for (const { suite: group, object, path } of objects(process.env["CORPUS"]!)) {
      if (REFUSED[object] !== undefined) continue;
      const spec = readObject(readFileSync(path), { name: object });
      for (const load of loads(process.env["CORPUS"]!, group, object)) {
        const prog = spec.progs.find((p) => p.name === load.program);
        const found = prog === undefined ? ["is missing"] : differences(spec, prog, load);
        if (found.length > 0) wrong.push(`${group}/${object}/${load.program}: ${found[0]}`);
        compared++;
      }
    }
    assert.equal(wrong, []);
    assert.ok(compared > 1000, `only ${compared} programs`);
  },
  { timeoutMs: 300_000 },
);

test(
  "the BTF for the kernel is libbpf's, type by type",
  () => {
    requires({ env: "CORPUS" });
    const wrong: string[] = [];
    let compared = 0;
    for (const { suite: group, object, path } of objects(process.env["CORPUS"]!)) {
      // bpftool's linker gives a weak variable the offset of the definition that lost; we go by the symbol.
      if (REFUSED[object] !== undefined || object === "test_subskeleton_linked") continue;
      const spec = readObject(readFileSync(path), { name: object });
      for (const load of loads(process.env["CORPUS"]!, group, object)) {
        wrong.push(...btfDifferences(spec, load).map((d) => `${group}/${object}: ${d}`));
        compared++;
        break;
      }
    }
    assert.equal(wrong, []);
    assert.ok(compared > 500, `only ${compared} objects`);
  },
  { timeoutMs: 300_000 },
);

test(
  "elfy reads the same sections",
  () => {
    requires({ env: "CORPUS" });
    for (const { path } of objects(process.env["CORPUS"]!)) agreesWithElfy(readFileSync(path));
  },
  { timeoutMs: 300_000 },
);
