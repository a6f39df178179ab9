/** What cannot be captured, each in the words that a user reads. */
import { renderDiagnostics } from "../../../src/core/render.ts";
import { createCapture } from "../../../src/compiler/capture/index.ts";
import { references } from "../../../src/compiler/capture/join.ts";
import { nodeCaptureHost } from "../../../src/host/capture-host.ts";
import { rawTracepoint, tracepoint } from "../../../src/probe/index.ts";
import { assert, suite } from "../../harness.ts";

const test = suite("capture refusals");
type AnyFunction = (...args: never[]) => unknown;
const capture = createCapture(nodeCaptureHost());

const failed = (fn: AnyFunction): string => {
  const result = capture.capture(fn);
  if (result.ok) throw new Error("it was captured");
  return result.diagnostics.map((d) => `${d.code}: ${d.message} (${d.help ?? ""})`).join("\n");
};
const resolved = (fn: AnyFunction, name: string): string => {
  const result = capture.capture(fn);
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  const at = references(result.fn.node).find((r) => r.node.name === name);
  if (at === undefined) throw new Error(`${name} is not used`);
  const found = result.fn.resolve(name, at.node);
  return found.k === "refused"
    ? `${found.code}: ${found.why} (${found.instead})`
    : found.k === "value"
      ? String(found.value)
      : found.k;
};

class Counter {
  #n = 1;
  readonly body = (): number => this.#n;
  method(): number {
    return 1;
  }
}

test("kinds of functions", () => {
  const plain = (): number => 1;
  assert.is(
    failed(plain.bind(undefined)),
    "BPF7004: 'plain' is a bound function: it has no source to compile (capture the function itself and pass its arguments)",
  );
  assert.is(
    failed(Math.max),
    "BPF7004: 'max' is a native function or a proxy: it has no source to compile (write it as a function in TypeScript, or use what `bpf` offers)",
  );
  assert.match(failed(new Proxy(plain, {})), /^BPF7004/);
  assert.is(
    failed(async () => 1),
    "BPF7011: this function is an async function, which cannot be compiled to BPF (write a plain function or an arrow function)",
  );
  assert.match(
    failed(async function named() {}),
    /^BPF7011: 'named' is an async function/,
  );
  assert.match(
    failed(function* gen() {}),
    /^BPF7011: 'gen' is a generator/,
  );
  assert.match(failed(Counter as never), /^BPF7011: 'Counter' is a class/);
});

test("this and private names, at their places", () => {
  const result = capture.capture(new Counter().body);
  const text = result.ok ? "" : renderDiagnostics(result.diagnostics);
  assert.match(
    text,
    /error\[BPF7005\]: `this` cannot be used in a program: the kernel runs it, no object does\n *--> test\/compiler\/capture\/refusals\.test\.ts:\d+:33/,
  );
  assert.match(
    text,
    /error\[BPF7006\]: the private member `#n` cannot be used in a program\n *--> test\/compiler\/capture\/refusals\.test\.ts:\d+:38/,
  );
});

let reassigned = 1;
const setReassigned = (): void => void (reassigned = 2);
let kept = 5;
kept; // oxlint-disable-line no-unused-expressions
let unset: number | undefined; // oxlint-disable-line no-unassigned-vars

test("values", () => {
  setReassigned();
  assert.match(
    resolved(() => reassigned, "reassigned"),
    /^BPF7007: it is assigned again on line \d+, and a program keeps only the value it had when it was compiled \(make it a `const`, or a `global\(…\)` or `config\(…\)` whose `\.value` changes\)$/,
  );
  assert.is(
    resolved(() => kept, "kept"),
    "5",
  );
  assert.is(
    resolved(() => unset, "unset"),
    "BPF7008: its value is undefined when the program is compiled (give it its value before the program is loaded)",
  );
  assert.match(
    resolved(() => later, "later"),
    /^BPF700[89]: /,
  );
  assert.is(
    resolved(() => Math, "Math"),
    "[object Math]",
  );
  const later = 1;
  assert.is(
    resolved(() => later, "later"),
    "1",
  );
});

test("methods, functions and arrows with generics are captured", () => {
  function declared<T>(x: T): T {
    return x;
  }
  const expression = function named(x: number): number {
    return x;
  };
  const object = {
    method(x: number): number {
      return x;
    },
    "quoted name"(x: number): number {
      return x;
    },
  };
  for (const [fn, text] of [
    [declared, "function declared<T>(x: T): T {"],
    [expression, "function named(x: number): number {"],
    [object.method, "(x: number): number {"],
    [object["quoted name"], "(x: number): number {"],
    [new Counter().method, "(): number {"],
    [<T>(x: T): T => x, "<T>(x: T): T => x"],
  ] as [AnyFunction, string][]) {
    const result = capture.capture(fn);
    if (!result.ok) throw new Error(`${text}: ${JSON.stringify(result.diagnostics)}`);
    assert.is(result.fn.text.slice(result.fn.node.start, result.fn.node.start + text.length), text);
  }
});

test("values are those of the query, not of the declaration", () => {
  const settings = { limit: 1 };
  const handle = tracepoint("a:b", () => settings.limit);
  settings.limit = 2;
  const result = capture.capture(handle.fn, handle.site);
  if (!result.ok) throw new Error("not captured");
  const found = result.fn.resolve("settings", references(result.fn.node)[0]?.node as never);
  assert.ok(found.k === "value" && found.value === settings && settings.limit === 2, "the object itself");
});

test("a handle's body may stand elsewhere", () => {
  const body = (): number => kept + 1;
  const handles = [rawTracepoint("one", body), rawTracepoint("two", body)];
  for (const handle of handles) {
    const result = capture.capture(handle.fn, handle.site);
    assert.ok(result.ok && result.fn.text.startsWith("(): number => kept + 1", result.fn.node.start));
  }
});
