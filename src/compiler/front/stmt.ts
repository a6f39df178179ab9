/** Statements. */
import type {
  BlockStatement,
  FunctionDeclaration,
  IfStatement,
  ReturnStatement,
  Statement,
  SwitchStatement,
  VariableDeclaration,
} from "acorn";
import type { Block } from "../ir/ir.ts";
import type { Ast, Expr, Stmt } from "./ast.ts";
import { isAbsent, unwrap, walk } from "./ast.ts";
import { declare, declareEmpty, declarePattern } from "./assign.ts";
import type { Fn } from "./context.ts";
import { meetFacts } from "./context.ts";
import { coverBranch, coverStatement } from "./cover.ts";
import { constructName } from "./expr.ts";
import { forOf, forStatement, whileStatement } from "./loops.ts";
import { compare } from "./ops.ts";
import { Scope } from "./scope.ts";
import { branchTextEqual, isText } from "./strings.ts";
import type { Facts, Sym, Val } from "./value.ts";

export function stmt(fn: Fn, node: Stmt): void {
  fn.mark(node);
  if (!UNCOUNTED.has(node.type)) coverStatement(fn, node);
  switch (node.type) {
    case "BlockStatement":
      return scoped(fn, () => statements(fn, node.body));
    case "ExpressionStatement":
      return expressionStatement(fn, node.expression);
    case "VariableDeclaration":
      return variables(fn, node, undefined);
    case "IfStatement":
      return ifStatement(fn, node);
    case "ReturnStatement":
      giveBack(fn, node);
      fn.ended = true;
      return;
    case "ForStatement":
      return forStatement(fn, node, undefined);
    case "ForOfStatement":
      return forOf(fn, node, undefined);
    case "WhileStatement":
    case "DoWhileStatement":
      return whileStatement(fn, node, undefined);
    case "LabeledStatement": {
      const { body } = node;
      const label = node.label.name;
      if (body.type === "ForStatement") return forStatement(fn, body, label);
      if (body.type === "ForOfStatement") return forOf(fn, body, label);
      if (body.type === "WhileStatement" || body.type === "DoWhileStatement") return whileStatement(fn, body, label);
      return labelled(fn, label, body);
    }
    case "BreakStatement":
      return jump(fn, node, "break", node.label?.name);
    case "ContinueStatement":
      return jump(fn, node, "continue", node.label?.name);
    case "SwitchStatement":
      return switchStatement(fn, node, undefined);
    case "EmptyStatement":
      return;
    case "FunctionDeclaration":
      return;
    default:
      if (node.type.startsWith("TS")) return;
      fn.report("BPF1001", node, {
        what: WHAT[node.type] ?? constructName(node.type),
        instead: INSTEAD[node.type] ?? "use `if`, `for`, `while` and `switch`",
      });
  }
}

/** What does nothing by itself. */
const UNCOUNTED: ReadonlySet<string> = new Set(["BlockStatement", "EmptyStatement", "FunctionDeclaration"]);

const WHAT: Readonly<Record<string, string>> = {
  TryStatement: "`try`",
  ThrowStatement: "`throw`",
  WithStatement: "`with`",
  ForInStatement: "`for … in`",
  DebuggerStatement: "`debugger`",
  ClassDeclaration: "a class",
};
const INSTEAD: Readonly<Record<string, string>> = {
  TryStatement: "nothing in a probe throws: check results instead",
  ThrowStatement: "return from the probe",
  ForInStatement: "name the fields, or use `for … of` over an array",
  DebuggerStatement: "use `bpf.printk(…)`",
};

function returned(fn: Fn, node: Expr): Val {
  return fn.expr(node);
}

/** Runs `body` in a new block of names. */
export function scoped(fn: Fn, body: () => void): void {
  const outer = fn.scope;
  fn.scope = new Scope(outer);
  body();
  fn.scope = outer;
}

