import { type Insn } from "../../src/asm/index.ts";
import {
  Btf,
  BtfBuilder,
  CORE_POISON,
  CORE_RELO,
  CoreResolver,
  relocate,
  type BtfMember,
  type CoreResult,
} from "../../src/btf/index.ts";
import { assert, suite } from "../harness.ts";

const test = suite("btf core");

/** A BTF with `struct NAME` of these members; types: 1 u32, 2 s32, 3 u64, 4 u8, 5 pointer to u32. */
function withStructs(
  structs: Record<string, readonly (readonly [name: string, type: number, bit: number, width?: number])[]>,
  endian: "little" | "big" = "little",
): Btf {
  const b = new BtfBuilder({ endian });
  b.int("unsigned int", 4);
  b.int("int", 4, { signed: true });
  b.int("long unsigned int", 8);
  b.int("unsigned char", 1);
  b.add({ kind: "ptr", type: 1 });
  for (const [name, members] of Object.entries(structs)) {
    const list = members.map(([n, type, bitOffset, bitSize = 0]): BtfMember => ({ name: n, type, bitOffset, bitSize }));
    b.add({ kind: "struct", name: name.replace(/#.*/, ""), size: 64, members: list });
  }
  return b.build();
}

function resolveOne(local: Btf, targets: Btf | readonly Btf[], kind: number, access = "0:0", name = "s"): CoreResult {
  const resolver = new CoreResolver(targets instanceof Btf ? [targets] : targets);
  return resolver.resolve(local, { insn: 0, typeId: local.findId(name), access, kind });
}
const valueOf = (r: CoreResult): bigint | undefined => (r.status === "ok" ? r.value?.value : undefined);

test("field offset, size, existence, signedness and shifts", () => {
  const local = withStructs({ s: [["f", 2, 0]] });
  const target = withStructs({
    s: [
      ["other", 3, 0],
      ["f", 2, 96],
    ],
  });
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.FIELD_BYTE_OFFSET)), 12n);
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.FIELD_BYTE_SIZE)), 4n);
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.FIELD_EXISTS)), 1n);
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.FIELD_SIGNED)), 1n);
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.FIELD_LSHIFT_U64)), 32n);
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.FIELD_RSHIFT_U64)), 32n);
  const without = withStructs({ s: [["g", 2, 0]] });
  assert.is(valueOf(resolveOne(local, without, CORE_RELO.FIELD_EXISTS)), 0n);
  assert.is(resolveOne(local, without, CORE_RELO.FIELD_BYTE_OFFSET).status, "poisoned");
});

test("bit-fields: the load that holds them, and its shifts in both byte orders", () => {
  const little = withStructs({ s: [["f", 1, 37, 5]] });
  const local = withStructs({ s: [["f", 1, 3, 5]] });
  assert.is(valueOf(resolveOne(local, little, CORE_RELO.FIELD_BYTE_OFFSET)), 4n);
  assert.is(valueOf(resolveOne(local, little, CORE_RELO.FIELD_BYTE_SIZE)), 4n);
  assert.is(valueOf(resolveOne(local, little, CORE_RELO.FIELD_LSHIFT_U64)), 54n);
  assert.is(valueOf(resolveOne(local, little, CORE_RELO.FIELD_RSHIFT_U64)), 59n);
  const big = withStructs({ s: [["f", 1, 37, 5]] }, "big");
  const bigLocal = withStructs({ s: [["f", 1, 3, 5]] }, "big");
  assert.is(valueOf(resolveOne(bigLocal, big, CORE_RELO.FIELD_LSHIFT_U64)), 37n);
  // Across a 32-bit unit the load becomes 64 bits; across a 64-bit one there is none.
  const across = withStructs({ s: [["f", 1, 30, 5]] });
  assert.is(valueOf(resolveOne(local, across, CORE_RELO.FIELD_BYTE_SIZE)), 8n);
  assert.is(resolveOne(local, withStructs({ s: [["f", 1, 62, 5]] }), CORE_RELO.FIELD_BYTE_SIZE).status, "error");
});

