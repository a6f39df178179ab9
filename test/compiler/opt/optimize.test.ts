/** The optimiser keeps a program's meaning: every random program evaluates the same before and after. */
import fc from "fast-check";
import { parseModule, printModule, verifyFunc } from "../../../src/compiler/ir/index.ts";
import { optimize } from "../../../src/compiler/opt/index.ts";
import { evaluate } from "../codegen/evaluate.ts";
import { CTX_SIZE, randomProgram } from "../codegen/random-program.ts";
import { assert, suite } from "../../harness.ts";

const test = suite("compiler opt");
const RUNS = Number(process.env["FUZZ_RUNS"] ?? 200);

test(
  "optimised programs evaluate as before, and read back from their text",
  () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(1 << 16), { minLength: 4, maxLength: 400, size: "max" }),
        fc.uint8Array({ minLength: 128, maxLength: 128 }),
        (choices, bytes) => {
          const run = (m: ReturnType<typeof randomProgram>): string => {
            const ctx = new Uint8Array(CTX_SIZE);
            ctx.set(bytes);
            const r = evaluate(m, ctx);
            return `${BigInt.asUintN(64, r)} ${Buffer.from(ctx.subarray(128)).toString("hex")}`;
          };
          const expected = run(randomProgram(choices));
          for (const level of [0, 1, 2] as const) {
            for (const isa of [2, 4] as const) {
              const m = randomProgram(choices);
              optimize(m, { isa, endian: "little" }, level);
              assert.equal(m.funcs.flatMap(verifyFunc), [], `level ${level} v${isa}`);
              assert.is(run(m), expected, `level ${level} v${isa}`);
              const text = printModule(m);
              assert.is(run(parseModule(text)), expected, `level ${level} v${isa}, read back`);
            }
          }
        },
      ),
      { numRuns: RUNS, includeErrorInReport: true, endOnFailure: true },
    );
  },
  { timeoutMs: 3_600_000 },
);

function optimized(ir: string): string {
  const m = parseModule(ir);
  optimize(m, { isa: 3, endian: "little" });
  return printModule(m);
}

test("a mask that bounds an index stays although the value cannot exceed it", () => {
  // The verifier knows nothing about a remainder.
  const text = optimized(`func @main(%0: ptr ctx) entry {
entry:
  %1 = load.u64 %0 + 0
  %2 = umod %1, 10
  %3 = and %2, 15
  ret %3
}`);
  assert.match(text, /and %2, 15/);
});

test("a check that only the compiler knows to hold stays; one that the verifier knows goes", () => {
  const checked = (index: string): string => `func @main(%0: ptr ctx) entry {
entry:
  %1 = load.u64 %0 + 0
  ${index}
  br.ult %2, 16, in, out
in:
  ret %2
out:
  ret 99
}`;
  assert.match(optimized(checked("%2 = umod %1, 10")), /br\.u/);
  assert.not.match(optimized(checked("%2 = and %1, 15")), /br\.u/);
  assert.match(optimized(checked("%3 = and %1, 15\n  %2 = opaque %3")), /br\.u/);
});

test("memory: a volatile access is never merged, a call that was not given a slot leaves it alone", () => {
  const text = optimized(`func @main(%0: ptr ctx) entry {
  slot $a 8 align 8
  slot $b 8 align 8
entry:
  %1 = load.u64 %0 + 0
  store.u64 $a + 0, %1
  store.u64 $b + 0, 1
  %2 = call helper 1(map "m", $a) : ptr map-value nullable [in 1 8]
  %3 = load.u64 $a + 0
  %4 = call helper 16($b, 8) : int [out 0 8]
  %5 = load.u64 $b + 0
  %6 = load.u64.volatile mapval "data" 0 + 0
  %7 = load.u64.volatile mapval "data" 0 + 0
  %8 = add %3, %5
  %9 = add %8, %6
  %10 = add %9, %7
  ret %10
}`);
  assert.is(text.match(/volatile/g)?.length, 2);
  assert.not.match(text, /load\.u64 \$a/);
  assert.match(text, /load\.u64 \$b/);
  // What the helper overwrites need not be stored before.
  assert.not.match(text, /store\.u64 \$b/);
});