export function statements(fn: Fn, body: readonly (Statement | Stmt)[]): void {
  for (const s of body) if (s.type === "FunctionDeclaration") hoist(fn, s);
  for (const [i, s] of body.entries()) {
    if (fn.ended) {
      if (s.type === "FunctionDeclaration" || s.type === "EmptyStatement") continue;
      fn.report("BPF6002", s);
      return;
    }
    if (s.type === "VariableDeclaration") {
      fn.mark(s);
      coverStatement(fn, s);
      variables(fn, s, body[i + 1]);
    } else {
      fn.lowering.stmt(fn, s as Stmt);
    }
  }
}

function hoist(fn: Fn, node: FunctionDeclaration | Stmt): void {
  const f = node as FunctionDeclaration;
  fn.scope.declare({
    name: f.id.name,
    mutable: false,
    val: { k: "function", name: f.id.name, node: f, source: fn.source, scope: fn.scope },
  });
}

/** `next`: the statement after it, which may be the check of what is declared. */
function variables(fn: Fn, node: VariableDeclaration, next: Ast | undefined): void {
  if (node.kind === "var") {
    fn.report("BPF1001", node, { what: "`var`", instead: "use `let` or `const`" });
  }
  const mutable = node.kind !== "const";
  for (const d of node.declarations) {
    if (isAbsent(d.init)) {
      if (d.id.type === "Identifier") declareEmpty(fn, d.id);
      else fn.report("BPF1020", d.id, { what: "a value" });
      continue;
    }
    if (d.id.type === "Identifier") {
      const annotation = (d.id as { typeAnnotation?: { typeAnnotation?: Ast & { typeName?: { name?: string } } } })
        .typeAnnotation?.typeAnnotation;
      checkAnnotation(fn, annotation, d.id.name);
      const init = unwrap(d.init);
      const v = fn.expr(init);
      const lazy =
        !mutable &&
        node.declarations.length === 1 &&
        next?.type === "IfStatement" &&
        mentions((next as IfStatement).test, d.id.name);
      declare(
        fn,
        d.id,
        mutable || v.k !== "place" || isReference(v) ? (v.k === "opt" ? v : fn.settle(v, init)) : fn.settle(v, init),
        mutable,
        lazy,
      );
    } else {
      declarePattern(fn, d.id, fn.expr(d.init), mutable);
    }
  }
}

function isReference(v: Val): boolean {
  return v.k === "place" && (v.type.k === "struct" || v.type.k === "array" || v.type.k === "char");
}

/** An annotation that names a width would have to change the code: types never do. */
function checkAnnotation(fn: Fn, annotation: (Ast & { typeName?: { name?: string } }) | undefined, name: string): void {
  const type = annotation?.typeName?.name;
  if (annotation === undefined || type === undefined || !/^([us](8|16|32|64))$/i.test(type)) return;
  fn.report("BPF1014", annotation, { annotation: type, fix: `${type.toLowerCase()}(…) for ${name}` });
}

function mentions(node: Ast, name: string): boolean {
  let found = false;
  walk(node, (n) => {
    const e = n as Expr;
    if (e.type === "Identifier" && e.name === name) found = true;
    return !found;
  });
  return found;
}

function expressionStatement(fn: Fn, e: Expr): void {
  const node = unwrap(e);
  // `a && f()` and `a ? f() : g()` as statements.
  if (node.type === "LogicalExpression" && node.operator !== "??") {
    const yes = fn.b.block("then");
    const end = fn.b.block("end");
    const and = node.operator === "&&";
    const ways = coverBranch(fn, "logical", node, [{ node: node.left, implied: true }, { node: node.right }]);
    const known = and ? fn.lowering.cond(fn, node.left, yes, end) : fn.lowering.cond(fn, node.left, end, yes);
    const before = fn.facts;
    fn.b.at(yes);
    ways.take(1);
    fn.assume(and ? known.whenTrue : known.whenFalse);
    expressionStatement(fn, node.right);
    fn.b.jmp(end);
    fn.b.at(end);
    fn.facts = meetFacts(before, fn.facts);
    return;
  }
  if (node.type === "ConditionalExpression") {
    const ways = coverBranch(fn, "conditional", node, [{ node: node.consequent }, { node: node.alternate }]);
    const way = (index: number, e: Expr) => () => {
      ways.take(index);
      expressionStatement(fn, e);
    };
    branchTwo(fn, node.test, way(0, node.consequent), way(1, node.alternate));
    return;
  }
  fn.dropped = node;
  const v = fn.expr(node);
  if (v.k === "string") v.write(fn.temp({ k: "char", length: v.length }, "unused").base, v.length);
}

