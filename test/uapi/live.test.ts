/** The tables against the running kernel, by real PROG_LOADs. */
import { release } from "node:os";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import {
  CTX_ACCESS,
  HELPERS,
  KFUNCS,
  RETURN_RANGES,
  ctxLayout,
  helperAllowed,
  helperProto,
  helperSince,
  kernelAtLeast,
} from "../../src/uapi/index.ts";
import { callHelper, insn, insns, label, load, returns, targets, vmlinux } from "./targets.ts";
import type { CtxFieldRow } from "../../src/uapi/index.ts";
import type { Target } from "./targets.ts";
import { tryLoad } from "./raw-bpf.ts";

const test = suite("uapi live");

let known: Target[] | undefined;
const all = (): Target[] => (known ??= targets());
const refused = (log: string): boolean =>
  /cannot use helper|unknown func|invalid func|not supported for program type|supported only for/.test(log);
/** A kernel newer than the tables may allow more. */
const newer = !kernelAtLeast("6.18", /^\d+\.\d+/.exec(release())?.[0] ?? "");

/** Helpers that depend on more than version and type: kernel options and lockdown. */
const CONDITIONAL = new Set([
  "override_return",
  "probe_write_user",
  "ima_inode_hash",
  "ima_file_hash",
  "skb_get_xfrm_state",
  "sk_assign",
  "tcp_send_ack",
]);

test("helpers: each program and attach type may call exactly what the table says", () => {
  requires({ root: true, kernel: "6.1" });
  const wrong: string[] = [];
  let allowed = 0;
  for (const t of all()) {
    for (const row of HELPERS) {
      if (CONDITIONAL.has(row.name)) continue;
      const { log } = tryLoad({ ...load(t), insns: callHelper(row.id) });
      assert.ok(log !== "", `${label(t)} ${row.name}: no log`);
      const here = !refused(log);
      if (here) allowed++;
      const expected =
        helperAllowed(row, t.progType, t.attachType) &&
        kernelAtLeast(release(), helperSince(row, t.progType, t.attachType));
      if (here !== expected && !(newer && here))
        wrong.push(`${label(t)} ${row.name}: kernel ${here ? "allows" : "refuses"}`);
    }
  }
  assert.equal(wrong, []);
  assert.ok(allowed > 2500, `${allowed} pairs`);
});

test("helpers: those marked GPL need a GPL-compatible licence, the others do not", () => {
  requires({ root: true, kernel: "6.1" });
  const wrong: string[] = [];
  for (const t of all()) {
    for (const row of HELPERS) {
      if (!helperAllowed(row, t.progType, t.attachType)) continue;
      const { log } = tryLoad({ ...load(t), insns: callHelper(row.id), license: "Proprietary" });
      if (refused(log) || /must have a GPL compatible license/.test(log)) continue;
      const gpl = /cannot call GPL-restricted function/.test(log);
      if (gpl !== helperProto(row, t.progType, t.attachType).gpl) wrong.push(`${label(t)} ${row.name}: ${gpl}`);
    }
  }
  assert.equal(wrong, []);
});

test("kfuncs: each program type may call exactly what the table says", () => {
  requires({ root: true, kernel: "6.18" });
  const btf = vmlinux();
  const wrong: string[] = [];
  for (const t of all()) {
    if (
      t.progType === "KPROBE" ||
      t.progType === "SYSCALL" ||
      (t.attachType !== undefined && t.progType === "XDP" && t.attachType !== "XDP")
    )
      continue;
    for (const row of KFUNCS) {
      if (row.measured === false) continue;
      const id = btf.findByName(row.name, "func")?.id;
      if (id === undefined) continue;
      const { log } = tryLoad({ ...load(t), insns: insns(insn(0x85, 0, 2, 0, id), insn(0x95, 0, 0, 0, 0)) });
      const here = !/calling kernel function .* is not allowed/.test(log);
      const expected =
        row.progs.includes(t.progType) &&
        (row.attachTypes === undefined || (t.attachType !== undefined && row.attachTypes.includes(t.attachType)));
      if (here !== expected && !(newer && here))
        wrong.push(`${label(t)} ${row.name}: kernel ${here ? "allows" : "refuses"}`);
    }
  }
  assert.equal(wrong, []);
});