test("two temporaries of one value become one only while both hold it", () => {
  const loop = (body: string): string => `func @main(%0: ptr ctx) entry {
  slot $a 8 align 8
  slot $b 8 align 8
  slot $i 8 align 8
entry:
  store.u64 $i + 0, 0
  jmp head
head: unroll=no
  %1 = load.u64 %0 + 0
  ${body}
  %2 = load.u64 $i + 0
  %3 = add %2, 1
  store.u64 $i + 0, %3
  br.ult %3, 1000, head, out
out:
  ret 0
}`;
  const store = (s: string): string => `store.u64 $${s} + 0, %1`;
  const use = (s: string): string => `call helper 3(map "m", $${s}) : int [in 1 8]`;
  assert.not.match(optimized(loop([store("a"), use("a"), store("b"), use("b")].join("\n  "))), /store\.u64 \$b/);
  // Here the second still has the value of the iteration before.
  assert.match(optimized(loop([store("a"), use("a"), use("b"), store("b")].join("\n  "))), /store\.u64 \$b/);
});

test("what is computed from a checked value is computed from its register", () => {
  const text = optimized(`func @main(%0: ptr ctx) entry {
entry:
  %1 = load.u64 %0 + 0
  %2 = shl %1, 15
  br.ult %2, 4, in, out
in:
  %3 = mul %2, 8
  %4 = add.ptr mapval "data" 0, %3 : ptr map-value
  %5 = load.u64 %4 + 0
  ret %5
out:
  ret 99
}`);
  assert.match(text, /shl %2, 3/);
});

test("slots are told apart when others became values before them", () => {
  // $a is gone after the first promotion, and $b has its number.
  const text = optimized(`func @main(%0: ptr ctx) entry {
  slot $a 16 align 8
  slot $b 16 align 8
entry:
  %1 = add.ptr $a, 8 : ptr stack
  store.u64 %1 + 0, 7
  %2 = load.u64 %1 + 0
  store.u64 $b + 0, %2
  store.u64 $b + 8, 1
  %3 = call helper 3(map "m", $b) : int [in 1 16]
  ret %3
}`);
  assert.match(text, /store\.u64 \$b/);
  assert.not.match(text, /\$a/);
});

test("a check stays on the register that the access uses, when two equal values became one", () => {
  const text = optimized(`func @main(%0: ptr ctx) entry {
  slot $n 4 align 4
entry:
  %1 = load.u64 %0 + 0
  store.u32 mapval "data" 0 + 0, %1
  %2 = load.u32 mapval "data" 0 + 0
  store.u64 mapval "data" 16 + 0, %2
  %3 = load.u32 mapval "data" 0 + 0
  br.ult %3, 3, in, out
in:
  %4 = mul %3, 4
  %5 = add.ptr mapval "data" 32, %4 : ptr map-value
  %6 = load.u32 %5 + 0
  ret %6
out:
  ret 99
}`);
  const index = /(%\d+) = shl (%\d+), 2/.exec(text)?.[2];
  assert.match(text, new RegExp(`br\\.uge? ?${index}|br\\.u\\w+(\\.32)? ${index},`));
});

test("memory: what a helper or a lock may have changed is read again, what nobody can change is not", () => {
  const between = (middle: string): string => `func @main(%0: ptr ctx) entry {
entry:
  %1 = load.u32 %0 + 0 : ptr packet
  %2 = load.u64 mapval "data" 0 + 0
  ${middle}
  %3 = load.u32 %0 + 0 : ptr packet
  %4 = load.u64 mapval "data" 0 + 0
  %5 = load.u8 %1 + 0
  %6 = load.u8 %3 + 0
  %7 = add %2, %4
  %8 = add %5, %6
  %9 = add %7, %8
  ret %9
}`;
  const loads = (middle: string, pattern: RegExp): number => optimized(between(middle)).match(pattern)?.length ?? 0;
  const packet = /load\.u32 %0 \+ 0/g;
  const value = /load\.u64 mapval/g;
  assert.equal([loads("%10 = opaque %2", packet), loads("%10 = opaque %2", value)], [1, 1]);
  // A look-up changes neither.
  const none = "call helper 8() : int clobbers=none";
  assert.equal([loads(none, packet), loads(none, value)], [1, 1]);
  // Other memory may change under an update; ctx and packet do not.
  const mem = 'call helper 3(map "m", 0) : int clobbers=mem';
  assert.equal([loads(mem, packet), loads(mem, value)], [1, 2]);
  const all = 'call helper 3(map "m", 0) : int clobbers=all';
  assert.equal([loads(all, packet), loads(all, value)], [2, 2]);
  // An atomic is a write of its own place.
  const atomic = 'atomic.add.u64 mapval "data" 0 + 0, 1';
  assert.is(loads(atomic, value), 2);
});