function branchTwo(fn: Fn, test: Expr, consequent: () => void, alternate: (() => void) | undefined): void {
  const { b } = fn;
  const yes = b.block("then");
  const no = alternate === undefined ? undefined : b.block("else");
  const end = b.block("end");
  const known = fn.lowering.cond(fn, test, yes, no ?? end);
  const before = fn.facts;
  const way = (block: Block, syms: typeof known.whenTrue, body: () => void): Facts | undefined => {
    b.at(block);
    fn.facts = before;
    fn.ended = false;
    fn.assume(syms);
    body();
    const ended = fn.ended;
    if (!ended) b.jmp(end);
    return ended ? undefined : fn.facts;
  };
  const afterYes = way(yes, known.whenTrue, consequent);
  let afterNo: Facts | undefined;
  if (no !== undefined && alternate !== undefined) {
    afterNo = way(no, known.whenFalse, alternate);
  } else {
    // What the false way knows is loaded where it joins, which only it reaches when the other way ended.
    if (afterYes === undefined) {
      b.at(end);
      fn.facts = before;
      fn.ended = false;
      fn.assume(known.whenFalse);
      return;
    }
    afterNo = factsOnly(fn, before, known.whenFalse);
  }
  fn.ended = afterYes === undefined && afterNo === undefined;
  fn.facts = meetFacts(afterYes, afterNo);
  b.at(end);
}

/** Facts of a way that runs straight into a join: only those that need no load. */
function factsOnly(_fn: Fn, before: Facts, syms: readonly Sym[]): Facts {
  const facts = new Map(before);
  for (const sym of syms)
    if (!facts.has(sym) && (sym.slot !== undefined || sym.val.k === "scalar")) facts.set(sym, true);
  return facts;
}

function ifStatement(fn: Fn, node: IfStatement): void {
  const { alternate } = node;
  const ways = coverBranch(fn, "if", node, [
    { node: node.consequent },
    isAbsent(alternate) ? { node, implied: true } : { node: alternate },
  ]);
  const way = (index: number, s: Stmt) => () => {
    ways.take(index);
    scoped(fn, () => fn.lowering.stmt(fn, s));
  };
  branchTwo(fn, node.test, way(0, node.consequent), isAbsent(alternate) ? undefined : way(1, alternate));
}

function labelled(fn: Fn, label: string, body: Statement): void {
  if (body.type === "SwitchStatement") return switchStatement(fn, body, label);
  const end = fn.b.block("end");
  const before = fn.facts;
  fn.jumps.push({ label, breakTo: end, continueTo: undefined });
  fn.lowering.stmt(fn, body);
  fn.jumps.pop();
  if (!fn.ended) fn.b.jmp(end);
  fn.ended = false;
  fn.facts = restrictTo(before, fn.facts);
  fn.b.at(end);
}

function restrictTo(before: Facts, after: Facts): Facts {
  return meetFacts(before, after);
}

/** `return`. What is returned is read before loops give back what they hold. */
function giveBack(fn: Fn, node: ReturnStatement): void {
  const v = isAbsent(node.argument) ? undefined : returned(fn, node.argument);
  const holds = fn.jumps.some((j) => j.leave !== undefined);
  const value = holds && v !== undefined ? fn.settle(v, node) : v;
  fn.leaveLoops();
  fn.returns.give(fn, value, node);
}

function jump(fn: Fn, node: Ast, kind: "break" | "continue", label: string | undefined): void {
  const at = fn.jumps.findLastIndex((j) =>
    label === undefined
      ? kind === "break"
        ? j.label === undefined || j.continueTo !== undefined
        : j.continueTo !== undefined
      : j.label === label,
  );
  const target = fn.jumps[at];
  const to = kind === "break" ? target?.breakTo : target?.continueTo;
  if (to === undefined) {
    fn.report("BPF1008", node, {
      what: label === undefined ? "loop" : `loop '${label}'`,
      jump: kind === "break" ? "leave" : "continue",
    });
    return;
  }
  fn.leaveLoops(at + 1);
  fn.b.jmp(to);
  fn.ended = true;
}

