/** Captures of loads: the JSON form loses nothing, reads with another kernel's types, and refuses what is none. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { type Btf, BtfBuilder } from "../../src/btf/index.ts";
import { BpfkitError, DecodeError } from "../../src/core/errors.ts";
import { type ProgLoad, LoadMaker, progLoadFromJson, progLoadToJson, progLoads } from "../../src/elf/index.ts";
import { verify } from "../../src/verifier/index.ts";
import { compiled, runningBtf } from "../compiler/compile-text.ts";
import { assert, suite } from "../harness.ts";
import { parseAsm } from "../../src/asm/index.ts";

const test = suite("elf capture");

const SOURCE = `import { config, hash, ringbuf, tpBtf, u32, u64 } from "bpfkit";
export const limit = config(u64, 7);
export const seen = hash(u32, u64);
export const events = ringbuf(u64);
export const p = tpBtf("sched_switch", (ctx, bpf) => {
  if (bpf.pid() === limit.value) seen.set(bpf.tid(), bpf.nsecs());
  for (const t of bpf.tasks()) seen.set(t.pid, 1);
});`;

let made: ProgLoad | undefined;
function load(): ProgLoad {
  const btf = runningBtf();
  made ??= new LoadMaker(compiled(SOURCE, { btf }).spec, { vmlinux: btf, madeFor: btf, possibleCpus: 4 }).make(
    compiled(SOURCE, { btf }).spec.progs[0]!,
  ).load;
  return made;
}

test("a capture read again is verified the same, word by word", () => {
  const original = load();
  const json = JSON.parse(JSON.stringify(progLoadToJson(original, "6.18.1"))) as Record<string, unknown>;
  const { load: again, release, notes } = progLoadFromJson(json, { vmlinuxBtf: runningBtf() });
  assert.is(release, "6.18.1");
  assert.equal(notes, []);
  assert.equal(progLoadToJson(again, "6.18.1"), progLoadToJson(original, "6.18.1"));
  const a = verify(original, { logLevel: 2 });
  const b = verify(again, { logLevel: 2 });
  assert.is(b.log, a.log);
  assert.is(a.verdict, "accept", a.message);
});

test("constants, maps, kernel functions and the attach target are in it", () => {
  const l = load();
  assert.equal(l.maps.map((m) => m.name.replace(/^probe/, "")).sort(), [".rodata", "events", "seen"].sort());
  assert.ok(
    l.maps.some((m) => m.frozen && m.data !== null),
    "the constants' bytes",
  );
  assert.is(l.attachName, "btf_trace_sched_switch");
  assert.is(l.attachBtfId, runningBtf().findId("btf_trace_sched_switch", "typedef"));
  assert.ok((l.kfuncs ?? []).some((k) => k.name === "bpf_iter_task_new" && l.insns[k.insn]?.imm === k.btfId));
});

/** Another kernel: the functions of `names` in this order, ids other than the running kernel's. */
function otherKernel(names: readonly string[]): Btf {
  const b = new BtfBuilder();
  const int = b.int("int", 4, { signed: true });
  const proto = b.add({ kind: "func_proto", type: int, params: [] });
  for (const name of names) b.add({ kind: "func", name, type: proto, linkage: "global" });
  b.add({ kind: "typedef", name: "btf_trace_sched_switch", type: int });
  return b.build();
}

