import { type Btf, findMember, type BtfStruct, resolve, sizeOf } from "../../src/btf/index.ts";
import { kernelBtf } from "../../src/load/kernel-btf.ts";
import {
  ATTR_LAYOUTS,
  type AttrCommand,
  LINK_VARIANTS,
  encodePerfAttr,
  layoutOf,
  realKernel,
} from "../../src/syscall/index.ts";
import { COMMANDS } from "../../src/uapi/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("syscall attr layouts");

/** Fields of ours that stand for differently named ones, or sit inside a union of the kernel's. */
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  id: ["start_id"],
  multi_flags: ["flags"],
  nf_flags: ["flags"],
};
/** Anonymous struct of `union bpf_attr` (by a field of it) or the name of its member, for each command. */
const HOME: Readonly<Record<AttrCommand, string>> = {
  MAP_CREATE: "map_type",
  MAP_LOOKUP_ELEM: "key",
  MAP_UPDATE_ELEM: "key",
  MAP_DELETE_ELEM: "key",
  MAP_LOOKUP_AND_DELETE_ELEM: "key",
  MAP_GET_NEXT_KEY: "key",
  MAP_FREEZE: "key",
  MAP_LOOKUP_BATCH: ".batch",
  MAP_LOOKUP_AND_DELETE_BATCH: ".batch",
  MAP_UPDATE_BATCH: ".batch",
  MAP_DELETE_BATCH: ".batch",
  PROG_LOAD: "prog_type",
  PROG_TEST_RUN: ".test",
  PROG_ATTACH: "attach_bpf_fd",
  PROG_DETACH: "attach_bpf_fd",
  PROG_BIND_MAP: ".prog_bind_map",
  OBJ_PIN: "pathname",
  OBJ_GET: "pathname",
  OBJ_GET_INFO_BY_FD: ".info",
  PROG_GET_NEXT_ID: "next_id",
  MAP_GET_NEXT_ID: "next_id",
  BTF_GET_NEXT_ID: "next_id",
  LINK_GET_NEXT_ID: "next_id",
  PROG_GET_FD_BY_ID: "next_id",
  MAP_GET_FD_BY_ID: "next_id",
  BTF_GET_FD_BY_ID: "next_id",
  LINK_GET_FD_BY_ID: "next_id",
  RAW_TRACEPOINT_OPEN: ".raw_tracepoint",
  BTF_LOAD: "btf",
  LINK_CREATE: ".link_create",
  LINK_UPDATE: ".link_update",
  LINK_DETACH: ".link_detach",
  ITER_CREATE: ".iter_create",
  ENABLE_STATS: ".enable_stats",
};

function structOf(btf: Btf, home: string): number {
  const attr = btf.findByName("bpf_attr", "union") as BtfStruct;
  for (const member of attr.members) {
    const type = resolve(btf, member.type);
    if (type.kind !== "struct") continue;
    if (
      home.startsWith(".")
        ? member.name === home.slice(1)
        : member.name === "" && findMember(btf, type.id, home) !== undefined
    )
      return type.id;
  }
  throw new Error(`union bpf_attr has no ${home}`);
}

test("the layouts are those of the table of commands", () => {
  let compared = 0;
  for (const command of Object.keys(ATTR_LAYOUTS) as AttrCommand[]) {
    const row = COMMANDS.find((r) => r.name === command || (command === "PROG_TEST_RUN" && r.id === 10));
    assert.ok(row !== undefined, command);
    for (const [name, field] of layoutOf(ATTR_LAYOUTS[command]).fields) {
      // BY_ID stands for four commands, of which only maps and programs know flags.
      if (name === "next_id" && command.endsWith("_FD_BY_ID")) continue;
      if (name === "open_flags" && !command.startsWith("MAP_")) continue;
      const found = row.attr.find((f) => f.offset === field.offset);
      assert.ok(
        found !== undefined &&
          found.size === (field.type === "name" ? 16 : field.type === "u64" || field.type === "ptr" ? 8 : 4),
        `${command}.${name} at ${field.offset}`,
      );
      assert.is(found.pointer === true, field.type === "ptr", `${command}.${name}`);
      compared++;
    }
  }
  assert.ok(compared > 100, `${compared} fields`);
});

