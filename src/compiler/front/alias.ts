/** Assigning a literal to a struct or array that the literal itself may read. */
import type { CallExpression, MemberExpression, Property } from "acorn";
import type { Ast } from "./ast.ts";
import { isFunction, unwrap, walk } from "./ast.ts";
import type { Fn } from "./context.ts";
import type { Fill } from "./memory.ts";
import { storeInto, storeValue } from "./memory.ts";
import { isScalar } from "./types.ts";
import type { PlaceVal } from "./value.ts";

/** `dest = node`: in `s.p = { x: s.p.y, y: s.p.x }` both values are computed before one is stored. */
export function assignInto(fn: Fn, dest: PlaceVal, node: Ast, fill: Fill): void {
  if (isScalar(dest.type) || dest.type.k === "char" || !readsMemory(fn, node)) return storeInto(fn, dest, node, fill);
  const whole = fn.temp(dest.type, "copy");
  storeInto(fn, whole, node, fill);
  storeValue(fn, dest, whole, node, fill.clean);
}

/** Whether writing the literal field by field may read a place: not for constants, variables, casts and what `bpf` gives. */
function readsMemory(fn: Fn, node: Ast): boolean {
  let found = false;
  const visit = (root: Ast): void =>
    walk(root, (n) => {
      if (found || isFunction(n)) return false;
      switch (n.type) {
        case "Property":
          visit((n as Property).value);
          return false;
        case "CallExpression": {
          const { callee, arguments: args } = n as CallExpression;
          const c = unwrap(callee);
          if (c.type === "MemberExpression" ? !isBuiltin(fn, c.object) : fn.expr(c).k === "function") found = true;
          args.forEach(visit);
          return false;
        }
        case "MemberExpression":
          found = !isBuiltin(fn, (n as MemberExpression).object);
          return false;
        case "Identifier": {
          const kind = fn.find((n as Ast & { name: string }).name)?.val.k;
          found = kind === "place" || kind === "record" || kind === "opt";
          return false;
        }
        default:
          return true;
      }
    });
  const e = unwrap(node);
  if (e.type !== "Identifier" && e.type !== "MemberExpression") visit(e);
  return found;
}

function isBuiltin(fn: Fn, node: Ast): boolean {
  const e = unwrap(node);
  return e.type === "Identifier" && fn.expr(e).k === "builtin";
}
