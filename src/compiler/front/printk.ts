/** `bpf.printk("%d", x)` and `bpf.printk(`pid ${pid}`)`. */
import type { TemplateLiteral } from "acorn";
import { BPF_FUNC } from "../../uapi/index.ts";
import { encodeUtf8 } from "../../core/bytes.ts";
import type { Inst } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import { unwrap } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import { signOf } from "./ops.ts";
import { addressOf } from "./place.ts";
import { isText, textPlace } from "./strings.ts";
import { eachText } from "./texts.ts";
import type { Val } from "./value.ts";
import { ERROR, NOTHING } from "./value.ts";

export function printk(fn: Fn, args: readonly Ast[], node: Ast): Val {
  const first = unwrap(args[0]!);
  let format = "";
  const values: Inst[] = [];
  if (first.type === "TemplateLiteral") {
    const t: TemplateLiteral = first;
    for (const [i, quasi] of t.quasis.entries()) {
      format += (quasi.value.cooked ?? "").replaceAll("%", "%%");
      const e = t.expressions[i];
      if (e === undefined) continue;
      const v = fn.value(e);
      if (v.k === "js" && typeof v.value === "string") {
        format += v.value.replaceAll("%", "%%");
        continue;
      }
      const value = argument(fn, v, e);
      if (value === undefined) return ERROR;
      format += value.spec;
      values.push(value.v);
    }
  } else {
    const f = fn.value(first);
    if (f.k !== "js" || typeof f.value !== "string")
      return f.k === "error" ? ERROR : fn.report("BPF2006", first, { expected: "a format string", found: describe(f) });
    format = f.value;
  }
  for (const arg of args.slice(1)) {
    const value = argument(fn, fn.value(arg), arg);
    if (value === undefined) return ERROR;
    values.push(value.v);
  }
  const specs = format.replaceAll("%%", "").match(/%/g)?.length ?? 0;
  if (specs !== values.length)
    return fn.report("BPF1010", node, {
      name: "bpf.printk",
      expected: `${specs} values for its format`,
      got: String(values.length),
    });
  const text = format.endsWith("\n") ? format : `${format}\n`;
  const size = encodeUtf8(text).length + 1;
  const at = fn.b.mapValue(".rodata", fn.module.sections.string(text));
  if (values.length <= 3) {
    fn.b.helper(BPF_FUNC.trace_printk, [at, size, ...values], {
      clobbers: "none",
      mem: [{ arg: 0, mode: "in", size }],
    });
    return NOTHING;
  }
  const array = fn.temp(
    { k: "array", element: { k: "int", bits: 64, sign: signOf({ k: "bool" }) }, length: values.length },
    "printk",
  );
  values.forEach((v, i) => fn.b.store(array.base, v, { size: 8, off: i * 8 }));
  const bytes = values.length * 8;
  fn.b.helper(BPF_FUNC.trace_vprintk, [at, size, array.base, bytes], {
    clobbers: "none",
    mem: [
      { arg: 0, mode: "in", size },
      { arg: 2, mode: "in", size: bytes },
    ],
  });
  return NOTHING;
}

function textAddress(fn: Fn, text: string): Inst {
  return fn.b.mapValue(".rodata", fn.module.sections.string(text));
}

function argument(fn: Fn, v: Val, node: Ast): { v: Inst; spec: string } | undefined {
  if (v.k === "js" && typeof v.value === "string") return { v: textAddress(fn, v.value), spec: "%s" };
  if (isText(v)) {
    const place = textPlace(fn, v, node);
    return place === undefined ? undefined : { v: addressOf(fn, place), spec: "%s" };
  }
  if (v.k === "scalar" && v.type.k === "literal") {
    const out = fn.b.func.slot(8, 8, "text");
    fn.b.start(out);
    eachText(fn, { ...v, type: v.type }, node, (text) =>
      fn.b.store(fn.b.slotAddr(out), textAddress(fn, text), { size: 8 }),
    );
    return { v: fn.b.load(fn.b.slotAddr(out), { size: 8, space: "map-value" }), spec: "%s" };
  }
  const s = fn.scalar(v, node, "a number or text");
  if (s === undefined) return undefined;
  if (s.type.k === "ptr") return { v: s.v, spec: "%llx" };
  return { v: s.v, spec: signOf(s.type).kind() === "u" ? "%llu" : "%lld" };
}