test("arrays, elements, and the last array of a struct", () => {
  const make = (nelems: number, pad: number): Btf => {
    const b = new BtfBuilder();
    const int = b.int("int", 4, { signed: true });
    const array = b.add({ kind: "array", type: int, indexType: int, nelems });
    b.add({
      kind: "struct",
      name: "s",
      size: 64,
      members: [{ name: "list", type: array, bitOffset: pad, bitSize: 0 }],
    });
    return b.build();
  };
  assert.is(valueOf(resolveOne(make(4, 0), make(8, 64), CORE_RELO.FIELD_BYTE_OFFSET, "0:0:3")), 20n);
  assert.is(resolveOne(make(4, 0), make(2, 64), CORE_RELO.FIELD_BYTE_OFFSET, "0:0:3").status, "poisoned");
  assert.is(valueOf(resolveOne(make(0, 0), make(0, 64), CORE_RELO.FIELD_BYTE_OFFSET, "0:0:3")), 20n);
  assert.is(valueOf(resolveOne(make(4, 0), make(4, 0), CORE_RELO.FIELD_BYTE_OFFSET, "2:0:1")), 132n);
});

test("a member may move into an anonymous struct, and a type be a flavour", () => {
  const local = withStructs({ s___new: [["f", 1, 0]] });
  const b = new BtfBuilder();
  const int = b.int("unsigned int", 4);
  const anon = b.add({
    kind: "union",
    size: 8,
    members: [
      { name: "g", type: int, bitOffset: 0, bitSize: 0 },
      { name: "f", type: int, bitOffset: 32, bitSize: 0 },
    ],
  });
  b.add({ kind: "struct", name: "s", size: 32, members: [{ name: "", type: anon, bitOffset: 64, bitSize: 0 }] });
  assert.is(valueOf(resolveOne(local, b.build(), CORE_RELO.FIELD_BYTE_OFFSET, "0:0", "s___new")), 12n);
  // Target flavours are candidates too, where they agree.
  const flavoured = withStructs({ s___2: [["f", 1, 160]] });
  assert.is(valueOf(resolveOne(withStructs({ s: [["f", 1, 0]] }), flavoured, CORE_RELO.FIELD_BYTE_OFFSET)), 20n);
});

test("types: ids, existence, size, match", () => {
  const local = withStructs({ s: [["f", 1, 0]] });
  const target = withStructs({
    other: [],
    s: [
      ["f", 1, 0],
      ["g", 1, 32],
    ],
  });
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.TYPE_ID_LOCAL, "0")), BigInt(local.findId("s")));
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.TYPE_ID_TARGET, "0")), BigInt(target.findId("s")));
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.TYPE_EXISTS, "0")), 1n);
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.TYPE_SIZE, "0")), 64n);
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.TYPE_MATCHES, "0")), 1n);
  // A local member that the target lacks, or has with another size, does not match.
  assert.is(valueOf(resolveOne(target, local, CORE_RELO.TYPE_MATCHES, "0")), 0n);
  assert.is(valueOf(resolveOne(local, withStructs({ s: [["f", 3, 0]] }), CORE_RELO.TYPE_MATCHES, "0")), 0n);
  const nothing = withStructs({});
  assert.is(valueOf(resolveOne(local, nothing, CORE_RELO.TYPE_EXISTS, "0")), 0n);
  assert.is(valueOf(resolveOne(local, nothing, CORE_RELO.TYPE_ID_TARGET, "0")), 0n);
});

