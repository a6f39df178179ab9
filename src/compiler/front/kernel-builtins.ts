/** What can be asked of kernel types: `bpf.exists(task.field)`, `bpf.sizeOf`, `bpf.enumValue`, `bpf.cast`. */
import type { Ast, Expr } from "./ast.ts";
import { unwrap } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import { localStruct } from "./kernel-access.ts";
import type { AccessStep } from "./local-types.ts";
import { CORE, EnumAccess, FieldAccess, TypeAccess } from "./local-types.ts";
import { BOOL, S64, U32 } from "./types.ts";
import type { KernelStructType } from "./types.ts";
import type { BuiltinVal, Val } from "./value.ts";
import { ERROR } from "./value.ts";

export const KERNEL_NAMES = ["exists", "sizeOf", "enumValue", "cast"] as const;

export function kernelBuiltin(fn: Fn, name: string): BuiltinVal | undefined {
  const make = (arity: readonly [number, number], run: (args: readonly Ast[], node: Ast) => Val): BuiltinVal => ({
    k: "builtin",
    what: `bpf.${name}`,
    call: (args, node) => {
      if (args.length < arity[0] || args.length > arity[1]) {
        return fn.report("BPF1010", node, {
          name: `bpf.${name}`,
          expected: `${arity[0]} argument${arity[0] === 1 ? "" : "s"}`,
          got: String(args.length),
        });
      }
      if (fn.module.kernel === undefined) return fn.report("BPF4002", node);
      return run(args, node);
    },
  });
  switch (name) {
    case "exists":
      return make([1, 1], (args) => exists(fn, unwrap(args[0]!)));
    case "sizeOf":
      return make([1, 1], (args) => {
        const struct = typeArgument(fn, args[0]!);
        return struct === undefined
          ? ERROR
          : {
              k: "scalar",
              type: U32,
              v: fn.b.core(new TypeAccess(localStruct(fn, struct), CORE.TYPE_SIZE), struct.size),
            };
      });
    case "enumValue":
      return make([2, 2], (args) => enumValue(fn, args));
    case "cast":
      return make([2, 2], (args) => {
        const p = fn.scalar(fn.value(args[0]!), args[0]!, "an address");
        const struct = typeArgument(fn, args[1]!);
        if (p === undefined || struct === undefined) return ERROR;
        return { k: "scalar", type: { k: "ptr", to: struct, space: "kernel", trust: "probe" }, v: p.v };
      });
    default:
      return undefined;
  }
}

function text(fn: Fn, node: Ast): string | undefined {
  const v = fn.value(node);
  if (v.k === "js" && typeof v.value === "string") return v.value;
  if (v.k !== "error") fn.report("BPF2006", node, { expected: "the name of a kernel type", found: describe(v) });
  return undefined;
}

function typeArgument(fn: Fn, node: Ast): KernelStructType | undefined {
  const name = text(fn, node);
  if (name === undefined) return undefined;
  const struct = fn.module.kernel?.findStruct(name.replace(/^(struct|union) /, ""));
  if (struct === undefined) fn.report("BPF4001", node, { name, hint: "" });
  return struct;
}

/** Whether the running kernel has a field, or a type by name. */
function exists(fn: Fn, e: Expr): Val {
  const { kernel } = fn.module;
  if (kernel === undefined) return ERROR;
  if (e.type === "Literal" && typeof e.value === "string") {
    const name = e.value.replace(/^(struct|union) /, "");
    const struct = kernel.findStruct(name);
    const local =
      struct === undefined
        ? fn.module.locals.missing(name, e.value.startsWith("union ") ? "union" : "struct")
        : localStruct(fn, struct);
    return { k: "scalar", type: BOOL, v: fn.b.core(new TypeAccess(local, CORE.TYPE_EXISTS), 1) };
  }
  if (e.type !== "MemberExpression" || e.computed || e.object.type === "Super" || e.property.type !== "Identifier") {
    return fn.report("BPF2006", e, {
      expected: "a field such as `task.field`, or the name of a type",
      found: "something else",
    });
  }
  const object = fn.expr(e.object);
  if (object.k === "error") return ERROR;
  const t = object.k === "scalar" || object.k === "kplace" ? object.type : undefined;
  const struct = t?.k === "kstruct" ? t : t?.k === "ptr" && t.to?.k === "kstruct" ? t.to : undefined;
  if (struct === undefined)
    return fn.report("BPF2006", e.object, { expected: "a kernel struct", found: describe(object) });
  const root = localStruct(fn, struct);
  const { name } = e.property;
  const m = kernel.member(struct.id, name);
  let steps: AccessStep[];
  if (m === undefined) {
    let index = root.absent.findIndex((a) => a.name === name);
    if (index < 0) index = root.absent.push({ name }) - 1;
    steps = [{ owner: root, index, absent: true }];
  } else {
    steps = m.path.map((s) => ({
      owner: fn.module.locals.get(
        s.owner,
        kernel.btf.nameOf(s.owner),
        kernel.btf.typeById(s.owner).kind === "union" ? "union" : "struct",
      ),
      index: s.index,
    }));
  }
  return { k: "scalar", type: BOOL, v: fn.b.core(new FieldAccess(root, CORE.FIELD_EXISTS, steps), 1) };
}

/** The running kernel's value of an enumerator. */
function enumValue(fn: Fn, args: readonly Ast[]): Val {
  const { kernel } = fn.module;
  const type = text(fn, args[0]!);
  const member = text(fn, args[1]!);
  if (kernel === undefined || type === undefined || member === undefined) return ERROR;
  const name = type.replace(/^enum /, "");
  const id = kernel.btf.findId(name, "enum") || kernel.btf.findId(name, "enum64");
  const t = id === 0 ? undefined : kernel.btf.typeById(id);
  if (t === undefined || (t.kind !== "enum" && t.kind !== "enum64"))
    return fn.report("BPF4001", args[0]!, { name: type, hint: "" });
  const index = t.values.findIndex((v) => v.name === member);
  const value = t.values[index]?.value;
  if (value === undefined)
    return fn.report("BPF1019", args[1]!, {
      name: member,
      instead: `members of enum ${name}: ${t.values
        .slice(0, 6)
        .map((v) => v.name)
        .join(", ")}`,
    });
  const local = fn.module.locals.get(id, name, "enum");
  return { k: "scalar", type: S64, v: fn.b.core(new EnumAccess(local, CORE.ENUMVAL_VALUE, index), value) };
}
