/** Kernel functions by name: `bpf.taskFromPid(1)` calls `bpf_task_from_pid`, typed by the kernel's BTF. */
import type { KfuncRow } from "../../uapi/index.ts";
import { kfuncByName, kfuncs } from "../../uapi/index.ts";
import type { Inst } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe, nameOf } from "./context.ts";
import { isContext, progTypeName } from "./contexts.ts";
import { isMap } from "./module.ts";
import { addressOf } from "./place.ts";
import { isText, textPlace } from "./strings.ts";
import { isScalar } from "./types.ts";
import type { BuiltinVal, Val } from "./value.ts";
import { ERROR, NOTHING } from "./value.ts";

let byCamel: Map<string, KfuncRow> | undefined;

function camel(name: string): string {
  return name.replace(/^bpf_/, "").replace(/_(\w)/g, (_, c: string) => c.toUpperCase());
}
function table(): Map<string, KfuncRow> {
  byCamel ??= new Map(kfuncs().map((k) => [camel(k.name), k]));
  return byCamel;
}
export function kfuncNames(): Iterable<string> {
  return table().keys();
}

/** `bpf.name` as a kernel function; undefined when there is none of that name. */
export function kfuncBuiltin(fn: Fn, name: string, node: Ast): BuiltinVal | undefined {
  const row = table().get(name) ?? kfuncByName(name);
  if (row === undefined) return undefined;
  return {
    k: "builtin",
    what: `bpf.${name}`,
    call: (args, call) => {
      const type = progTypeName(fn.program.handle);
      if (!row.progs.includes(type)) {
        const where = row.progs
          .map((p) => p.toLowerCase())
          .slice(0, 6)
          .join(", ");
        return fn.report("BPF3003", node, {
          name,
          progType: fn.program.handle.type,
          where: `${where === "" ? "no" : where} programs`,
        });
      }
      fn.mark(call);
      return callKfunc(fn, row, args, call);
    },
  };
}

function callKfunc(fn: Fn, row: KfuncRow, args: readonly Ast[], node: Ast): Val {
  const { kernel } = fn.module;
  if (kernel === undefined) return fn.report("BPF4002", node);
  const proto = kernel.prototype(row.name);
  if (proto === undefined) return fn.report("BPF3008", node, { name: row.name });
  // Arguments that the verifier fills in itself: `name__prog`, `name__ign`.
  const params = proto.params;
  const given = params.filter((p) => !/__(prog|ign)$/.test(p.name));
  if (args.length !== given.length) {
    const names = given.map((p) => p.name.replace(/__\w+$/, "")).join(", ");
    return fn.report("BPF1010", node, {
      name: row.name,
      expected: `${given.length} argument${given.length === 1 ? "" : "s"}${names === "" ? "" : ` (${names})`}`,
      got: String(args.length),
    });
  }
  const lowered: Inst[] = [];
  let at = 0;
  for (const p of params) {
    if (/__(prog|ign)$/.test(p.name)) {
      lowered.push(fn.b.nullPtr());
      continue;
    }
    const arg = args[at++]!;
    const v = pass(fn, row, p.name, kernel.typeOf(p.type, "trusted").k === "ptr", arg);
    if (v === undefined) return ERROR;
    lowered.push(v);
  }
  const type = kernel.typeOf(proto.type, "trusted");
  const pointer = type.k === "ptr";
  const clobbers = "mem";
  if (type.k === "void") {
    fn.b.kfunc(row.name, lowered, { clobbers, type: "void" });
    return NOTHING;
  }
  const nullable = row.flags.includes("KF_RET_NULL");
  const v = fn.b.kfunc(row.name, lowered, {
    clobbers,
    ...(pointer ? { space: type.to?.k === "kstruct" ? "btf" : "mem", nullable } : {}),
  });
  if (!isScalar(type)) return NOTHING;
  if (type.k === "ptr" && nullable) return { k: "scalar", type: { ...type, nullable: `what ${row.name} gives` }, v };
  if (type.k === "bool") return { k: "scalar", type, v: fn.b.and(v, 0xff) };
  // Upper bits of a narrow result mean nothing.
  if ((type.k === "int" || type.k === "enum") && type.bits !== 64) {
    return { k: "scalar", type, v: type.sign.signed ? fn.b.sext(v, type.bits) : fn.b.zext(v, type.bits) };
  }
  return { k: "scalar", type, v };
}

function pass(fn: Fn, row: KfuncRow, name: string, pointer: boolean, node: Ast): Inst | undefined {
  const v = fn.expr(node);
  if (v.k === "error") return undefined;
  if (isContext(fn, v)) return fn.ctx;
  if (v.k === "builtin" && v.pointer !== undefined) return v.pointer;
  if (v.k === "handle" && isMap(v.value)) return fn.b.map(fn.module.mapName(v.value, v.name));
  if (pointer) {
    if (v.k === "js" && (v.value === null || v.value === undefined)) return fn.b.nullPtr();
    if (v.k === "js" && typeof v.value === "string")
      return fn.b.mapValue(".rodata", fn.module.sections.string(v.value));
    if (isText(v)) {
      const place = textPlace(fn, v, node);
      return place === undefined ? undefined : addressOf(fn, place);
    }
    if (v.k === "place" && !isScalar(v.type) && v.indices === undefined) return addressOf(fn, v);
  }
  const s = fn.settle(v, node);
  if (s.k === "scalar" && s.type.k === "ptr" && s.type.nullable !== undefined && !/__(nullable|opt)$/.test(name))
    return void fn.report("BPF2007", node, { what: s.type.nullable, name: nameOf(node) });
  if (s.k === "scalar" || s.k === "int" || (s.k === "js" && typeof s.value === "boolean")) return fn.scalar(s, node)?.v;
  if (s.k === "opt") fn.report("BPF2007", node, { what: s.what, name: "the value" });
  else
    fn.report("BPF3007", node, {
      arg: name,
      name: row.name,
      expected: pointer ? "a pointer or memory" : "a number",
      found: describe(s),
    });
  return undefined;
}