function switchStatement(fn: Fn, node: SwitchStatement, label: string | undefined): void {
  const { b } = fn;
  const ways = coverBranch(
    fn,
    "switch",
    node,
    node.cases.map((c) => ({ node: c })),
  );
  const value = fn.value(node.discriminant);
  const bodies = node.cases.map((_, i) => b.block(`case.${i}`));
  const end = b.block("switch.end");
  const defaultIndex = node.cases.findIndex((c) => isAbsent(c.test));
  const otherwise = defaultIndex < 0 ? end : bodies[defaultIndex]!;
  const tests = node.cases.map((c) => (isAbsent(c.test) ? undefined : fn.value(c.test)));
  const before = fn.facts;
  const scalarCases =
    value.k === "scalar" && value.type.k === "int" && tests.every((t) => t === undefined || t.k === "int");
  if (scalarCases) {
    const cases: { value: bigint; to: Block }[] = [];
    tests.forEach((t, i) => {
      const c = node.cases[i];
      if (t?.k !== "int" || isAbsent(c?.test)) return;
      // Checks signs and reports duplicates of meaning the same way `===` does.
      const matches = compare(fn, "eq", value, t, c.test);
      if (matches === undefined || typeof matches === "boolean") return;
      if (!cases.some((x) => x.value === t.value)) cases.push({ value: t.value, to: bodies[i]! });
    });
    b.switch(value.v, cases, otherwise);
  } else {
    tests.forEach((t, i) => {
      const c = node.cases[i];
      if (t === undefined || isAbsent(c?.test)) return;
      const next = b.block("case.next");
      if (isText(value) && isText(t)) {
        branchTextEqual(fn, value, t, c.test, bodies[i]!, next);
      } else {
        const r = compare(fn, "eq", value, t, c.test);
        if (r === undefined || r === false) b.jmp(next);
        else if (r === true) b.jmp(bodies[i]!);
        else fn.branch("eq", r.a, r.b, r.sign, bodies[i]!, next);
      }
      b.at(next);
    });
    b.jmp(otherwise);
  }
  fn.jumps.push({ label, breakTo: end, continueTo: undefined });
  const facts: Facts[] = [];
  scoped(fn, () => {
    node.cases.forEach((c, i) => {
      b.at(bodies[i]!);
      ways.take(i);
      fn.ended = false;
      fn.facts = before;
      statements(fn, c.consequent);
      if (!fn.ended) b.jmp(bodies[i + 1] ?? end);
      facts.push(fn.facts);
    });
  });
  fn.jumps.pop();
  // Every way out may be a break: what held before and was not ended in any case still holds.
  fn.facts = facts.reduce((a, f) => meetFacts(a, f), before);
  const leaves = defaultIndex < 0 || node.cases.some((c) => breaksOut(c.consequent)) || !endsAlways(node);
  fn.ended = !leaves;
  b.at(end);
}

function endsAlways(node: SwitchStatement): boolean {
  const last = node.cases.at(-1)?.consequent.at(-1);
  return last !== undefined && leavesFunction(last);
}

function leavesFunction(s: Statement): boolean {
  if (s.type === "ReturnStatement") return true;
  if (s.type === "BlockStatement") {
    const last = (s as BlockStatement).body.at(-1);
    return last !== undefined && leavesFunction(last);
  }
  return (
    s.type === "IfStatement" && !isAbsent(s.alternate) && leavesFunction(s.consequent) && leavesFunction(s.alternate)
  );
}

/** Whether a `break` in these statements may leave the switch around them. */
function breaksOut(body: readonly Statement[]): boolean {
  let found = false;
  for (const s of body) {
    walk(s, (n) => {
      if (n.type === "BreakStatement") found = true;
      return (
        !found &&
        n.type !== "FunctionDeclaration" &&
        n.type !== "ArrowFunctionExpression" &&
        n.type !== "FunctionExpression"
      );
    });
  }
  return found;
}