test("with another kernel's types, ids are looked up by name and what is missing is named", () => {
  const json = progLoadToJson(load(), "6.18.1");
  const other = otherKernel(["bpf_iter_task_next", "bpf_iter_task_new"]);
  const { load: moved, notes } = progLoadFromJson(json, { vmlinuxBtf: other });
  const found = moved.kfuncs?.find((k) => k.name === "bpf_iter_task_new");
  assert.is(found?.btfId, other.findId("bpf_iter_task_new", "func"));
  assert.is(moved.insns[found?.insn ?? 0]?.imm, found?.btfId);
  assert.is(moved.attachBtfId, other.findId("btf_trace_sched_switch", "typedef"));
  assert.match(notes.join("\n"), /Linux 6\.18\.1/);
  assert.match(notes.join("\n"), /bpf_iter_task_destroy is not in this kernel's BTF/);
});

test("a program that needs kernel types is refused without, others are not", () => {
  const { spec } = compiled(SOURCE, { btf: runningBtf() });
  assert.throws(
    () => progLoads(spec, { vmlinux: null }),
    (e: unknown) => e instanceof BpfkitError && e.code === "NO_KERNEL_BTF" && /name a BTF file/.test(e.message),
  );
  const plain = compiled(
    `import { socketFilter } from "bpfkit";\nexport const p = socketFilter((ctx) => ctx.len);`,
    {},
  );
  const [only] = progLoads(plain.spec, { vmlinux: null });
  assert.is(verify(only!.load).verdict, "accept");
});

const MINIMAL = { prog_name: "x", prog_type: 1, insns: "b700000000000000" + "9500000000000000" };

test("the least that a capture needs", () => {
  const { load } = progLoadFromJson(JSON.stringify(MINIMAL));
  assert.equal(load.insns, parseAsm("r0 = 0\nexit"));
  assert.is(verify(load).verdict, "accept");
});

test("what is no capture is a DecodeError that names the field", () => {
  const wrong: readonly (readonly [unknown, RegExp])[] = [
    ["{", /not JSON/],
    [[], /expected a JSON object, got a list/],
    [{ ...MINIMAL, format: "bpfkit-prog-load-9" }, /format.*newer bpfkit/],
    [{ ...MINIMAL, prog_type: "xdp" }, /\(prog_type\).*unsigned 32-bit integer, got "xdp"/],
    [{ ...MINIMAL, insns: "b7" }, /\(insns\)/],
    [{ ...MINIMAL, insns: "zz" }, /\(insns\).*hex/],
    [{ prog_name: "x", prog_type: 1 }, /\(insns\).*there is none/],
    [{ ...MINIMAL, maps: [{ name: "m", type: 1, key_size: 4, value_size: 8 }] }, /\(maps\[0\]\.max_entries\)/],
    [{ ...MINIMAL, btf: "AAAA" }, /\(btf\)/],
    [{ ...MINIMAL, line_info: "%" }, /\(line_info\).*base64/],
    [{ ...MINIMAL, line_info: "+=" }, /\(line_info\).*base64/],
  ];
  for (const [json, message] of wrong)
    assert.throws(
      () => progLoadFromJson(json),
      (e: unknown) => e instanceof DecodeError && message.test(e.message),
      String(message),
    );
});

/** A JSON value with one leaf replaced or removed. */
function mutate(value: unknown, path: number, by: unknown): unknown {
  if (Array.isArray(value))
    return value.length === 0 ? by : value.map((v, i) => (i === path % value.length ? mutate(v, path >> 3, by) : v));
  if (typeof value !== "object" || value === null) return by;
  const keys = Object.keys(value);
  const at = keys[path % keys.length];
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, k === at ? mutate(v, path >> 3, by) : v]));
}

test("mutated captures end in a verdict or a typed error", () => {
  const json: unknown = JSON.parse(JSON.stringify(progLoadToJson(load())));
  const values = fc.oneof(
    fc.integer(),
    fc.constantFrom(null, true, "", "00", "AAAAAAAA", [], {}, 1e300, -1, 0.5),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.nat(1 << 20), values, (path, by) => {
      try {
        verify(progLoadFromJson(mutate(json, path, by), { vmlinuxBtf: runningBtf() }).load, { budget: 10_000 });
      } catch (e) {
        if (!(e instanceof BpfkitError)) throw e;
      }
    }),
    { numRuns: Number(process.env["FUZZ_RUNS"] ?? 300) },
  );
});

test("the documented example is a capture", () => {
  const text = readFileSync(join(import.meta.dirname, "../../docs/verifier.md"), "utf8");
  const example = /```json\n([\s\S]*?)```/.exec(text)?.[1] ?? "";
  assert.is(verify(progLoadFromJson(example).load).verdict, "reject");
});
