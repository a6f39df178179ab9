import { Btf, resolve } from "../../src/btf/index.ts";
import { type CollectionSpec, dataMapName, prepareBtf, readObject } from "../../src/elf/index.ts";
import { BPF_ATTACH_TYPE, BPF_F, BPF_MAP_TYPE, BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { assert, suite } from "../harness.ts";
import { FIXTURES, fixture, fixtureBytes } from "./fixtures.ts";

const test = suite("elf readObject");

const map = (spec: CollectionSpec, name: string) => {
  const found = spec.maps.find((m) => m.name === name);
  assert.ok(found !== undefined, name);
  return found!;
};
const prog = (spec: CollectionSpec, name: string) => {
  const found = spec.progs.find((p) => p.name === name);
  assert.ok(found !== undefined, name);
  return found!;
};

for (const endian of ["el", "eb"] as const) {
  test(`maps of .maps, ${endian}`, () => {
    const spec = fixture(`maps-${endian}.o`);
    assert.is(spec.endian, endian === "el" ? "little" : "big");
    assert.equal([spec.name, spec.license, spec.kernelVersion], ["probe", "Dual MIT/GPL", 0x060c00]);
    const counts = map(spec, "counts");
    assert.equal(
      [counts.type, counts.keySize, counts.valueSize, counts.maxEntries, counts.flags, counts.pinning],
      [BPF_MAP_TYPE.HASH, 16, 24, 1024, BPF_F.NO_PREALLOC, "by-name"],
    );
    const btf = Btf.parse(spec.btf!);
    assert.is(btf.nameOf(counts.btfKeyTypeId), "key");
    assert.is(btf.nameOf(counts.btfValueTypeId), "value");
    assert.equal([map(spec, "ring").type, map(spec, "ring").maxEntries], [BPF_MAP_TYPE.RINGBUF, 4096]);
    assert.equal([map(spec, "events").keySize, map(spec, "events").maxEntries], [4, 0]);
    assert.is(map(spec, "bloom").mapExtra, 3n);
    const outer = map(spec, "outer");
    assert.equal(outer.initialSlots, [
      { key: 0, target: "inner_a" },
      { key: 3, target: "inner_b" },
    ]);
    assert.equal(
      [outer.inner?.name, outer.inner?.type, outer.inner?.valueSize],
      ["outer.inner", BPF_MAP_TYPE.ARRAY, 8],
    );
    assert.equal(map(spec, "jumps").initialSlots, [{ key: 1, target: "tail" }]);
  });

  test(`global variables, ${endian}`, () => {
    const spec = fixture(`maps-${endian}.o`);
    const little = endian === "el";
    const read = (name: string, variable: string): number => {
      const m = map(spec, name);
      const v = m.variables.find((x) => x.name === variable)!;
      return new DataView(m.data!.buffer, m.data!.byteOffset).getInt32(
        v.offset + (v.size === 8 && !little ? 4 : 0),
        little,
      );
    };
    assert.is(read("probe.data", "counter"), 42);
    assert.is(read("probe.data", "hidden_count"), 7);
    assert.is(read("probe.rodata", "limit"), 100);
    assert.is(read(".data.custom", "custom"), 5);
    assert.equal(
      [map(spec, "probe.rodata").frozen, map(spec, "probe.rodata").flags],
      [true, BPF_F.RDONLY_PROG | BPF_F.MMAPABLE],
    );
    assert.equal([map(spec, "probe.data").frozen, map(spec, "probe.data").flags], [false, BPF_F.MMAPABLE]);
    // Hidden variables are not for user space to map.
    assert.is(map(spec, ".data.private").flags, 0);
    assert.equal([map(spec, "probe.bss").valueSize, map(spec, "probe.bss").data], [16, undefined]);
    assert.equal(
      map(spec, "probe.kconfig").variables.map((v) => [v.name, v.offset, v.size, v.weak === true]),
      [
        ["CONFIG_HZ", 0, 4, false],
        ["LINUX_KERNEL_VERSION", 4, 4, false],
        ["CONFIG_NO_SUCH_OPTION", 8, 1, true],
      ],
    );
    const sec = Btf.parse(spec.btf!).findByName(".data", "datasec")!;
    assert.is(sec.size, 12, "clang leaves the size at 0");
    const refs = prog(spec, "count").refs.flatMap((r) => (r.kind === "map-value" ? [`${r.map}+${r.offset}`] : []));
    assert.equal(refs, [
      "probe.rodata+0",
      "probe.rodata+4",
      "probe.data+8",
      "probe.bss+0",
      ".data.custom+0",
      ".data.private+0",
      "probe.data+0",
      "probe.kconfig+0",
      "probe.kconfig+8",
      "probe.kconfig+4",
    ]);
  });

  test(`subprograms stand behind each program that reaches them, ${endian}`, () => {
    const spec = fixture(`calls-${endian}.o`);
    assert.equal(
      spec.progs.map((p) => [p.name, p.type, p.expectedAttachType, p.attachTo]),
      [
        ["first", BPF_PROG_TYPE.TRACING, BPF_ATTACH_TYPE.TRACE_RAW_TP, "sched_switch"],
        ["second", BPF_PROG_TYPE.TRACING, BPF_ATTACH_TYPE.TRACE_RAW_TP, "sched_switch"],
      ],
    );
    const [first, second] = [prog(spec, "first"), prog(spec, "second")];
    assert.equal(
      first.funcs.map((f) => f.name),
      ["first", "hidden", "other", "shared", "twice"],
    );
    assert.equal(
      second.funcs.map((f) => f.name),
      ["second", "each", "twice", "shared"],
    );
    for (const p of [first, second]) {
      const starts = new Map(p.funcs.map((f) => [f.insn, f.name]));
      const calls = p.refs.filter((r) => r.kind === "subprog" || r.kind === "func");
      assert.ok(calls.length >= 3);
      for (const r of calls) {
        const insn = p.insns[r.insn]!;
        assert.is(r.insn + insn.imm + 1, r.target);
        assert.ok(starts.has(r.target), `nothing starts at ${r.target}`);
        assert.is(insn.src, r.kind === "func" ? 4 : 1);
      }
      assert.ok(p.lines.every((l, i) => i === 0 || l.insn >= p.lines[i - 1]!.insn));
      assert.ok(p.lines.every((l) => l.file.endsWith("calls.c") && l.line > 0 && l.text.length > 0));
    }
    const each = second.refs.find((r) => r.kind === "func");
    assert.is(second.funcs.find((f) => f.insn === (each as { target: number }).target)?.name, "each");
    // __hidden functions are verified where they are called, as static ones.
    const btf = Btf.parse(spec.btf!);
    assert.equal(
      [btf.findByName("hidden", "func")?.linkage, btf.findByName("shared", "func")?.linkage],
      ["static", "global"],
    );
    assert.equal(
      first.coreRelos.map((r) => [btf.nameOf(r.typeId), r.access, r.kind]),
      [
        ["task_struct", "0:2", 0],
        ["task_struct", "0:1", 0],
        ["task_struct___renamed", "0:0", 2],
        ["task_struct", "0:0", 0],
        ["task_struct", "0", 8],
        ["task_struct", "0", 9],
      ],
    );
  });

  test(`kernel functions and variables, ${endian}`, () => {
    const spec = fixture(`ksyms-${endian}.o`);
    const third = prog(spec, "third");
    const btf = Btf.parse(spec.btf!);
    const refs = third.refs.flatMap((r) => (r.kind === "kfunc" || r.kind === "ksym" ? [r] : []));
    assert.equal(
      refs.map((r) => [r.kind, r.name, r.weak, r.kind === "ksym" ? r.typed : undefined, btf.describe(r.btfTypeId)]),
      [
        ["kfunc", "bpf_task_acquire", false, undefined, "func bpf_task_acquire"],
        ["kfunc", "bpf_task_release", false, undefined, "func bpf_task_release"],
        ["ksym", "bpf_no_such_kfunc", true, true, "func bpf_no_such_kfunc"],
        ["kfunc", "bpf_no_such_kfunc", true, undefined, "func bpf_no_such_kfunc"],
        ["ksym", "bpf_prog_active", true, true, "var bpf_prog_active"],
        ["ksym", "init_task", true, false, "var init_task"],
      ],
    );
    assert.equal(
      refs.map((r) => third.insns[r.insn]!.src),
      [2, 2, 3, 2, 3, 0],
    );
  });

  test(`prepareBtf leaves no externs and keeps type ids, ${endian}`, () => {
    for (const name of ["ksyms", "maps"]) {
      const spec = fixture(`${name}-${endian}.o`);
      const before = Btf.parse(spec.btf!);
      const after = Btf.parse(prepareBtf(spec)!);
      assert.ok(after.typeCount >= before.typeCount);
      let externs = 0;
      for (let id = 1; id < before.typeCount; id++) {
        const [a, b] = [before.typeById(id), after.typeById(id)];
        assert.is(a.name, b.name);
        if ((a.kind === "func" || a.kind === "var") && a.linkage === "extern") externs++;
        if (b.kind === "func" || b.kind === "var") assert.is.not(b.linkage, "extern", b.name);
      }
      assert.ok(externs > 0);
      const sec = after.findByName(".ksyms", "datasec");
      if (sec !== undefined) {
        assert.equal(
          sec.vars.map((v) => v.offset),
          sec.vars.map((_, i) => i * 4),
        );
        assert.ok(
          sec.vars.every(
            (v) =>
              after.typeById(v.type).kind === "var" &&
              resolve(after, (after.typeById(v.type) as { type: number }).type).kind === "int",
          ),
        );
      }
    }
  });

  test(`struct_ops maps and their programs, ${endian}`, () => {
    const spec = fixture(`structops-${endian}.o`);
    const plain = map(spec, "plain");
    assert.equal(
      [plain.type, plain.flags, plain.structOps, plain.valueSize],
      [BPF_MAP_TYPE.STRUCT_OPS, BPF_F.LINK, "tcp_congestion_ops", 48],
    );
    assert.equal(plain.initialSlots, [
      { key: 0, target: "ssthresh" },
      { key: 8, target: "cong_avoid" },
      { key: 16, target: "undo_cwnd" },
    ]);
    assert.is(new TextDecoder().decode(plain.data!.subarray(24, 36)), "bpfkit_plain");
    const optional = map(spec, "optional");
    assert.equal([optional.flags, optional.section, optional.autocreate], [0, ".struct_ops", false]);
    assert.ok(spec.progs.every((p) => p.type === BPF_PROG_TYPE.STRUCT_OPS));
  });

  test(`globals in an arena, and a program that is not loaded by itself, ${endian}`, () => {
    const spec = fixture(`arena-${endian}.o`);
    const arena = map(spec, "arena");
    assert.is(arena.data?.length, 72);
    assert.equal(
      arena.variables.map((v) => [v.name, v.offset, v.size]),
      [
        ["visits", 0, 4],
        ["table", 8, 64],
      ],
    );
    assert.equal(
      prog(spec, "visit").refs.map((r) => (r.kind === "map-value" ? r.offset : -1)),
      [0, 8],
    );
    assert.is(prog(spec, "visit").flags, BPF_F.SLEEPABLE);
    assert.equal([prog(spec, "not_loaded").autoload, prog(spec, "not_loaded").section], [false, "raw_tp/sys_exit"]);
  });

  test(`an object without BTF, ${endian}`, () => {
    const spec = fixture(`nobtf-${endian}.o`);
    assert.is(spec.btf, undefined);
    assert.equal(
      spec.maps.map((m) => [m.name, m.variables.map((v) => v.name)]),
      [
        ["probe.rodata", ["step"]],
        ["probe.bss", ["seen"]],
      ],
    );
    assert.equal(
      prog(spec, "drop").refs.map((r) => r.kind),
      ["map-value", "map-value", "subprog"],
    );
  });

  test(`legacy map definitions are refused, ${endian}`, () => {
    assert.throwsCode(
      () => fixture(`legacy-${endian}.o`),
      "DECODE",
      /probe\.o\+0x[0-9a-f]+ \(maps\): .*libbpf 1\.0 dropped: define them in \.maps/,
    );
  });
}

test("both byte orders give the same programs and maps", () => {
  for (const file of FIXTURES.filter((f) => f.endsWith("-el.o"))) {
    const little = fixture(file);
    const big = fixture(file.replace("-el.o", "-eb.o"));
    const bare = (s: CollectionSpec) => ({
      ...s,
      endian: "",
      btf: "",
      maps: s.maps.map((m) => ({ ...m, data: m.data?.length })),
    });
    assert.equal(bare(big), bare(little), file);
  }
});

test("data maps are named as libbpf names them", () => {
  assert.is(dataMapName("execsnoop", ".rodata"), "execsnoo.rodata");
  assert.is(dataMapName("execsnoop", ".bss"), "execsnoo.bss");
  assert.is(dataMapName("execsnoop", ".kconfig"), "execsno.kconfig");
  assert.is(dataMapName("a-b", ".data"), "a_b.data");
  assert.is(dataMapName("execsnoop", ".data.read_mostly"), ".data.read_most");
});

test("other files are refused with the reason", () => {
  const bytes = fixtureBytes("maps-el.o");
  const machine = bytes.slice();
  machine.set([62, 0], 18);
  assert.throwsCode(
    () => readObject(machine),
    "DECODE",
    /object\.o\+0x12 \(header\.machine\): machine 62 is not BPF \(247\): compile with -target bpf/,
  );
  const type = bytes.slice();
  type.set([2, 0], 16);
  assert.throwsCode(() => readObject(type, { name: "dir/probe.bpf.o" }), "DECODE", /^probe\.o\+0x10 \(header\.type\)/);
  assert.throwsCode(
    () => readObject(new TextEncoder().encode("#include <linux/bpf.h>\n")),
    "DECODE",
    /not an ELF file/,
  );
});