test("enum values of 32 and 64 bits", () => {
  const b = new BtfBuilder();
  b.add({
    kind: "enum",
    name: "e",
    size: 4,
    signed: true,
    values: [
      { name: "A", value: 1 },
      { name: "B___x", value: 2 },
    ],
  });
  const t = new BtfBuilder();
  t.add({
    kind: "enum64",
    name: "e",
    size: 8,
    signed: false,
    values: [
      { name: "Z", value: 0n },
      { name: "B", value: 0x1234_5678_9abc_def0n },
    ],
  });
  const local = b.build();
  const target = t.build();
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.ENUMVAL_VALUE, "1", "e")), 0x1234_5678_9abc_def0n);
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.ENUMVAL_EXISTS, "1", "e")), 1n);
  assert.is(valueOf(resolveOne(local, target, CORE_RELO.ENUMVAL_EXISTS, "0", "e")), 0n);
  const missing = resolveOne(local, target, CORE_RELO.ENUMVAL_VALUE, "0", "e");
  assert.is(missing.status, "poisoned");
  assert.match(missing.diagnostic?.notes.join() ?? "", /candidate: enum64 e .* has no value A/);
});

test("same-named types that disagree are refused, until a member tells them apart", () => {
  const local = withStructs({
    s: [
      ["f", 1, 0],
      ["only", 1, 32],
    ],
  });
  const target = withStructs({
    "s#1": [["f", 1, 64]],
    "s#2": [
      ["f", 1, 96],
      ["only", 1, 0],
    ],
  });
  const refused = resolveOne(local, target, CORE_RELO.FIELD_BYTE_OFFSET);
  assert.is(refused.status, "error");
  assert.match(
    refused.diagnostic?.message ?? "",
    /field_byte_offset of struct s\.f is ambiguous.*at bit 64 and at bit 96/,
  );
  assert.is(refused.diagnostic?.notes.length, 2);
  // As in libbpf, an access that only one of them has settles which one is meant.
  const resolver = new CoreResolver([target]);
  const relo = (access: string) => resolver.resolve(local, { insn: 0, typeId: local.findId("s"), access, kind: 0 });
  assert.is(valueOf(relo("0:1")), 0n);
  assert.is(valueOf(relo("0:0")), 12n);
  // Equal results are no ambiguity.
  const same = withStructs({ "s#1": [["f", 1, 64]], "s#2": [["f", 1, 64]] });
  assert.is(valueOf(resolveOne(local, same, CORE_RELO.FIELD_BYTE_OFFSET)), 8n);
});

test("modules are asked where the kernel has no type of the name", () => {
  const local = withStructs({ s: [["f", 1, 0]], m: [["f", 1, 0]] });
  const kernel = withStructs({ s: [["f", 1, 64]] });
  const b = new BtfBuilder({ base: kernel });
  b.add({ kind: "struct", name: "m", size: 8, members: [{ name: "f", type: 1, bitOffset: 32, bitSize: 0 }] });
  b.add({ kind: "struct", name: "s", size: 8, members: [{ name: "f", type: 1, bitOffset: 0, bitSize: 0 }] });
  const module = b.build();
  assert.is(valueOf(resolveOne(local, [kernel, module], CORE_RELO.FIELD_BYTE_OFFSET, "0:0", "m")), 4n);
  const inKernel = resolveOne(local, [kernel, module], CORE_RELO.FIELD_BYTE_OFFSET, "0:0", "s");
  assert.is(valueOf(inKernel), 8n);
  assert.is(inKernel.target?.btf, kernel);
});

const insn = (opcode: number, off: number, imm: number): Insn => ({ opcode, dst: 1, src: 2, off, imm });

