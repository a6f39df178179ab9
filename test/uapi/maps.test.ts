/** Map rules against the running kernel: MAP_CREATE with every flag, every helper with every map type. */
import koffi from "koffi";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { BPF_CMD, BPF_F, BPF_MAP_TYPE, FLAGS, HELPERS, MAP_RULES, MAP_TYPES, mapRules } from "../../src/uapi/index.ts";
import type { MapRuleRow, MapSizeRule } from "../../src/uapi/index.ts";
import { bpf, close, tryLoad } from "./raw-bpf.ts";
import { insn, insns, load, targets } from "./targets.ts";

const test = suite("uapi maps");

/** BTF with one type, "int": what a storage map must name for its key and value. */
function loadBtf(): number {
  const bytes = new Uint8Array(45);
  const v = new DataView(bytes.buffer);
  v.setUint16(0, 0xeb9f, true);
  bytes[2] = 1;
  [24, 0, 16, 16, 5, 1, 1 << 24, 4, 32 | (1 << 24)].forEach((word, i) => v.setUint32(4 + i * 4, word, true));
  bytes.set(new TextEncoder().encode("\0int\0"), 40);
  const attr = new Uint8Array(32);
  const a = new DataView(attr.buffer);
  a.setBigUint64(0, BigInt(koffi.address(bytes)), true);
  a.setUint32(16, bytes.length, true);
  return bpf(BPF_CMD.BTF_LOAD, attr);
}

const SIZE: Record<string, number> = {
  any: 4,
  "4 or 8": 4,
  "8 or 16": 16,
  "5 to 260": 8,
  "multiple of 8": 8,
  "power-of-two pages": 4096,
};
const pick = (rule: MapSizeRule): number => (typeof rule === "number" ? rule : (SIZE[rule] ?? 0));
const required = (row: MapRuleRow): number => (row.required ?? []).reduce((flags, name) => flags | BPF_F[name], 0);

interface Fds {
  readonly btf: number;
  readonly inner: number;
}

/** A map by the rules, with what `change` says instead. */
function create(
  row: MapRuleRow,
  fds: Fds,
  change: { key?: number; value?: number; entries?: number; flags?: number } = {},
): number {
  const attr = new Uint8Array(80);
  const a = new DataView(attr.buffer);
  const inMap = row.mapType.endsWith("OF_MAPS");
  [
    BPF_MAP_TYPE[row.mapType],
    change.key ?? pick(row.keySize),
    change.value ?? pick(row.valueSize),
    change.entries ?? (row.maxEntries === "any" ? 1 : pick(row.maxEntries)),
    change.flags ?? required(row),
    inMap ? fds.inner : 0,
  ].forEach((word, i) => a.setUint32(i * 4, word, true));
  if (row.mapType.endsWith("_STORAGE") && row.keySize === 4) {
    a.setUint32(48, fds.btf, true);
    a.setUint32(52, 1, true);
    a.setUint32(56, 1, true);
  }
  return bpf(BPF_CMD.MAP_CREATE, attr);
}

function withFds(body: (fds: Fds) => void): void {
  const array = mapRules("ARRAY");
  assert.ok(array !== undefined);
  const btf = loadBtf();
  const inner = create(array, { btf, inner: 0 });
  assert.ok(btf >= 0 && inner >= 0, `BTF ${btf}, inner map ${inner}`);
  try {
    body({ btf, inner });
  } finally {
    close(btf);
    close(inner);
  }
}

test("every map type up to 6.18 but STRUCT_OPS has rules", () => {
  for (const row of MAP_TYPES) {
    const without = ["UNSPEC", "STRUCT_OPS", "INSN_ARRAY"].includes(row.name);
    assert.is(mapRules(row.name) === undefined, without, row.name);
  }
  for (const row of MAP_RULES) {
    for (const name of row.required ?? []) assert.ok(row.flags.includes(name), `${row.mapType} ${name}`);
  }
});

