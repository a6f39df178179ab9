import fc from "fast-check";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import {
  alignOf,
  Btf,
  BtfBuilder,
  enumName,
  findMember,
  findPath,
  KIND_NAMES,
  resolve,
  sizeOf,
  type BtfType,
} from "../../src/btf/index.ts";
import { DecodeError } from "../../src/core/index.ts";
import { assert, skip, suite } from "../harness.ts";
import { requires, which } from "../kernel.ts";
import { buildFrom, typeSpecs, withoutId } from "./arbitrary.ts";

const test = suite("btf read");
const VMLINUX = "/sys/kernel/btf/vmlinux";

function vmlinux(): Btf {
  requires({ kernel: "5.4" });
  if (!existsSync(VMLINUX)) skip(`needs ${VMLINUX} (a kernel built with CONFIG_DEBUG_INFO_BTF)`);
  return Btf.parse(new Uint8Array(readFileSync(VMLINUX)), { what: "vmlinux" });
}

/** Two structs, an enum and what lies between, by hand. */
function sample(endian: "little" | "big" = "little"): Btf {
  const b = new BtfBuilder({ endian });
  const int = b.int("int", 4, { signed: true });
  const u64 = b.int("long unsigned int", 8);
  const anon = b.add({
    kind: "union",
    size: 8,
    members: [
      { name: "word", type: u64, bitOffset: 0, bitSize: 0 },
      { name: "low", type: int, bitOffset: 0, bitSize: 0 },
    ],
  });
  const inner = b.add({
    kind: "struct",
    name: "inner",
    size: 16,
    members: [
      { name: "x", type: int, bitOffset: 0, bitSize: 0 },
      { name: "", type: anon, bitOffset: 64, bitSize: 0 },
    ],
  });
  const array = b.add({ kind: "array", type: inner, indexType: int, nelems: 3 });
  const alias = b.add({ kind: "typedef", name: "inners", type: array });
  const constant = b.add({ kind: "const", type: alias });
  b.add({
    kind: "struct",
    name: "outer",
    size: 56,
    members: [
      { name: "flag", type: int, bitOffset: 3, bitSize: 5 },
      { name: "list", type: constant, bitOffset: 64, bitSize: 0 },
    ],
  });
  b.add({
    kind: "enum",
    name: "color",
    size: 4,
    signed: true,
    values: [
      { name: "RED", value: -1 },
      { name: "BLUE", value: 7 },
    ],
  });
  return b.build();
}

test("types decode alike in both byte orders", () => {
  fc.assert(
    fc.property(typeSpecs, (specs) => {
      const little = Btf.parse(buildFrom(specs, "little"));
      const big = Btf.parse(buildFrom(specs, "big"));
      assert.is(big.endian, "big");
      assert.equal([...big.types()], [...little.types()]);
      assert.equal(
        [...little.types()].map(withoutId),
        specs.map((s) => ({ name: "", ...s })),
      );
    }),
    { numRuns: 300 },
  );
});

test("bytes at an odd address read the same", () => {
  const bytes = sample().bytes;
  const shifted = new Uint8Array(bytes.length + 1);
  shifted.set(bytes, 1);
  assert.equal([...Btf.parse(shifted.subarray(1)).types()], [...sample().types()]);
});

test("paths go through typedefs, arrays and anonymous members", () => {
  for (const endian of ["little", "big"] as const) {
    const btf = sample(endian);
    const outer = btf.findId("outer", "struct");
    assert.equal(findPath(btf, outer, ["list", 2, "low"]), {
      type: 1,
      bitOffset: 64 + 2 * 128 + 64,
      bitSize: 0,
      access: "0:1:2:1:1",
    });
    assert.equal(findPath(btf, outer, ["flag"]), { type: 1, bitOffset: 3, bitSize: 5, access: "0:0" });
    assert.is(findPath(btf, outer, ["list", 3]), undefined);
    assert.is(findPath(btf, outer, ["list", 0, "nothing"]), undefined);
    assert.is(findPath(btf, outer, ["flag", "x"]), undefined);
    assert.is(sizeOf(btf, btf.findId("inners")), 48);
    assert.is(alignOf(btf, outer), 8);
    assert.is(enumName(btf, btf.findId("color"), -1), "RED");
    const member = findMember(btf, btf.findId("inner"), "word");
    assert.equal(member?.indexes, [1, 0]);
    assert.is(resolve(btf, btf.findId("inners")).kind, "array");
  }
});

