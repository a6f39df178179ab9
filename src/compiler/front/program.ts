/** One program: its IR. */
import type { AnyProgram } from "../../probe/program-types.ts";
import { FuncBuilder } from "../ir/builder.ts";
import type { Module } from "../ir/ir.ts";
import { bpfValue } from "./bpf.ts";
import { Fn } from "./context.ts";
import { contextValue } from "./contexts.ts";
import { contextInput, inputsOf, replacedArgs } from "./inputs.ts";
import { lintHot } from "./lint.ts";
import { LOWERING, ENTRY_RETURN, bindParams, lowerBody } from "./lower.ts";
import type { ModuleContext } from "./module.ts";

/** Compiles the body of a declared program to IR; problems are reported in `module.reporter`. Undefined: no IR. */
export function lowerProgram(module: ModuleContext, handle: AnyProgram, name: string): Module | undefined {
  const captured = module.options.capture.capture(handle.fn, handle.site);
  if (!captured.ok) {
    module.reporter.diagnostics.push(...captured.diagnostics);
    return undefined;
  }
  const { node } = captured.fn;
  module.learnNames(captured.fn);
  module.startProgram();
  const b = new FuncBuilder(name, "entry");
  const inputs = inputsOf(handle);
  const params = inputs.map((i) => b.param(i.type, i.space));
  const ctx = contextInput(b, inputs, params);
  b.func.span = captured.fn.span(node);
  const fn = new Fn(module, { handle, name }, b, ctx, captured.fn, LOWERING, ENTRY_RETURN);
  fn.callStack = [{ name, node, callSpan: { file: "", line: 0, col: 0, endLine: 0, endCol: 0 } }];
  fn.mark(node);
  const start = b.current;
  const body = b.block("body");
  b.at(body);
  if (node.params.length > 2) fn.report("BPF1013", node.params[2]!, { got: node.params.length });
  lintHot(fn, node);
  bindParams(fn, node, [replacedArgs(fn, params) ?? contextValue(fn), bpfValue(fn)]);
  lowerBody(fn, node);
  if (!fn.ended) ENTRY_RETURN.give(fn, undefined, node);
  b.at(start);
  fn.mark(node);
  fn.finish();
  b.jmp(body);
  return { funcs: [b.finish(), ...module.subprogs] };
}
