/** A rejection of clang's object: the C line comes from its line_info, through static functions too. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LoadMaker, readObject } from "../../../src/elf/index.ts";
import { Profile, explain, foldedStacks, lineCosts, verify } from "../../../src/verifier/index.ts";
import { assert, suite } from "../../harness.ts";
import { requires } from "../../kernel.ts";

const test = suite("verifier explain C");

const SOURCE = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, int); __type(value, long); } counts SEC(".maps");
static __attribute__((noinline)) int bump(long *value, int by) {
  *value += by;
  return 1;
}
SEC("socket") int unchecked(struct __sk_buff *skb) {
  int key = skb->len;
  long *value = bpf_map_lookup_elem(&counts, &key);
  return bump(value, skb->mark);
}
SEC("socket") int checked(struct __sk_buff *skb) {
  int key = skb->len;
  long *value = bpf_map_lookup_elem(&counts, &key);
  if (!value) return 0;
  return bump(value, skb->mark) + bump(value, 1);
}
char LICENSE[] SEC("license") = "GPL";
`;

function build(): LoadMaker {
  const dir = mkdtempSync(join(tmpdir(), "bpfkit-explain-"));
  try {
    writeFileSync(join(dir, "a.bpf.c"), SOURCE);
    const include = `-I/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
    execFileSync("clang-19", ["-O2", "-g", "-target", "bpf", include, "-c", "a.bpf.c", "-o", "a.o"], { cwd: dir });
    const spec = readObject(readFileSync(join(dir, "a.o")), { name: "a" });
    progs = spec.progs;
    return new LoadMaker(spec, { vmlinux: null });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
let progs: ReturnType<typeof readObject>["progs"] = [];
const lineOf = (part: string): number => SOURCE.split("\n").findIndex((l) => l.includes(part)) + 1;

test("the label is in the function that dereferences, the cause in its caller", () => {
  requires({ package: ["clang-19", "libbpf-dev"] });
  const maker = build();
  const { load } = maker.make(progs.find((p) => p.name === "unchecked")!);
  const found = explain(load);
  assert.is(found?.diagnostic.code, "BPF3101");
  const [first, ...others] = found?.diagnostic.labels.map((l) => l.span.line) ?? [];
  assert.is(first, lineOf("*value += by"));
  assert.ok(others.includes(lineOf("bpf_map_lookup_elem(&counts")), `lines ${others.join(", ")}`);
  assert.ok(
    found?.path.some((s) => s.how === "passed"),
    "the argument is passed on",
  );
  assert.ok(
    found?.diagnostic.notes.some((n) => n.includes("in bump()")),
    "the function is named",
  );
});

test("costs are per line, folded stacks have the caller's line", () => {
  requires({ package: ["clang-19", "libbpf-dev"] });
  const maker = build();
  const { load } = maker.make(progs.find((p) => p.name === "checked")!);
  const profile = new Profile();
  const verdict = verify(load, { profile });
  assert.is(verdict.verdict, "accept", verdict.message);
  const costs = lineCosts(load, profile);
  assert.is(
    costs.reduce((sum, c) => sum + c.insns, 0),
    verdict.insnsProcessed,
  );
  const bump = costs.find((c) => c.line === lineOf("*value += by"));
  assert.is(bump?.insns, (bump?.code ?? 0) * 2, "processed for each of the two calls");
  const call = `checked;a.bpf.c:${lineOf("bump(value, 1)")}`;
  assert.ok(
    foldedStacks(load, profile).some((l) => l.startsWith(`checked;${call};bump;a.bpf.c:${lineOf("*value += by")} `)),
    foldedStacks(load, profile).join("\n"),
  );
});
