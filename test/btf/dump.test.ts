import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve as resolvePath } from "node:path";
import { Btf, BtfBuilder, dumpC, dumpTs, type BtfStruct } from "../../src/btf/index.ts";
import { readObject } from "../../src/elf/index.ts";
import { assert, skip, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("btf dump");
const ROOT = resolvePath(import.meta.dirname, "../..");

function inFolder<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "bpfkit-dump-"));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function vmlinux(): Btf {
  requires({ kernel: "5.4" });
  const file = "/sys/kernel/btf/vmlinux";
  if (!existsSync(file)) skip(`needs ${file} (a kernel built with CONFIG_DEBUG_INFO_BTF)`);
  return Btf.parse(new Uint8Array(readFileSync(file)), { what: "vmlinux" });
}

/** A BTF with what is hard to print. */
function awkward(): Btf {
  const b = new BtfBuilder();
  const int = b.int("int", 4, { signed: true });
  const char = b.int("char", 1, { char: true });
  const u64 = b.int("long unsigned int", 8);
  const node = b.reserve();
  const toNode = b.add({ kind: "ptr", type: node });
  const constant = b.add({ kind: "const", type: char });
  const text = b.add({ kind: "ptr", type: constant });
  const proto = b.add({
    kind: "func_proto",
    type: int,
    params: [
      { name: "n", type: toNode },
      { name: "", type: 0 },
    ],
  });
  const callback = b.add({ kind: "ptr", type: proto });
  const row = b.add({ kind: "array", type: callback, indexType: int, nelems: 2 });
  const anon = b.add({
    kind: "union",
    size: 8,
    members: [
      { name: "word", type: u64, bitOffset: 0, bitSize: 0 },
      { name: "low", type: int, bitOffset: 0, bitSize: 0 },
    ],
  });
  b.define(node, {
    kind: "struct",
    name: "node",
    size: 64,
    members: [
      { name: "next", type: toNode, bitOffset: 0, bitSize: 0 },
      { name: "", type: anon, bitOffset: 64, bitSize: 0 },
      { name: "a", type: int, bitOffset: 128, bitSize: 3 },
      { name: "b", type: int, bitOffset: 136, bitSize: 9 },
      { name: "calls", type: row, bitOffset: 192, bitSize: 0 },
      { name: "title", type: text, bitOffset: 384, bitSize: 0 },
    ],
  });
  b.add({
    kind: "struct",
    name: "tight",
    size: 5,
    members: [
      { name: "c", type: char, bitOffset: 0, bitSize: 0 },
      { name: "i", type: int, bitOffset: 8, bitSize: 0 },
    ],
  });
  b.add({
    kind: "enum64",
    name: "wide",
    size: 8,
    signed: true,
    values: [
      { name: "LOWEST", value: -(1n << 63n) },
      { name: "ONE", value: 1n },
    ],
  });
  b.add({ kind: "enum", name: "small", size: 1, signed: false, values: [{ name: "ONE", value: 1 }] });
  b.add({ kind: "struct", name: "node", size: 4, members: [{ name: "class", type: int, bitOffset: 0, bitSize: 0 }] });
  b.add({ kind: "struct", name: "class", size: 32, members: [{ name: "n", type: toNode, bitOffset: 0, bitSize: 0 }] });
  return b.build();
}

test("C: declarators, padding, bit-fields, packed, names that occur twice", () => {
  assert.is(
    dumpC(awkward(), { guard: "", preserveAccessIndex: false }),
    `struct node;

struct node {
	struct node *next;
	union {
		long unsigned int word;
		int low;
	};
	int a: 3;
	long: 5;
	int b: 9;
	int (*calls[2])(struct node *n, ...);
	long: 64;
	const char *title;
	long: 64;
};

struct tight {
	char c;
	int i;
} __attribute__((packed));

enum wide {
	LOWEST = -9223372036854775807LL - 1LL,
	ONE = 1LL,
} __attribute__((mode(word)));

enum small {
	ONE___2 = 1,
} __attribute__((mode(byte)));

struct node___2 {
	int class;
};

struct class {
	struct node *n;
	long: 64;
	long: 64;
	long: 64;
};

`,
  );
});

