import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { callHelper, exit, ldImm64, mov64Imm, mov64Reg, stxMem } from "../../src/asm/index.ts";
import { Kallsyms, Symbolizer, attachPerfEvent, kallsyms, load } from "../../src/load/index.ts";
import { realKernel } from "../../src/syscall/index.ts";
import { BPF_MAP_TYPE, BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { bss, collectionSpec, mapSpec, progSpec, u64 } from "./specs.ts";

const test = suite("load symbolize");

const TEXT = `ffffffff81000000 T _text
ffffffff81000100 t alpha
ffffffff81000200 T beta
ffffffff81000200 D data_symbol
ffffffffc0000000 t gamma\t[module_x]
`;

test("kallsyms: functions by address, any symbol by its exact name", () => {
  const k = new Kallsyms(new TextEncoder().encode(TEXT));
  assert.is(k.count, 4);
  assert.equal(k.lookup(0xffffffff81000105n), { name: "alpha", address: 0xffffffff81000100n, module: "", offset: 5 });
  assert.equal(k.lookup(0xffffffffc0000010n), {
    name: "gamma",
    address: 0xffffffffc0000000n,
    module: "module_x",
    offset: 16,
  });
  assert.is(k.lookup(0x1000n), undefined);
  assert.is(k.lookup(0xffffffffffff0000n), undefined);
  assert.is(k.addressOf("data_symbol"), 0xffffffff81000200n);
  assert.is(k.addressOf("gamma"), 0xffffffffc0000000n);
  assert.is(k.addressOf("alph"), undefined);
  assert.is(k.addressOf("ta"), undefined);
});

test("kallsyms: unsorted, hidden and damaged tables", () => {
  const lines = TEXT.trim().split("\n").toReversed().join("\n");
  assert.is(new Kallsyms(new TextEncoder().encode(lines)).lookup(0xffffffff81000105n)?.name, "alpha");
  const hidden = new Kallsyms(new TextEncoder().encode("0000000000000000 T _text\n0000000000000000 t alpha\n"));
  assert.is(hidden.hidden, true);
  assert.is(hidden.lookup(0x10n), undefined);
  assert.is(new Kallsyms(new TextEncoder().encode("nonsense\n\nzz T\n")).count, 0);
});

test("every function of this kernel is found at its own address", () => {
  requires({ root: true });
  const functions = (): string[] =>
    readFileSync("/proc/kallsyms", "utf8")
      .split("\n")
      .filter((l) => /^\S+ [tTwW] /.test(l));
  // BPF programs of other processes come and go as symbols: compare when none did in between.
  let lines: string[];
  let table;
  let after: string[];
  do {
    lines = functions();
    table = kallsyms(realKernel(), { refresh: true });
    after = functions();
  } while (lines.length !== after.length || lines.at(-1) !== after.at(-1));
  assert.is(table.count, lines.length);
  for (let i = 0; i < lines.length; i += 4999) {
    const [address = "", , name = ""] = (lines[i] as string).split(/[ \t]/);
    const found = table.lookup(BigInt(`0x${address}`));
    const same = lines.filter((l) => l.startsWith(address)).map((l) => l.split(/[ \t]/)[2]);
    assert.ok(same.includes(found?.name ?? ""), `${name} at ${address}: ${found?.name}`);
  }
});

test("stacks of a profile have kernel and user names", () => {
  requires({ root: true });
  // hits = bpf_get_stackid(ctx, stacks, BPF_F_USER_STACK)
  const insns = [
    mov64Reg(6, 1),
    ...ldImm64(2, 0n),
    mov64Imm(3, 256),
    callHelper(27),
    ...ldImm64(1, 0n),
    stxMem("dw", 1, 0, 0),
    mov64Imm(0, 0),
    exit(),
  ];
  const spec = collectionSpec(
    [bss(), mapSpec("stacks", BPF_MAP_TYPE.STACK_TRACE, 4, 8 * 32, 1024)],
    [
      progSpec("probe", "perf_event", BPF_PROG_TYPE.PERF_EVENT, insns, {
        refs: [
          { kind: "map", insn: 1, map: "stacks" },
          { kind: "map-value", insn: 5, map: ".bss", offset: 0 },
        ],
      }),
    ],
  );
  const c = load(spec, { globals: new Map([["hits", u64]]) });
  const link = attachPerfEvent(c.prog("probe"), { event: "page-faults", period: 1, pid: process.pid });
  const buffers: Uint8Array[] = [];
  for (let i = 0; i < 50; i++) buffers.push(new Uint8Array(1 << 20).fill(1));
  link.close();
  const id = Number(BigInt.asIntN(32, c.variable<bigint>("hits").value));
  assert.ok(id >= 0, `stack id ${id}`);
  const frames = new Symbolizer().userStack(process.pid, c.stackTraces("stacks").get(id) ?? []);
  assert.ok(frames.length > 0);
  assert.ok(
    frames.some((f) => f.name !== undefined && f.module.length > 0),
    JSON.stringify(frames.map((f) => [f.name, f.module])),
  );
  c.close();
  void buffers;
});

test("a user address is named as readelf names it", () => {
  requires({ root: true, package: "binutils" });
  const maps = readFileSync("/proc/self/maps", "utf8");
  const [, start, offset, path] = /^([0-9a-f]+)-\S+ r-xp ([0-9a-f]+) \S+ \d+ +(\S*libc\.so\.6)$/m.exec(maps) ?? [];
  assert.ok(start !== undefined && offset !== undefined && path !== undefined);
  const symbols = execFileSync("readelf", ["-W", "--dyn-syms", path], { encoding: "utf8" });
  const [, value] = /([0-9a-f]{16}) +\d+ FUNC +GLOBAL +DEFAULT +\d+ qsort@@/.exec(symbols) ?? [];
  assert.ok(value !== undefined);
  // In libc virtual addresses and file offsets of the text are equal or differ by whole pages: ask the segments.
  const headers = execFileSync("readelf", ["-W", "-l", path], { encoding: "utf8" });
  const [, fileAt, virtualAt] = /LOAD +0x([0-9a-f]+) 0x([0-9a-f]+) \S+ \S+ \S+ R E/.exec(headers) ?? [];
  const inFile = BigInt(`0x${value}`) - BigInt(`0x${virtualAt ?? "0"}`) + BigInt(`0x${fileAt ?? "0"}`);
  const address = BigInt(`0x${start}`) + inFile - BigInt(`0x${offset}`);
  const frame = new Symbolizer().userSymbol(process.pid, address + 3n);
  assert.is(frame.name, "qsort");
  assert.is(frame.offset, 3);
  assert.is(frame.module, path);
});
