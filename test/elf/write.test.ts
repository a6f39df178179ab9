import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { callKfunc, exit, ldBtfId, ldImm64, mov64Imm } from "../../src/asm/index.ts";
import { Btf, BtfBuilder } from "../../src/btf/index.ts";
import { type CollectionSpec, Elf, type MapSpec, readObject, STT, writeObject } from "../../src/elf/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { FIXTURES, fixture, fixturePath } from "./fixtures.ts";
import { anyMade, makeSpec, mapSpec, sectionOf, sharedSpec } from "./specs.ts";

const test = suite("elf writeObject");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 200);

const again = (spec: CollectionSpec): CollectionSpec => readObject(writeObject(spec), { name: spec.name });

/** Without what writing adds to a BTF that has no variables and externs yet. */
function comparable(spec: CollectionSpec): unknown {
  const map = (m: MapSpec): MapSpec => (m.section === ".maps" ? m : { ...m, btfValueTypeId: 0 });
  return { ...spec, btf: undefined, maps: spec.maps.map(map) };
}

for (const file of FIXTURES) {
  test(`${file} written and read again is the same, BTF byte for byte`, () => {
    const spec = fixture(file);
    assert.equal(again(spec), spec);
  });

  test(`${file} written in the other byte order has the same programs`, () => {
    const spec = fixture(file);
    const other = again({ ...spec, endian: spec.endian === "little" ? "big" : "little" });
    assert.equal(other.progs, spec.progs);
    assert.equal(other.maps, spec.maps);
    if (spec.btf === undefined) return;
    assert.equal([...Btf.parse(other.btf!).types()], [...Btf.parse(spec.btf).types()]);
  });
}

test("any collection a compiler makes is read back as it was, and its types keep their ids", () => {
  fc.assert(
    fc.property(anyMade, (made) => {
      const spec = makeSpec(made, sectionOf);
      const copy = again(spec);
      assert.equal(comparable(copy), comparable(spec));
      const [before, after] = [Btf.parse(spec.btf!), Btf.parse(copy.btf!)];
      for (let id = 1; id < before.typeCount; id++) assert.equal(after.typeById(id), before.typeById(id));
      assert.equal(again(copy), copy);
    }),
    { numRuns: RUNS },
  );
});

test("subprograms laid out in another order come back in libbpf's, and nothing else changes", () => {
  fc.assert(
    fc.property(anyMade, (made) => {
      const copy = again(makeSpec(made, sectionOf, "breadth-first"));
      assert.equal(comparable(copy), comparable(makeSpec(made, sectionOf)));
    }),
    { numRuns: RUNS },
  );
});

test("programs that share a subprogram have it once in .text", () => {
  const elf = Elf.open(writeObject(sharedSpec()));
  assert.is(elf.section(".text")?.size, 2 * 8);
  assert.equal(
    [...elf.symbols()!]
      .filter((s) => s.type === STT.FUNC)
      .map((s) => s.name)
      .sort(),
    ["addOne", "onExec", "onExit"],
  );
  assert.equal(comparable(again(sharedSpec())), comparable(sharedSpec()));
});

test("subprograms of one name that differ are kept apart", () => {
  const spec = sharedSpec();
  const [first, second] = [spec.progs[0]!, spec.progs[1]!];
  const last = second.insns.length - 2;
  const other = { ...second, insns: second.insns.map((insn, i) => (i === last ? mov64Imm(0, 5) : insn)) };
  const copy = again({ ...spec, progs: [first, other] });
  assert.equal(
    copy.progs.map((p) => p.insns.at(-2)),
    [first.insns.at(-2), mov64Imm(0, 5)],
  );
});

test("kernel functions and variables get their place in .ksyms", () => {
  const b = new BtfBuilder({ endian: "little" });
  const int = b.int("int", 4, { signed: true });
  const kfunc = b.add({
    kind: "func",
    name: "bpf_rcu_read_lock",
    type: b.add({ kind: "func_proto", type: 0, params: [] }),
    linkage: "global",
  });
  const variable = b.add({ kind: "var", name: "bpf_prog_active", type: int, linkage: "extern" });
  const base = sharedSpec();
  const spec: CollectionSpec = {
    ...base,
    btf: b.encode(),
    maps: [],
    progs: [
      {
        ...base.progs[0]!,
        insns: [callKfunc(0), ...ldBtfId(1, 0), ...ldImm64(2, 0), mov64Imm(0, 0), exit()],
        refs: [
          { kind: "kfunc", insn: 0, name: "bpf_rcu_read_lock", weak: false, btfTypeId: kfunc },
          { kind: "ksym", insn: 1, name: "bpf_prog_active", weak: true, typed: true, btfTypeId: variable },
          { kind: "ksym", insn: 3, name: "init_task", weak: true, typed: false, btfTypeId: 0 },
        ],
        funcs: [],
        lines: [],
        coreRelos: [],
      },
    ],
  };
  const copy = again(spec);
  const btf = Btf.parse(copy.btf!);
  const init = btf.findId("init_task", "var");
  assert.equal(
    copy.progs[0]!.refs,
    spec.progs[0]!.refs.map((r) => (r.kind === "ksym" && r.name === "init_task" ? { ...r, btfTypeId: init } : r)),
  );
  assert.equal(copy.progs[0]!.insns, spec.progs[0]!.insns);
  assert.equal(
    btf.findByName(".ksyms", "datasec")?.vars.map((v) => btf.nameOf(v.type)),
    ["bpf_rcu_read_lock", "bpf_prog_active", "init_task"],
  );
  assert.is(btf.findByName("bpf_rcu_read_lock", "func")?.linkage, "extern");
  assert.equal(again(copy), copy);
});