test("maps by the rules can be created; sizes outside the rules cannot", () => {
  requires({ root: true, kernel: "6.18" });
  withFds((fds) => {
    for (const row of MAP_RULES) {
      const can = (change: Parameters<typeof create>[2]): boolean => {
        const fd = create(row, fds, change);
        if (fd >= 0) close(fd);
        return fd >= 0;
      };
      assert.ok(can({}), row.mapType);
      if (row.keySize !== "any") assert.not.ok(can({ key: row.keySize === 0 ? 4 : 3 }), `${row.mapType}: key`);
      if (row.valueSize !== "any") assert.not.ok(can({ value: row.valueSize === 0 ? 4 : 3 }), `${row.mapType}: value`);
      if (row.maxEntries === "any") assert.not.ok(can({ entries: 0 }), `${row.mapType}: 0 entries`);
      else assert.not.ok(can({ entries: 4097 }), `${row.mapType}: entries`);
      if (row.required !== undefined) assert.not.ok(can({ flags: 0 }), `${row.mapType}: flags`);
    }
  });
});

test("each map type takes exactly the flags of its row", () => {
  requires({ root: true, kernel: "6.18" });
  // These need another field of the attr, or are flags of other commands with the same numbering.
  const elsewhere = new Set(["LINK", "PATH_FD", "VTYPE_BTF_OBJ_FD", "TOKEN_FD"]);
  const wrong: string[] = [];
  withFds((fds) => {
    for (const row of MAP_RULES) {
      for (const flag of FLAGS.filter((f) => f.group === "map create")) {
        const name = flag.name.slice("BPF_F_".length) as keyof typeof BPF_F;
        if (elsewhere.has(name)) continue;
        const fd = create(row, fds, { flags: required(row) | flag.value });
        if (fd >= 0) close(fd);
        if (fd >= 0 !== row.flags.includes(name)) wrong.push(`${row.mapType} ${name}: kernel says ${fd}`);
      }
    }
  });
  assert.equal(wrong, []);
});

test("a helper takes a map exactly when the rules say so, wherever the verifier gives a verdict", () => {
  requires({ root: true, kernel: "6.18" });
  const programs = targets();
  const helpers = HELPERS.filter((h) => h.args.some((a) => a.type === "ARG_CONST_MAP_PTR"));
  const wrong: string[] = [];
  let taken = 0;
  let refused = 0;
  withFds((fds) => {
    for (const row of MAP_RULES) {
      const map = create(row, fds);
      for (const helper of helpers) {
        const t = programs.find((p) => helper.progs.includes(p.progType) && p.progType !== "SYSCALL");
        if (t === undefined) continue;
        const code = [insn(0xbf, 6, 1, 0, 0), insn(0x7a, 10, 0, -8, 0), insn(0x7a, 10, 0, -16, 0)];
        helper.args.forEach((arg, i) => {
          const r = i + 1;
          if (arg.type === "ARG_PTR_TO_CTX") code.push(insn(0xbf, r, 6, 0, 0));
          else if (arg.type === "ARG_CONST_MAP_PTR") code.push(insn(0x18, r, 1, 0, map), insn(0, 0, 0, 0, 0));
          else if (/MEM|MAP_KEY|MAP_VALUE/.test(arg.type)) code.push(insn(0xbf, r, 10, 0, 0), insn(0x07, r, 0, 0, -16));
          else code.push(insn(0xb7, r, 0, 0, /SIZE/.test(arg.type) ? 4 : 0));
        });
        code.push(insn(0x85, 0, 0, 0, helper.id), insn(0xb7, 0, 0, 0, 0), insn(0x95, 0, 0, 0, 0));
        const { result, log } = tryLoad({ ...load(t), insns: insns(...code) });
        const listed = row.helpers.includes(helper.name);
        if (/cannot pass map_type/.test(log)) {
          refused++;
          if (listed) wrong.push(`${row.mapType} ${helper.name}: refused by ${t.progType}`);
        } else if (result === 0) {
          taken++;
          if (!listed) wrong.push(`${row.mapType} ${helper.name}: taken by ${t.progType}`);
        }
      }
      close(map);
    }
  });
  assert.equal(wrong, []);
  assert.ok(taken > 50 && refused > 400, `${taken} taken, ${refused} refused`);
});