test("instructions: loads, stores, immediates, ld_imm64, sizes and poison", () => {
  const local = withStructs({
    s: [
      ["f", 1, 0],
      ["p", 5, 64],
      ["sg", 2, 128],
      ["gone", 1, 192],
    ],
  });
  const target = withStructs({
    s: [
      ["f", 3, 64],
      ["p", 5, 128],
      ["sg", 3, 192],
    ],
  });
  const typeId = local.findId("s");
  const run = (insns: Insn[], access: string, kind: number) => {
    const before = structuredClone(insns);
    const out = relocate({ insns, relos: [{ insn: 0, typeId, access, kind }], local, targets: [target] });
    assert.equal(insns, before, "the input is not changed");
    return { insns: out.insns, result: out.results[0]! };
  };
  // r1 = *(u32 *)(r2 + 0) of an unsigned field that has 8 bytes in the target.
  assert.equal(run([insn(0x61, 0, 0)], "0:0", 0).insns, [insn(0x79, 8, 0)]);
  // A pointer keeps its size.
  assert.equal(run([insn(0x79, 8, 0)], "0:1", 0).insns, [insn(0x79, 16, 0)]);
  // A signed field cannot change size.
  const resized = run([insn(0x61, 16, 0)], "0:2", 0);
  assert.is(resized.result.status, "poisoned");
  assert.match(resized.result.diagnostic?.message ?? "", /struct s\.sg: the field has 4 bytes.*and 8/);
  assert.equal(resized.insns, [{ opcode: 0x85, dst: 0, src: 0, off: 0, imm: CORE_POISON }]);
  // r1 = 0, the offset as a number.
  assert.equal(run([{ ...insn(0xb7, 0, 0), src: 0 }], "0:0", 0).insns[0]?.imm, 8);
  // ld_imm64 takes both slots, also for poison.
  const wide = [
    { opcode: 0x18, dst: 1, src: 0, off: 0, imm: 24 },
    { opcode: 0, dst: 0, src: 0, off: 0, imm: 0 },
  ];
  assert.equal(
    run(wide, "0:3", 0).insns.map((i) => i.imm),
    [CORE_POISON, CORE_POISON],
  );
  assert.equal(
    run([{ ...wide[0]!, imm: 4 }, wide[1]!], "0:0", 1).insns.map((i) => i.imm),
    [8, 0],
  );
  // What is not there, or not what the record says, is refused.
  assert.match(run([insn(0x61, 4, 0)], "0:0", 0).result.diagnostic?.message ?? "", /has offset 4, expected 0/);
  assert.match(
    run([insn(0x95, 0, 0)], "0:0", 0).result.diagnostic?.message ?? "",
    /none that a CO-RE relocation can change/,
  );
  assert.match(run([], "0:0", 0).result.diagnostic?.message ?? "", /outside the program/);
});

test("a missing field names the path, the candidates and what they have instead", () => {
  const local = withStructs({ task: [["state", 1, 0]] });
  const target = withStructs({
    task: [
      ["__state", 1, 0],
      ["pid", 1, 32],
    ],
  });
  const { diagnostic, status } = resolveOne(local, target, 0, "0:0", "task");
  assert.is(status, "poisoned");
  assert.is(diagnostic?.message, "field_byte_offset of struct task.state: no candidate has it");
  assert.equal(diagnostic?.notes, ["candidate: struct task (type 6 of BTF) has no member state (it has __state)"]);
  const absent = resolveOne(local, withStructs({}), 0, "0:0", "task");
  assert.is(absent.diagnostic?.message, "field_byte_offset of struct task.state: no struct task in the target (BTF)");
});

test("malformed records are errors, not exceptions", () => {
  const local = withStructs({ s: [["f", 1, 0]] });
  for (const [access, kind, message] of [
    ["", 0, /numbers separated by colons/],
    ["0:", 0, /numbers separated by colons/],
    ["0:7", 0, /has 1 members/],
    ["0:0:0", 0, /expected a struct, union or array/],
    ["1", 8, /expected "0"/],
    ["0", 10, /expected an enum/],
    ["0", 13, /unknown CO-RE relocation kind 13/],
  ] as const) {
    const result = resolveOne(local, local, kind, access);
    assert.is(result.status, "error", access);
    assert.match(result.diagnostic?.message ?? "", message);
  }
});