test("C: only some types, with what they need", () => {
  const text = dumpC(awkward(), { only: ["class"], guard: "", preserveAccessIndex: false });
  assert.match(text, /^struct node;\n\nstruct class \{/);
  assert.not.match(text, /tight|struct node \{/);
});

test("C: this kernel's header compiles, with every struct's size and every member's place", () => {
  const btf = vmlinux();
  requires({ package: "clang-19" });
  inFolder((folder) => {
    writeFileSync(join(folder, "vmlinux.h"), dumpC(btf));
    let source = '#include "vmlinux.h"\n';
    const bitFields: BtfStruct[] = [];
    const seen = new Set<string>();
    for (const type of btf.types()) {
      if (!["struct", "union", "enum", "enum64"].includes(type.kind) || type.name === "" || seen.has(type.name))
        continue;
      seen.add(type.name);
      if (type.kind !== "struct" && type.kind !== "union") continue;
      const name = `${type.kind} ${type.name}`;
      source += `_Static_assert(sizeof(${name}) == ${type.size}, "");\n`;
      for (const m of type.members) {
        if (m.name !== "" && m.bitSize === 0)
          source += `_Static_assert(__builtin_offsetof(${name}, ${m.name}) == ${m.bitOffset / 8}, "${name}.${m.name}");\n`;
      }
      if (type.members.some((m) => m.bitSize !== 0)) bitFields.push(type);
    }
    for (const type of bitFields) source += `${type.kind} ${type.name} *have_${type.name};\n`;
    const file = join(folder, "all.c");
    writeFileSync(file, source);
    const object = join(folder, "all.o");
    execFileSync("clang-19", ["-target", "bpf", "-g", "-O1", "-c", file, "-o", object], { stdio: "pipe" });
    // Bit-fields have no offsetof: clang's own BTF of the header says where it put them.
    const compiled = Btf.parse(readObject(new Uint8Array(readFileSync(object)), { name: "all.o" }).btf!);
    assert.ok(bitFields.length > 100);
    let compared = 0;
    for (const type of bitFields) {
      const theirs = compiled.findByName(type.name, type.kind) as BtfStruct | undefined;
      if (theirs === undefined) continue;
      assert.equal(
        theirs.members.filter((m) => m.name !== "").map(place),
        type.members.filter((m) => m.name !== "").map(place),
        type.name,
      );
      compared++;
    }
    assert.ok(compared > 100, `${compared} structs with bit-fields compared`);
  });
});

function place(m: { name: string; bitOffset: number; bitSize: number }): object {
  return { name: m.name, bitOffset: m.bitOffset, bitSize: m.bitSize };
}

test("TypeScript: interfaces, reserved names, tracepoint fields", () => {
  const text = dumpTs(awkward(), {
    tracepoints: {
      "sched:sched_process_exit": [
        { name: "comm", type: "char[16]", size: 16, signed: true },
        { name: "name", type: "__data_loc char[]", size: 4, signed: true },
        { name: "file", type: "const char *", size: 8, signed: false },
        { name: "node", type: "struct node *", size: 8, signed: false },
        { name: "ok", type: "bool", size: 1, signed: false },
        { name: "pid", type: "pid_t", size: 4, signed: true },
      ],
    },
  });
  assert.match(
    text,
    "export interface node {\n  next: node;\n  word: number;\n  low: number;\n  a: number;\n  b: number;\n  calls: Pointer[];\n  title: CString;\n}\n",
  );
  assert.match(text, "export interface class_ {\n  n: node;\n}\n");
  assert.match(text, "  class: class_;\n");
  assert.match(
    text,
    '"sched:sched_process_exit": { comm: string; name: string; file: CString; node: node; ok: boolean; pid: number };',
  );
});

test("TypeScript: tsc accepts this kernel's file, types a probe with it, and refuses a wrong field", () => {
  const btf = vmlinux();
  inFolder((folder) => {
    const tracepoints = { "sched:sched_process_exit": [{ name: "pid", type: "pid_t", size: 4, signed: true }] };
    writeFileSync(join(folder, "vmlinux.d.ts"), dumpTs(btf, { tracepoints, functions: ["vfs_read"] }));
    writeFileSync(
      join(folder, "probe.ts"),
      `import { tpBtf, tracepoint } from "bpfkit";
export const onSwitch = tpBtf("sched_switch", (ctx) => {
  const chain: number = ctx.next.real_parent.tgid;
  const comm: string = ctx.prev.comm;
  const preempt: boolean = ctx.preempt;
  // @ts-expect-error
  ctx.next.no_such_field;
  // Whichever name this kernel has.
  const state: number = ctx.prev.state ?? ctx.prev.__state;
  return void [chain, comm, preempt, state];
});
export const onExit = tracepoint("sched:sched_process_exit", (ctx) => {
  const pid: number = ctx.pid;
  // @ts-expect-error
  ctx.other;
  return void pid;
});
// @ts-expect-error
tpBtf("no_such_tracepoint", () => {});
`,
    );
    const config = {
      compilerOptions: {
        strict: true,
        module: "nodenext",
        target: "es2023",
        noEmit: true,
        allowImportingTsExtensions: true,
        skipLibCheck: false,
        types: ["node"],
        typeRoots: [join(ROOT, "node_modules/@types")],
        paths: { bpfkit: [join(ROOT, "src/probe/index.ts")] },
      },
      files: ["probe.ts", "vmlinux.d.ts"],
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    const run = spawnSync(join(ROOT, "node_modules/.bin/tsc"), ["-p", folder], { encoding: "utf8" });
    const own = run.stdout
      .split("\n")
      .filter((line) => /(vmlinux\.d|probe)\.ts/.test(line) && !line.includes("src/probe"));
    assert.equal(own, []);
    assert.is(run.status, 0, run.stdout.slice(0, 2000));
  });
});

test("TypeScript: only some structs, with those inside them; fields that other kernels call otherwise", () => {
  const btf = vmlinux();
  const text = dumpTs(btf, { only: ["task_struct"] });
  assert.ok(text.length < dumpTs(btf).length / 10, `${text.length} characters`);
  assert.match(text, /^export interface task_struct \{$/m);
  // Contained by value, reached by a pointer, reached by a pointer to itself.
  assert.match(text, /^export interface sched_entity \{$/m);
  assert.match(text, /^  mm: Loose;$/m);
  assert.not.match(text, /^export interface mm_struct/m);
  assert.match(text, /^  real_parent: task_struct;$/m);
  assert.match(text, /^  interface KernelStructs extends AllKernelStructs \{\}$/m);
  assert.not.match(text, "AllTpBtf");
  const state = btf.findByName("task_struct", "struct")?.members.some((m) => m.name === "__state") === true;
  assert.match(text, state ? /^  state\?: number;$/m : /^  __state\?: number;$/m);
  assert.throws(
    () => dumpTs(btf, { only: ["no_such_struct"] }),
    (e: unknown) => /no struct or union called "no_such_struct"/.test((e as Error).message),
  );
});