test("a map changed after reading is defined anew", () => {
  const spec = fixture("maps-el.o");
  const maps = spec.maps.map((m) => (m.name === "counts" ? { ...m, maxEntries: 9999, pinning: "none" as const } : m));
  const copy = again({ ...spec, maps });
  assert.equal(
    copy.maps.map((m) => ({ ...m, btfValueTypeId: 0 })),
    maps.map((m) => ({ ...m, btfValueTypeId: 0 })),
  );
  assert.equal(copy.progs, spec.progs);
});

test("a collection without some of its programs and maps can be written", () => {
  const spec = fixture("maps-el.o");
  const progs = spec.progs.filter((p) => p.name === "tail");
  const maps = spec.maps.filter((m) => m.name === "probe.bss" || m.name === "counts");
  const copy = again({ ...spec, progs, maps });
  assert.equal(copy.progs, progs);
  assert.equal(copy.maps, maps);
});

test("collections that contradict themselves name the argument", () => {
  const spec = sharedSpec();
  const prog = spec.progs[0]!;
  const write = (over: Partial<CollectionSpec>) => () => writeObject({ ...spec, ...over });
  assert.throwsCode(write({ maps: [] }), "ARGUMENT", /there is no map (byUid|probe\.rodata|events)/);
  assert.throwsCode(
    write({ progs: [{ ...prog, section: "" }] }),
    "ARGUMENT",
    /progs\.onExec\.section: a program needs a SEC\(\) name, got ""/,
  );
  assert.throwsCode(write({ progs: [prog, prog] }), "ARGUMENT", /two programs have this name/);
  assert.throwsCode(
    write({ progs: [{ ...prog, refs: [{ kind: "map", insn: 999, map: "events" }] }] }),
    "ARGUMENT",
    /slot 999 is outside/,
  );
  assert.throwsCode(
    write({
      btf: undefined,
      maps: [],
      progs: [
        { ...prog, refs: [], insns: [exit()], funcs: [{ insn: 0, typeId: 9, name: "x" }], lines: [], coreRelos: [] },
      ],
    }),
    "ARGUMENT",
    /the collection has no BTF/,
  );
  const kfunc = { kind: "kfunc", insn: 0, name: "bpf_x", weak: false, btfTypeId: 0 } as const;
  assert.throwsCode(
    write({ progs: [{ ...prog, insns: [callKfunc(0), exit()], refs: [kfunc], funcs: [], lines: [], coreRelos: [] }] }),
    "ARGUMENT",
    /kfunc bpf_x: btfTypeId 0 is no type, expected the FUNC/,
  );
  assert.throwsCode(
    write({
      maps: [
        ...spec.maps,
        mapSpec({ name: "outer", type: 12, keySize: 4, valueSize: 4, initialSlots: [{ key: 0, target: "byUid" }] }),
      ],
    }),
    "ARGUMENT",
    /maps\.outer: initial entries, but no template/,
  );
});

/** Loads objects with bpftool in a mount namespace of its own; the output of `dump` there. */
function bpftool(files: Record<string, Uint8Array | string>, script: string): string {
  const dir = mkdtempSync(join(tmpdir(), "bpfkit-elf-"));
  try {
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(dir, name), bytes);
    return execFileSync("unshare", ["-m", "sh", "-ec", `mount -t bpf bpf /sys/fs/bpf; cd "${dir}"; ${script}`], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` },
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test("libbpf loads what is written, maps, globals, lines and all", () => {
  requires({ root: true, capability: ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"], kernel: "5.8", package: "bpftool" });
  const out = bpftool(
    { "probe.o": writeObject(sharedSpec()) },
    `bpftool prog loadall probe.o /sys/fs/bpf/x pinmaps /sys/fs/bpf/m; ls /sys/fs/bpf/x /sys/fs/bpf/m;
     bpftool prog dump xlated pinned /sys/fs/bpf/x/onExec linum; bpftool map dump pinned /sys/fs/bpf/m/probe_rodata; bpftool map show pinned /sys/fs/bpf/m/byUid`,
  );
  assert.match(out, /onExec\nonExit\n/);
  assert.match(out, /byUid\nevents\n/);
  assert.match(
    out,
    /; export const onExec = rawTracepoint\("sys_enter", \(ctx, bpf\) => \{ \[file:\/src\/execsnoop\.ts line_num:10 line_col:14\]/,
  );
  assert.match(out, /; const addOne = \(x: number\) => x; \[file:\/src\/execsnoop\.ts line_num:3 line_col:7\]/);
  assert.match(out, /"onlyUid": 4294967295/);
  assert.match(out, /hash +name byUid.*\n.*key 4B +value 8B +max_entries 64/);
});

test("libbpf makes the same programs of a clang object and of its copy", () => {
  requires({ root: true, capability: ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"], kernel: "5.17", package: "bpftool" });
  for (const file of ["maps-el.o", "calls-el.o", "nobtf-el.o"]) {
    const spec = fixture(file);
    const dump = spec.progs.map((p) => `bpftool prog dump xlated pinned /sys/fs/bpf/x/${p.name} linum`).join("; ");
    const [ours, theirs] = [{ "probe.o": writeObject(spec) }, {}].map((files, i) =>
      // Ids of maps are new at every load.
      bpftool(
        files,
        `bpftool prog loadall ${i === 0 ? "probe.o" : `"${fixturePath(file)}"`} /sys/fs/bpf/x; ${dump}`,
      ).replaceAll(/map\[id:\d+\]/g, "map[id]"),
    );
    assert.ok(theirs!.length > 200);
    assert.fixture(ours!, theirs!, file);
  }
});
