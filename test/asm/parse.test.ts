import fc from "fast-check";
import { assert, suite } from "../harness.ts";
import {
  Assembler,
  add64Imm,
  alu64Imm,
  atomic,
  callHelper,
  callKfunc,
  callSubprog,
  disassemble,
  exit,
  ja,
  jmp32Imm,
  jmpImm,
  ldImm64,
  ldMapFd,
  ldMapValue,
  ldxMem,
  ldxMemsx,
  mov32Imm,
  mov64Imm,
  mov64Reg,
  parseAsm,
  parseProgram,
  printInsn,
  stMem,
  stxMem,
  gotol,
  jmpReg,
  ldFunc,
} from "../../src/asm/index.ts";
import type { Insn } from "../../src/asm/index.ts";
import { ArgumentError, BpfkitError, DiagnosticError } from "../../src/core/errors.ts";
import type { Diagnostic } from "../../src/core/diagnostic.ts";
import { legalInsns } from "./arbitraries.ts";

const test = suite("asm text");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 3000);

function errors(text: string): readonly Diagnostic[] {
  try {
    parseAsm(text, { file: "t.s" });
  } catch (error) {
    assert.instance(error, DiagnosticError, String((error as Error).stack));
    return (error as DiagnosticError).diagnostics;
  }
  throw new Error(`parsed: ${text}`);
}
/** "line:col-endCol code message", of the first error. */
function firstError(text: string): string {
  const [d] = errors(text);
  const { line, col, endCol, file } = d!.labels[0]!.span;
  assert.is(file, "t.s");
  return `${line}:${col}-${endCol} ${d!.code} ${d!.message}`;
}

test("a program with labels, comments, maps and calls", () => {
  const program = parseProgram(`
    # counts packets
    start:  r6 = r1              ; ctx
            r1 = map[counts] ll
            *(u32 *)(r10 -4) = 0
            r2 = r10             // stack
            r2 += -4
            call bpf_map_lookup_elem
            if r0 == 0 goto out
            r1 = 1
            lock *(u64 *)(r0 +0) += r1
            r3 = map[.data][0]+8
            call sub
            call bpf_rcu_read_lock
            if w0 s> -5 goto start
    out:    r0 = 2
            exit
    sub:    r1 = subprog[sub]
            exit
  `);
  assert.equal(program.insns, [
    mov64Reg(6, 1),
    ...ldMapFd(1, 0),
    stMem("w", 10, -4, 0),
    mov64Reg(2, 10),
    add64Imm(2, -4),
    callHelper(1),
    jmpImm("jeq", 0, 0, 7),
    mov64Imm(1, 1),
    atomic("add", "dw", 0, 1, 0),
    ...ldMapValue(3, 0, 8),
    callSubprog(4),
    callKfunc(0),
    jmp32Imm("jsgt", 0, -5, -15),
    mov64Imm(0, 2),
    exit(),
    ...ldFunc(1, -1),
    exit(),
  ]);
  assert.equal(program.refs, [
    { kind: "map", insn: 1, map: "counts" },
    { kind: "map-value", insn: 10, map: ".data", offset: 8 },
    { kind: "subprog", insn: 12, target: 17 },
    { kind: "kfunc", insn: 13, name: "bpf_rcu_read_lock" },
    { kind: "func", insn: 17, target: 17 },
  ]);
  assert.equal(
    [...program.labels],
    [
      ["start", 0],
      ["out", 15],
      ["sub", 17],
    ],
  );
  assert.equal(program.spans[1], { file: "<asm>", line: 4, col: 13, endLine: 4, endCol: 32 });
});

test("names resolve, or are errors at the name", () => {
  const known: Record<string, number> = { "map counts": 7, "kfunc bpf_foo": 99 };
  const resolve = (kind: string, name: string): number | undefined => known[`${kind} ${name}`];
  assert.equal(parseAsm("r1 = map[counts]\ncall bpf_foo", { resolve }), [...ldMapFd(1, 7), callKfunc(99)]);
  assert.is(firstError("exit\n  r1 = map[counts]"), "2:3-19 ASM005 unknown map `counts`: nothing says which it is");
  assert.is(firstError("call nosuch"), "1:1-12 ASM005 unknown function `nosuch`: no label or helper has this name");
});

