import { FuncBuilder, parseModule, printFunc, printModule, verifyFunc } from "../../../src/compiler/ir/index.ts";
import { assert, suite } from "../../harness.ts";

const test = suite("compiler ir text");

const EVERY_OP = `func @main(%0: ptr ctx) entry {
  slot $key 4 align 4
  slot $buf 16 align 8
entry:
  start $key
  %1 = load.u32 %0 + 16 : ptr packet
  %2 = load.s16.volatile %1 - 4
  %3 = load.u64.invariant mapval "rodata" 8 + 0
  %4 = load.u32 %0 + 1234 core(0 "task_struct" "0:5")
  %5 = add.ptr %1, 14 : ptr packet
  %6 = sub32 %2, %4
  %7 = add %6, core 0 "task_struct" "0:3" = 12
  %8 = neg32 %7
  %9 = bswap.16 %8
  %10 = sext.32 %9
  %11 = cmp32.slt %10, -5
  %12 = select %11, %10, 9223372036854775807
  %13 = opaque %12
  store.u32 $key + 0, %13
  store.u64.volatile $buf + 8, ksym "bpf_prog_active" weak untyped
  memset $buf, 0, 16 align 8
  memcpy $buf, %5, 8 align 1
  atomic.add.u64 %5 + 0, 1
  %14 = atomic.fetch.cmpxchg.u32 %5 + 4, 1, %13
  %15 = call helper 1(map "hits", $key) : ptr map-value nullable [in 1 4]
  call kfunc "bpf_rcu_read_lock" weak() : void clobbers=none
  %16 = call @sub(%14, null, func @cb) : int clobbers=all
  %17 = call helper 8() : int pure clobbers=none bits=32
  br.eq %15, null, none, some
none: cold
  switch %16, 1: loop(0), -2: some, default: some
some:
  jmp loop(%17)
loop(%18: int): unroll=full
  %19 = add %18, 1
  br32.nset %19, 7, loop(%19), out
out:
  ret undef
}
`;

test("every operation reads back as it was printed", () => {
  const printed = printModule(parseModule(EVERY_OP));
  assert.is(printed, EVERY_OP);
  assert.is(printModule(parseModule(printed)), printed);
});

test("the builder numbers, types and folds literals into operands", () => {
  const b = new FuncBuilder("count", "entry");
  const ctx = b.param("ptr", "ctx");
  const n = b.slot(8, 8, "n");
  b.store(n, 1, { size: 8 });
  const p = b.add(b.load(ctx, { size: 4, space: "packet" }), 14);
  assert.is(p.type, "ptr");
  assert.is(p.space, "packet");
  b.ret(b.sub(p, p));
  b.ret(7);
  assert.is(
    printFunc(b.finish()),
    `func @count(%0: ptr ctx) entry {
  slot $n 8 align 8
entry:
  store.u64 $n + 0, 1
  %1 = load.u32 %0 + 0 : ptr packet
  %2 = add.ptr %1, 14 : ptr packet
  %3 = sub %2, %2
  ret %3
b1:
  ret 7
}
`,
  );
});

test("a wrong text is a DecodeError at its place", () => {
  for (const [text, message] of [
    ["func @f() entry {\n b:\n  %1 = frob 3\n ret\n}", /expected an operation, got "frob"/],
    ["func @f() entry {\n b:\n ret %9\n}", /a definition of %9/],
    ["func @f() entry {\n b:\n jmp c\n}", /a block named c/],
    ["func @f() entry {\n b:\n %1 = load.q8 %0 + 1\n ret\n}", /a size such as u32/],
    ["func", /expected a name with @, got "end of text"/],
  ] as const) {
    assert.throwsCode(() => parseModule(text), "DECODE", message);
  }
});

test("a malformed function is told what is wrong", () => {
  const problems = (text: string): string => parseModule(text).funcs.flatMap(verifyFunc).join("; ");
  assert.is(problems("func @f() entry {\na:\n jmp b(1)\nb(%0: int):\n ret %0\n}"), "");
  assert.match(
    problems("func @f() entry {\na:\n jmp b\nb(%0: int):\n ret %0\n}"),
    /passes 0 arguments to b, which has 1/,
  );
  assert.match(
    problems("func @f(%0: int) entry {\na:\n br.eq %0, 1, b, c\nb:\n %1 = add %0, 1\n jmp c\nc:\n ret %1\n}"),
    /not always set before/,
  );
  assert.match(problems("func @f() entry {\na:\n %1 = add %2, 1\n %2 = add 3, 4\n ret %1\n}"), /not always set before/);
});