test("every field of every command is where the running kernel's union bpf_attr has it", () => {
  requires({ root: true, kernel: "6.12" });
  const btf = kernelBtf(realKernel()).vmlinux;
  let compared = 0;
  for (const command of Object.keys(ATTR_LAYOUTS) as AttrCommand[]) {
    const struct = structOf(btf, HOME[command]);
    for (const [name, field] of layoutOf(ATTR_LAYOUTS[command]).fields) {
      const found = [name, ...(ALIASES[name] ?? [])]
        .map((n) => findMember(btf, struct, n))
        .find((m) => m !== undefined);
      assert.ok(found !== undefined, `${command}.${name} is not in the kernel`);
      assert.is(found.bitOffset / 8, field.offset, `${command}.${name}`);
      assert.is(
        sizeOf(btf, found.member.type),
        field.type === "u32" || field.type === "s32" ? 4 : field.type === "name" ? 16 : 8,
        `${command}.${name}`,
      );
      compared++;
    }
  }
  assert.ok(compared > 100, `${compared} fields`);
});

test("every kind of link has its fields where the kernel has them", () => {
  requires({ root: true, kernel: "6.12" });
  const btf = kernelBtf(realKernel()).vmlinux;
  const create = structOf(btf, ".link_create");
  for (const [variant, layout] of Object.entries(LINK_VARIANTS)) {
    for (const [name, field] of layoutOf(layout).fields) {
      if (layout.findIndex(([n]) => n === name) < 4) continue;
      const inner = findMember(btf, create, variant);
      const at =
        inner === undefined
          ? findMember(btf, create, name)
          : findMember(
              btf,
              inner.member.type,
              [name, ...(ALIASES[name] ?? [])].find((n) => findMember(btf, inner.member.type, n) !== undefined) ?? name,
            );
      assert.ok(at !== undefined, `${variant}.${name} is not in the kernel`);
      assert.is(at.bitOffset / 8 + (inner === undefined ? 0 : inner.bitOffset / 8), field.offset, `${variant}.${name}`);
    }
  }
});

test("perf_event_attr is encoded where the kernel reads it", () => {
  requires({ root: true, kernel: "5.8" });
  const kernel = realKernel();
  const btf = kernelBtf(kernel).vmlinux;
  const attr = btf.findByName("perf_event_attr", "struct");
  assert.ok(attr !== undefined);
  const path = Uint8Array.of(47, 0);
  const bytes = encodePerfAttr(kernel, {
    type: 8,
    config: 1n,
    freq: 99,
    sampleType: 1024,
    wakeupEvents: 3,
    disabled: true,
    inherit: true,
    excludeUser: true,
    config1: path,
    config2: 0x1234n,
  });
  const view = new DataView(bytes.buffer);
  const read = (name: string): bigint => {
    const m = findMember(btf, attr.id, name);
    assert.ok(m !== undefined, name);
    const bits = m.member.bitSize || sizeOf(btf, m.member.type) * 8;
    const word =
      bits <= 32 && m.bitOffset % 32 === 0 && bits === 32
        ? BigInt(view.getUint32(m.bitOffset / 8, true))
        : view.getBigUint64(Math.floor(m.bitOffset / 64) * 8, true) >> BigInt(m.bitOffset % 64);
    return word & ((1n << BigInt(bits)) - 1n);
  };
  assert.equal(
    [
      "type",
      "size",
      "config",
      "sample_freq",
      "sample_type",
      "disabled",
      "inherit",
      "exclude_user",
      "exclude_kernel",
      "freq",
      "wakeup_events",
      "probe_offset",
    ].map(read),
    [8n, 72n, 1n, 99n, 1024n, 1n, 1n, 1n, 0n, 1n, 3n, 0x1234n],
  );
  assert.is(read("uprobe_path"), BigInt(kernel.address(path)));
});
