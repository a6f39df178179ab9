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
import { S64 } from "./types.ts";
import type { Val } from "./value.ts";
import { ERROR, NOTHING } from "./value.ts";

interface Line {
  readonly format: string;
  readonly values: readonly Inst[];
}

/** A format and its values from `("%d", x)` or from a template string; undefined when reported. */
function line(fn: Fn, name: string, args: readonly Ast[], node: Ast): Line | undefined {
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
      if (value === undefined) return undefined;
      format += value.spec;
      values.push(value.v);
    }
  } else {
    const f = fn.value(first);
    if (f.k !== "js" || typeof f.value !== "string") {
      if (f.k !== "error") fn.report("BPF2006", first, { expected: "a format string", found: describe(f) });
      return undefined;
    }
    format = f.value;
  }
  for (const arg of args.slice(1)) {
    const value = argument(fn, fn.value(arg), arg);
    if (value === undefined) return undefined;
    values.push(value.v);
  }
  const specs = format.replaceAll("%%", "").match(/%/g)?.length ?? 0;
  if (specs === values.length) return { format, values };
  fn.report("BPF1010", node, { name, expected: `${specs} values for its format`, got: String(values.length) });
  return undefined;
}

/** The format in memory, with its NUL. */
function formatArgument(fn: Fn, format: string): { at: Inst; size: number } {
  return { at: fn.b.mapValue(".rodata", fn.module.sections.string(format)), size: encodeUtf8(format).length + 1 };
}

/** The values as 64-bit words in memory. */
function valuesArgument(fn: Fn, values: readonly Inst[]): { at: Inst; size: number } {
  if (values.length === 0) return { at: fn.b.nullPtr(), size: 0 };
  const array = fn.temp(
    { k: "array", element: { k: "int", bits: 64, sign: signOf({ k: "bool" }) }, length: values.length },
    "printk",
  );
  values.forEach((v, i) => fn.b.store(array.base, v, { size: 8, off: array.off + i * 8 }));
  return { at: addressOf(fn, array), size: values.length * 8 };
}

export function printk(fn: Fn, args: readonly Ast[], node: Ast): Val {
  const l = line(fn, "bpf.printk", args, node);
  if (l === undefined) return ERROR;
  const { at, size } = formatArgument(fn, l.format.endsWith("\n") ? l.format : `${l.format}\n`);
  if (l.values.length <= 3) {
    fn.b.helper(BPF_FUNC.trace_printk, [at, size, ...l.values], {
      clobbers: "none",
      mem: [{ arg: 0, mode: "in", size }],
    });
    return NOTHING;
  }
  const data = valuesArgument(fn, l.values);
  fn.b.helper(BPF_FUNC.trace_vprintk, [at, size, data.at, data.size], {
    clobbers: "none",
    mem: [
      { arg: 0, mode: "in", size },
      { arg: 2, mode: "in", size: data.size },
    ],
  });
  return NOTHING;
}

/** `bpf.seqPrint("%d\n", x)` in an iterator: text for who reads it. */
export function seqPrint(fn: Fn, args: readonly Ast[], node: Ast): Val {
  const l = line(fn, "bpf.seqPrint", args, node);
  if (l === undefined) return ERROR;
  const { how } = fn.program.handle.attach;
  const meta = fn.module.kernel?.findStruct("bpf_iter_meta");
  if (how !== "iter" || meta === undefined)
    return fn.report("BPF3003", node, { name: "seqPrint", progType: fn.program.handle.type, where: "iter programs" });
  // The first field of every iterator's context is its `struct bpf_iter_meta`, whose first field is the file.
  const type = { k: "ptr", to: meta, space: "kernel", trust: "trusted" } as const;
  const v = fn.b.load(fn.ctx, { size: 8, off: 0, invariant: true, space: "btf" });
  const seq = fn.scalar(fn.module.kernelField(fn, { k: "scalar", type, v }, "seq", node) ?? ERROR, node);
  if (seq === undefined) return ERROR;
  const format = formatArgument(fn, l.format);
  const data = valuesArgument(fn, l.values);
  const r = fn.b.helper(BPF_FUNC.seq_printf, [seq.v, format.at, format.size, data.at, data.size], {
    clobbers: "none",
    mem: [
      { arg: 1, mode: "in", size: format.size },
      ...(data.size === 0 ? [] : [{ arg: 3, mode: "in" as const, size: data.size }]),
    ],
  });
  return { k: "scalar", type: S64, v: r };
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