test("what the kernel, bpftool and clang print is understood", () => {
  const rows: [string, Insn[]][] = [
    ["   0: (b7) r0 = 1", [mov64Imm(0, 1)]],
    ["12: (79) r1 = *(u64 *)(r6 +8)          ; R1_w=scalar() R6=ctx()", [ldxMem("dw", 1, 6, 8)]],
    ["; if (x > 3) // source line", []],
    ["int prog(struct xdp_md * ctx):", []],
    ["call pc+5#bpf_prog_6deef7357e7b4530_F", [callSubprog(5)]],
    ["call pc-5#0xffffffffc0012345", [callSubprog(-5)]],
    ["call bpf_get_prandom_u32#7", [callHelper(7)]],
    ["call unknown#1234", [callHelper(1234)]],
    ["call bpf_task_acquire#4321", [callKfunc(4321)]],
    ["call kernel-function#4321 fd_idx:2", [callKfunc(4321, 2)]],
    ["call get_prandom_u32", [callHelper(7)]],
    ["call 7", [callHelper(7)]],
    ["r1 = 0x10", ldImm64(1, 16)],
    ["r1 = 16 ll", ldImm64(1, 16)],
    ["r1 = 0xffffffffffffffff", ldImm64(1, -1n)],
    ["r1 = -1", [mov64Imm(1, -1)]],
    ["w1 = 0xffffffff", [mov32Imm(1, -1)]],
    ["if r1 == 0xffffffff goto pc-1", [jmpImm("jeq", 1, -1, -1)]],
    ["if r1 s> 5 goto +0x3", [jmpImm("jsgt", 1, 5, 3)]],
    ["w2 = *(u8 *)(r1 + 0x4)", [ldxMem("b", 2, 1, 4)]],
    ["r2 = *(s32 *)(r1)", [ldxMemsx("w", 2, 1, 0)]],
    ["*(u32 *)(r10 - 0x8) = w3", [stxMem("w", 10, 3, -8)]],
    ["w3 = atomic_fetch_add((u32 *)(r1 + 0x0), w3)", [atomic("add", "w", 1, 3, 0, true)]],
    ["r1 &= 0x7f", [alu64Imm("and", 1, 0x7f)]],
    ["goto 	 pc+0\r", [ja(0)]],
    [".insn 0xff, 1, 2, -3, 0xffffffff", [{ opcode: 255, dst: 1, src: 2, off: -3, imm: -1 }]],
  ];
  for (const [text, expected] of rows) assert.equal(parseAsm(text), expected, text);
});

test("errors have line, columns, what was expected and what came", () => {
  assert.is(
    firstError("r0 = 1\n  r11 = 0"),
    "2:3-6 ASM001 expected a register (r0-r10 for 64 bits, w0-w10 for the low 32), got `r11`",
  );
  assert.is(firstError("r0 += "), "1:7-7 ASM001 expected a number, got the end of the line");
  assert.is(
    firstError("foo bar"),
    "1:1-4 ASM001 expected an instruction (such as `r0 = 1`, `if r1 == 0 goto out`, `call`, `exit`), got `foo`",
  );
  assert.is(firstError("r0 = 1 2"), "1:8-9 ASM001 expected the end of the line, got `2`");
  assert.is(
    firstError("r1 = *(u64 *)(r2 +40000)"),
    "1:18-24 ASM002 expected a 16-bit signed number (-32768 to 32767), got 40000",
  );
  assert.is(
    firstError("r1 = *(u64 *)(r2 -40000)"),
    "1:18-24 ASM002 expected a 16-bit signed number (-32768 to 32767), got -40000",
  );
  assert.is(
    firstError("r1 &= 0xffffffff"),
    "1:7-17 ASM002 expected a 32-bit signed number (-2147483648 to 2147483647), got 4294967295",
  );
  assert.match(errors("r1 &= 0xffffffff")[0]!.help!, /sign-extended/);
  assert.is(firstError("goto nowhere"), "1:6-13 ASM003 unknown label `nowhere`");
  assert.is(firstError("a: exit\na: exit"), "2:1-2 ASM004 label `a` is defined twice");
  assert.is(firstError("r1 = w2"), "1:6-8 ASM007 the source must be as wide as the first register: expected `r2`");
  assert.is(firstError("r1 = be16 r2"), "1:11-13 ASM007 this instruction works in place: expected `r1`");
  assert.is(
    firstError("r1 = atomic64_fetch_add((u64 *)(r2 +0), r3)"),
    "1:41-43 ASM007 the old value goes to the operand's register: expected r1, got r3",
  );
  assert.is(firstError("r1 = map[counts"), "1:9-10 ASM001 expected a `]` to this `[`");
  assert.is(firstError("pc: exit"), "1:1-3 ASM001 `pc` cannot be a label");
  assert.is(
    firstError("r1 = 99999999999999999999999"),
    "1:6-29 ASM002 expected a number (decimal or 0x hex, at most 64 bits), got `99999999999999999999999`",
  );
  assert.is(
    firstError("\u{1F600}"),
    "1:1-3 ASM001 expected an instruction (such as `r0 = 1`, `if r1 == 0 goto out`, `call`, `exit`), got `\u{1F600}`",
  );
});