test("names: lowest id of a kind, absent names, ends of longer names", () => {
  const b = new BtfBuilder();
  b.int("xint", 4);
  const second = b.int("int", 4);
  b.int("int", 8);
  const struct = b.add({ kind: "struct", name: "int", size: 0, members: [] });
  const btf = b.build();
  assert.is(btf.findId("int"), second);
  assert.is(btf.findId("int", "struct"), struct);
  assert.equal(btf.findIds("int"), [second, second + 1, struct]);
  assert.is(btf.findByName("nt"), undefined);
  assert.is(btf.findByName(""), undefined);
  assert.is(btf.findByName("int\0int"), undefined);
});

test("split BTF continues its base's ids and strings", () => {
  const base = sample();
  const b = new BtfBuilder({ base });
  const pointer = b.add({ kind: "ptr", type: base.findId("outer") });
  b.add({
    kind: "struct",
    name: "module_state",
    size: 8,
    members: [{ name: "list", type: pointer, bitOffset: 0, bitSize: 0 }],
  });
  const inner = b.add({ kind: "struct", name: "inner", size: 0, members: [] });
  const split = Btf.parse(b.encode(), { base });
  assert.is(split.firstId, base.typeCount);
  assert.is(split.typeById(pointer).kind, "ptr");
  assert.is(split.typeById(1), base.typeById(1));
  assert.is(split.findByName("module_state", "struct")?.members[0]?.name, "list");
  assert.equal(split.findIds("inner"), [base.findId("inner"), inner]);
  assert.equal(
    [...split.types()].map((t) => t.id),
    [pointer, pointer + 1, pointer + 2],
  );
  assert.throwsCode(() => Btf.parse(b.encode()), "DECODE", /first string must be empty/);
});

test("malformed headers and types name the field and the offset", () => {
  const bytes = sample().bytes;
  const with32 = (offset: number, value: number): Uint8Array => {
    const copy = bytes.slice();
    new DataView(copy.buffer).setUint32(offset, value, true);
    return copy;
  };
  const cases: [Uint8Array, string, number, RegExp][] = [
    [new Uint8Array(3), "header.hdr_len", 0, /expected a header of 24 bytes/],
    [with32(0, 0), "header.magic", 0, /0xeb9f/],
    [with32(4, 9), "header.hdr_len", 4, /got 9/],
    [with32(12, 3), "header.type_len", 12, /multiple of 4/],
    [with32(20, 0xffff_ffff), "header.str_len", 20, /outside/],
    [with32(28, 0x1f00_0000), "types.#0.info", 28, /kind from 1 to 19/],
    [bytes.slice(0, -1), "header.str_len", 20, /outside/],
  ];
  for (const [input, path, offset, message] of cases) {
    try {
      Btf.parse(input);
      assert.unreachable(`${path} was accepted`);
    } catch (error) {
      assert.instance(error, DecodeError);
      assert.is((error as DecodeError).path.join("."), path);
      assert.is((error as DecodeError).offset, offset);
      assert.match((error as DecodeError).message, message);
    }
  }
  // Contents are checked when a type is decoded: an int whose name is outside.
  const lazy = Btf.parse(with32(24, 0x00ff_ffff));
  assert.throwsCode(
    () => lazy.typeById(1),
    "DECODE",
    `BTF+0x18 (types.[1].name_off): string offset 16777215 is outside ${lazy.strings.end} bytes of strings`,
  );
  assert.throwsCode(() => lazy.typeById(99), "DECODE", /type id 99 does not exist/);
});

test("loops of typedefs and arrays end in an error", () => {
  const b = new BtfBuilder();
  b.add({ kind: "typedef", name: "self", type: 1 });
  b.add({ kind: "array", type: 2, indexType: 1, nelems: 1 });
  const btf = b.build();
  for (const id of [1, 2]) {
    assert.throwsCode(() => sizeOf(btf, id), "DECODE", /loop/);
    assert.throwsCode(() => alignOf(btf, id), "DECODE", /loop/);
  }
});