test("contexts: every field is readable and writable exactly where the table says", () => {
  requires({ root: true, kernel: "6.18" });
  const LOAD: Record<number, number> = { 1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79 };
  const STORE: Record<number, number> = { 1: 0x73, 2: 0x6b, 4: 0x63, 8: 0x7b };
  const wrong: string[] = [];
  let asked = 0;
  for (const row of CTX_ACCESS) {
    const layout = ctxLayout(row.struct);
    assert.ok(layout !== undefined, row.struct);
    for (const t of all()) {
      if (
        t.progType !== row.progType ||
        (row.attachTypes !== undefined && (t.attachType === undefined || !row.attachTypes.includes(t.attachType)))
      )
        continue;
      const fields: readonly CtxFieldRow[] = layout.fields;
      for (const field of fields) {
        const count: number = Number(/\[(\d+)\]$/.exec(field.type)?.[1] ?? 1);
        const size: number = field.size / count;
        if (LOAD[size] === undefined) continue;
        asked++;
        const end = returns(1);
        const can = (...body: Uint8Array[]): boolean =>
          tryLoad({ ...load(t), insns: insns(...body, end) }).result === 0;
        const facts: [string, boolean, boolean][] = [
          ["read", can(insn(LOAD[size] ?? 0, 0, 1, field.offset, 0)), row.read.includes(field.name)],
          [
            "write",
            can(insn(0xb7, 2, 0, 0, 0), insn(STORE[size] ?? 0, 1, 2, field.offset, 0)),
            row.write.includes(field.name),
          ],
        ];
        if (size > 1)
          facts.push([
            "narrow",
            can(insn(LOAD[size / 2] ?? 0, 0, 1, field.offset, 0)),
            row.narrow.includes(field.name),
          ]);
        for (const [what, kernel, table] of facts) {
          if (kernel !== table) wrong.push(`${label(t)} ${row.struct}.${field.name} ${what}: kernel says ${kernel}`);
        }
      }
    }
  }
  assert.equal(wrong, []);
  assert.ok(asked > 500, `${asked} fields`);
});

test("contexts: a load gives a register of the type in the table", () => {
  requires({ root: true, kernel: "6.18" });
  const TEXT: Record<string, RegExp> = {
    PTR_TO_PACKET: /R0(_w)?=pkt\(/,
    PTR_TO_PACKET_END: /R0(_w)?=pkt_end\(/,
    PTR_TO_PACKET_META: /R0(_w)?=pkt_meta\(/,
    PTR_TO_FLOW_KEYS: /R0(_w)?=flow_keys\(/,
    PTR_TO_SOCKET: /R0(_w)?=sock\(/,
    PTR_TO_SOCKET_OR_NULL: /R0(_w)?=sock_or_null\(/,
    PTR_TO_SOCK_COMMON_OR_NULL: /R0(_w)?=sock_common_or_null\(/,
    PTR_TO_BTF_ID: /R0(_w)?=trusted_ptr_/,
  };
  let seen = 0;
  for (const row of CTX_ACCESS) {
    const t = all().find(
      (x) =>
        x.progType === row.progType &&
        (row.attachTypes === undefined || (x.attachType !== undefined && row.attachTypes.includes(x.attachType))),
    );
    if (t === undefined) continue;
    const fields: readonly CtxFieldRow[] = ctxLayout(row.struct)?.fields ?? [];
    for (const field of fields) {
      if (field.reg === undefined || !row.read.includes(field.name)) continue;
      const code = insns(insn(field.size === 8 ? 0x79 : 0x61, 0, 1, field.offset, 0), returns(1));
      const { log } = tryLoad({ ...load(t), insns: code, logLevel: 2 });
      const text: RegExp = TEXT[field.reg] ?? /never/;
      assert.match(log, text, `${label(t)} ${row.struct}.${field.name}`);
      seen++;
    }
  }
  assert.ok(seen > 40, `${seen}`);
});

test("return values: the verifier insists on the ranges in the table and on no others", () => {
  requires({ root: true, kernel: "6.18" });
  const wrong: string[] = [];
  for (const t of all()) {
    if (t.progType === "LSM") continue;
    const { log } = tryLoad({ ...load(t), insns: callHelper(5) });
    const m = /should have been in \[(-?\d+), (-?\d+)\]/.exec(log);
    const kernel = m === null ? "any" : `${m[1]}..${m[2]}`;
    const row = RETURN_RANGES.find(
      (r) =>
        r.progType === t.progType &&
        (r.attachTypes === undefined || (t.attachType !== undefined && r.attachTypes.includes(t.attachType))),
    );
    const table = row === undefined ? "any" : `${row.min}..${row.max}`;
    if (kernel !== table) wrong.push(`${label(t)}: kernel ${kernel}, table ${table}`);
  }
  assert.equal(wrong, []);
});