test("a misspelt helper and another assembler's syntax get a hint", () => {
  assert.is(errors("call bpf_map_lookup_elm")[0]!.help, "did you mean `bpf_map_lookup_elem`?");
  assert.match(errors("mov r1, 5")[0]!.help!, /the kernel's syntax: `r1 = 5`/);
});

test("every error of a text is reported, up to 20", () => {
  assert.is(errors("bad\nexit\nworse\ngoto x").length, 3);
  assert.is(errors("bad\n".repeat(100)).length, 20);
});

test("a jump beyond 16 bits is an error that says gotol; gotol reaches", () => {
  const filler = "r0 = 0\n".repeat(40000);
  assert.match(firstError(`goto end\n${filler}end: exit`), /1:6-9 ASM006 `end` is 40000 slots away/);
  assert.equal(parseAsm(`gotol end\n${filler}end: exit`)[0], gotol(40000));
});

test("disassemble: source lines, labels, names, comments", () => {
  const insns = [...ldMapFd(1, 0), jmpImm("jeq", 0, 0, 2), callSubprog(2), callKfunc(5), mov64Imm(0, 0), exit()];
  const text = disassemble(insns, {
    labels: true,
    symbol: (slot) => ["counts"][slot],
    kfuncName: () => "bpf_foo",
    labelName: (slot) => (slot === 6 ? "tail" : undefined),
    before: (slot) => (slot === 2 ? ["; if (x)"] : undefined),
    comment: (slot) => (slot === 5 ? "result" : undefined),
  });
  assert.is(
    text,
    `   0: (18) r1 = map[counts]
; if (x)
   2: (15) if r0 == 0x0 goto L5
   3: (85) call tail
   4: (85) call bpf_foo#5
L5:
   5: (b7) r0 = 0 ; result
tail:
   6: (95) exit
`,
  );
  assert.equal(parseProgram(text).insns, insns);
});

test("disassemble of a loaded program: distances of calls come from off", () => {
  const call: Insn = { opcode: 0x85, dst: 0, src: 1, off: 1, imm: 1 };
  const insns = [call, exit(), exit()];
  assert.is(disassemble(insns, { xlated: true, slots: false, symbol: () => "f" }), "call pc+1#f\nexit\nexit\n");
  assert.is(disassemble(insns, { xlated: true, slots: false, labels: true }), "    call L2\n    exit\nL2:\n    exit\n");
});

test("random and mutated text gives instructions or diagnostics, in time", () => {
  const mutation = fc.tuple(
    fc.nat(),
    fc.oneof(
      fc.constant(""),
      fc.string({ maxLength: 3, unit: "binary" }),
      fc.constantFrom(
        "(",
        ")",
        "[",
        "]",
        "*",
        "s>",
        "0x",
        "r",
        "#",
        ":",
        ";",
        "-",
        "+",
        "\n",
        "pc",
        "map[",
        "999999999999",
      ),
    ),
  );
  const mutated = fc
    .tuple(legalInsns({ minLength: 1, maxLength: 4 }), fc.array(mutation, { minLength: 1, maxLength: 4 }))
    .map(([insns, edits]) => {
      let text = disassemble(insns, { slots: false });
      for (const [at, put] of edits) {
        const i = at % (text.length + 1);
        text = text.slice(0, i) + put + text.slice(i + (at % 3));
      }
      return text;
    });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.string({ unit: "binary", maxLength: 60 })), (text) => {
      const started = performance.now();
      try {
        const insns = parseProgram(text).insns;
        assert.equal(parseAsm(disassemble(insns)), insns);
      } catch (error) {
        assert.instance(error, BpfkitError, `${JSON.stringify(text)} ${String((error as Error).stack)}`);
        for (const { labels } of (error as BpfkitError).diagnostics) {
          const { line, col, endCol } = labels[0]!.span;
          const source = text.split("\n")[line - 1]!;
          assert.ok(
            col >= 1 && endCol >= col && endCol <= source.length + 1,
            `${JSON.stringify(text)} ${line}:${col}-${endCol}`,
          );
        }
      }
      assert.ok(performance.now() - started < 1000);
    }),
    { numRuns: RUNS },
  );
});

test("long lines and long texts take linear time", () => {
  const started = performance.now();
  for (const unit of ["(", "r1 ", "a:", "#", "9", "map[", " ", "- ", "((((s8)", "a", "s>", "]"]) {
    try {
      parseAsm(unit.repeat(200_000));
    } catch (error) {
      assert.instance(error, DiagnosticError, unit);
      assert.ok((error as Error).message.length < 500, unit);
    }
  }
  assert.is(parseAsm("r0 = 0\n".repeat(100_000)).length, 100_000);
  assert.ok(performance.now() - started < 20_000, `${performance.now() - started} ms`);
});