/** A type in the shape of `bpftool btf dump -j`. */
function asBpftool(t: BtfType): Record<string, unknown> {
  const head = {
    id: t.id,
    kind: KIND_NAMES[KIND_NAMES.indexOf(t.kind)]!.toUpperCase(),
    name: t.name === "" ? "(anon)" : t.name,
  };
  switch (t.kind) {
    case "int":
      return {
        ...head,
        size: t.size,
        bits_offset: t.offset,
        nr_bits: t.bits,
        encoding: t.bool ? "BOOL" : t.char ? "CHAR" : t.signed ? "SIGNED" : "(none)",
      };
    case "array":
      return { ...head, type_id: t.type, index_type_id: t.indexType, nr_elems: t.nelems };
    case "struct":
    case "union":
      return {
        ...head,
        size: t.size,
        vlen: t.members.length,
        members: t.members.map((m) => ({
          name: m.name === "" ? "(anon)" : m.name,
          type_id: m.type,
          bits_offset: m.bitOffset,
          ...(m.bitSize === 0 ? {} : { bitfield_size: m.bitSize }),
        })),
      };
    case "enum":
    case "enum64":
      return {
        ...head,
        encoding: t.signed ? "SIGNED" : "UNSIGNED",
        size: t.size,
        vlen: t.values.length,
        // bpftool 7.1 sign-extends unsigned 32-bit values to 64 bits.
        values: t.values.map((v) => ({
          name: v.name,
          val: t.signed
            ? Number(v.value)
            : Number(BigInt.asUintN(64, BigInt(t.kind === "enum" ? Number(v.value) | 0 : v.value))),
        })),
      };
    case "fwd":
      return { ...head, fwd_kind: t.of };
    case "func":
      return { ...head, type_id: t.type, linkage: t.linkage };
    case "func_proto":
      return {
        ...head,
        ret_type_id: t.type,
        vlen: t.params.length,
        params: t.params.map((p) => ({ name: p.name === "" ? "(anon)" : p.name, type_id: p.type })),
      };
    case "var":
      return { ...head, type_id: t.type, linkage: t.linkage };
    case "datasec":
      return {
        ...head,
        size: t.size,
        vlen: t.vars.length,
        vars: t.vars.map((v) => ({ type_id: v.type, offset: v.offset, size: v.size })),
      };
    case "float":
      return { ...head, size: t.size };
    case "decl_tag":
      return { ...head, type_id: t.type, component_idx: t.componentIdx };
    case "void":
      return head;
    default:
      return { ...head, type_id: t.type };
  }
}

test("every type of this kernel is what bpftool says it is", () => {
  const btf = vmlinux();
  requires({ package: "bpftool" });
  const json = execFileSync(which("bpftool")!, ["-j", "btf", "dump", "file", VMLINUX], {
    maxBuffer: 1 << 28,
  }).toString();
  const { types } = JSON.parse(json) as { types: Record<string, unknown>[] };
  assert.is(types.length, btf.typeCount - 1);
  let compared = 0;
  for (const theirs of types) {
    const ours = asBpftool(btf.decode(theirs["id"] as number));
    if (JSON.stringify(ours, sorted(ours)) !== JSON.stringify(theirs, sorted(theirs))) assert.equal(ours, theirs);
    compared++;
  }
  assert.is(compared, types.length);
});

/** All keys, sorted, so that JSON.stringify orders them alike. */
function sorted(t: Record<string, unknown>): string[] {
  const keys = new Set<string>();
  JSON.stringify(t, (key, value: unknown) => (keys.add(key), value));
  return [...keys].sort();
}

test("one type of this kernel by name, without an index and with it", () => {
  const btf = vmlinux();
  const searched = ["task_struct", "sk_buff", "pid_t", "no_such_type_anywhere", "vfs_read"].map((n) => btf.findId(n));
  const indexed = ["task_struct", "sk_buff", "pid_t", "no_such_type_anywhere", "vfs_read"].map(
    (n) => btf.findIds(n)[0] ?? 0,
  );
  assert.equal(searched, indexed);
  const task = btf.findByName("task_struct", "struct");
  assert.ok(task !== undefined && task.members.some((m) => m.name === "pid"));
});
