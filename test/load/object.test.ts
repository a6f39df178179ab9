import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BtfBuilder } from "../../src/btf/index.ts";
import { readObject } from "../../src/elf/index.ts";
import { schemaOf } from "../../src/values/btf-schema.ts";
import { decodeValue, load } from "../../src/load/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("load objects of clang");

const SOURCE = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
enum colour { RED, GREEN = 5 };
struct key { __u32 pid; char comm[12]; };
struct value { __u64 count; __s16 low; enum colour colour; __u8 raw[4]; struct { int x, y; } at; const char *p; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16); __type(key, struct key); __type(value, struct value); } seen SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, __u64); } cpus SEC(".maps");
const volatile __u32 limit = 3;
__u64 hits = 0;
char label[8] = "hello";
int negative = -5;
SEC("xdp") int count(struct xdp_md *ctx) {
  struct key k = { .pid = 7, .comm = "init" };
  struct value v = { .count = limit, .low = -2, .colour = GREEN, .raw = { 1, 2, 3, 4 }, .at = { 10, -20 } };
  __u32 zero = 0;
  __u64 *cpu = bpf_map_lookup_elem(&cpus, &zero);
  if (cpu) *cpu += 1;
  bpf_map_update_elem(&seen, &k, &v, 0);
  hits += limit;
  return negative + 7;
}
char LICENSE[] SEC("license") = "GPL";
`;

test("maps and globals are typed by the object's BTF; constants and variables are set by name", () => {
  requires({ root: true, kernel: "5.5", package: ["clang-19", "libbpf-dev"] });
  const dir = mkdtempSync(join(tmpdir(), "bpfkit-object-"));
  try {
    writeFileSync(join(dir, "count.bpf.c"), SOURCE);
    const include = `-I/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
    execFileSync("clang-19", ["-O2", "-g", "-target", "bpf", include, "-c", "count.bpf.c", "-o", "count.o"], {
      cwd: dir,
    });
    const spec = readObject(readFileSync(join(dir, "count.o")), { name: "count" });
    const c = load(spec, { config: { limit: 21, negative: -6 } });
    assert.equal(c.notes, []);
    const run = c.prog("count").testRun({ data: new Uint8Array(64), repeat: 2 });
    assert.is(run.returnValue, 1);
    assert.equal(c.map("seen").toArray(), [
      [
        { pid: 7, comm: "init" },
        { count: 21n, low: -2, colour: "GREEN", raw: Uint8Array.of(1, 2, 3, 4), at: { x: 10, y: -20 }, p: 0n },
      ],
    ]);
    const perCpu = c.perCpu<number, bigint>("cpus").get(0) ?? [];
    assert.is(
      perCpu.reduce((a, b) => a + b, 0n),
      2n,
    );
    assert.is(c.variable("hits").value, 42n);
    assert.is(c.variable("limit").value, 21);
    assert.is(c.variable("label").value, "hello");
    assert.is(c.variable("negative").value, -6);
    c.variable("label").value = "world";
    assert.is(c.variable("label").value, "world");
    assert.throwsCode(() => (c.variable("label").value = "too long a text"), "ARGUMENT");
    c.close();
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("schemas from BTF: anonymous members are flattened, bit-fields and functions have none", () => {
  const b = new BtfBuilder();
  const int = b.int("int", 4, { signed: true });
  const char = b.int("char", 1, { signed: true });
  const bool = b.int("_Bool", 1, { bool: true });
  const text = b.add({ kind: "array", type: char, indexType: int, nelems: 4 });
  const inner = b.add({
    kind: "struct",
    name: "",
    size: 4,
    members: [{ name: "b", type: int, bitOffset: 0, bitSize: 0 }],
  });
  const outer = b.add({
    kind: "struct",
    name: "outer",
    size: 12,
    members: [
      { name: "a", type: text, bitOffset: 0, bitSize: 0 },
      { name: "", type: inner, bitOffset: 32, bitSize: 0 },
      { name: "flag", type: bool, bitOffset: 64, bitSize: 0 },
    ],
  });
  const bits = b.add({
    kind: "struct",
    name: "bits",
    size: 4,
    members: [{ name: "x", type: int, bitOffset: 0, bitSize: 3 }],
  });
  const loop = b.reserve();
  b.define(loop, { kind: "typedef", name: "loop", type: loop });
  const btf = b.build();
  const schema = schemaOf(btf, outer);
  assert.ok(schema !== undefined);
  assert.equal(decodeValue(schema, Uint8Array.of(104, 105, 0, 0, 255, 255, 255, 255, 1, 0, 0, 0)), {
    a: "hi",
    b: -1,
    flag: true,
  });
  assert.is(schemaOf(btf, bits), undefined);
  assert.is(schemaOf(btf, loop), undefined);
  assert.is(schemaOf(btf, 0), undefined);
});