// Assembler

test("Assembler: labels, calls, maps; slots of items", () => {
  const asm = new Assembler();
  asm
    .loadMap(1, "counts")
    .label("loop")
    .emit(add64Imm(0, -1))
    .jmpImm("jne", 0, 0, "loop")
    .mayGoto("end")
    .call("f")
    .callKfunc("bpf_foo");
  asm.loadFunc(2, "f").goto("end").label("f").emit(mov64Imm(0, 0), exit()).label("end").emit(exit());
  const { insns, refs, labels, slots } = asm.finish();
  assert.is(
    disassemble(insns, { slots: false }),
    [
      "r1 = map[id:0]",
      "r0 += -1",
      "if r0 != 0x0 goto pc-2",
      "may_goto pc+7",
      "call pc+4",
      "call kernel-function#0",
      "r2 = subprog[+2]",
      "goto pc+2",
      "r0 = 0",
      "exit",
      "exit",
      "",
    ].join("\n"),
  );
  assert.equal(refs, [
    { kind: "map", map: "counts", insn: 0 },
    { kind: "subprog", insn: 5, target: 10 },
    { kind: "kfunc", name: "bpf_foo", insn: 6 },
    { kind: "func", insn: 7, target: 10 },
  ]);
  assert.equal(
    [...labels],
    [
      ["loop", 2],
      ["f", 10],
      ["end", 12],
    ],
  );
  assert.equal([...slots], [0, 2, 3, 4, 5, 6, 7, 9, 10, 12]);
});

test("Assembler: far jumps go through gotol, forwards and backwards, or are refused below v4", () => {
  const build = (asm: Assembler): Assembler => {
    asm.label("top").jmpImm("jsgt", 1, 5, "end").jmp32Reg("jset", 1, 2, "end").goto("end").mayGoto("end");
    for (let i = 0; i < 40_000; i++) asm.emit(mov64Imm(0, i));
    return asm.jmpReg("jlt", 1, 2, "top").goto("top").label("end").emit(exit());
  };
  const { insns } = build(new Assembler()).finish();
  const end = insns.length - 1;
  assert.equal(insns.slice(0, 9), [
    jmpImm("jsle", 1, 5, 1),
    gotol(end - 2),
    { ...jmpReg("jset", 1, 2, 1), opcode: 0x4e },
    ja(1),
    gotol(end - 5),
    gotol(end - 6),
    { opcode: 0xe5, dst: 0, src: 0, off: 1, imm: 0 },
    ja(1),
    gotol(end - 9),
  ]);
  assert.equal(insns.slice(-4), [jmpReg("jge", 1, 2, 1), gotol(-(end - 1)), gotol(-end), exit()]);
  assert.throws(
    () => build(new Assembler({ isa: 3 })).finish(),
    (e: unknown) => e instanceof ArgumentError && /reaches -32768 to 32767.*gotol/.test(e.message),
  );
});

test("Assembler: offsets at the very limits of 16 bits stay short", () => {
  for (const [count, isShort] of [
    [0x7fff, true],
    [0x8000, false],
  ] as const) {
    const asm = new Assembler().goto("end");
    for (let i = 0; i < count; i++) asm.emit(mov64Imm(0, 0));
    asm.label("end").emit(exit());
    assert.equal(asm.finish().insns[0], isShort ? ja(count) : gotol(count));
  }
});

test("Assembler: missing and doubled labels, bad arguments", () => {
  assert.throws(() => new Assembler().goto("x").finish(), /"x" is used but not defined/);
  assert.throws(() => new Assembler().label("x").label("x"), /"x" is defined twice/);
  assert.throws(() => mov64Imm(11, 0), /dst: expected a register 0-10, got 11/);
  assert.throws(() => mov64Imm(0, 2 ** 31), /write -2147483648 .*ldImm64/);
  assert.throws(() => ldxMem("dw", 0, 1, 1.5), /off: expected a 16-bit signed integer/);
  assert.throws(() => ldImm64(0, 1n << 64n), /value: expected 64 bits/);
  assert.throws(() => ldxMem("toString" as never, 0, 1, 0), /size: expected one of b, h, w, dw/);
});

test("printInsn: the map's number is called what it is", () => {
  assert.is(printInsn(ldMapFd(1, 5), 0), "r1 = map[id:5]");
  assert.is(printInsn(ldMapFd(1, 5), 0, { mapNumber: "fd" }), "r1 = map[fd:5]");
});
