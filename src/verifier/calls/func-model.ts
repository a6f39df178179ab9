/** Which functions a trampoline can call through: argument count, argument and return types (btf_distill_func_proto). */
import type { Btf } from "../../btf/btf.ts";
import type { BtfFuncProto, BtfType } from "../../btf/types.ts";
import { skipModifiers } from "../btf/types.ts";
import { EINVAL } from "../constants.ts";
import { type Env, reject } from "../env.ts";

const MAX_ARGS = 12;
const MAX_ARG_SIZE = 16;
const POINTER_SIZE = 8;

/** Bytes that a value of the type takes; negative: not passed by value. */
function valueSize(t: BtfType): number {
  switch (t.kind) {
    case "void":
      return 0;
    case "ptr":
      return POINTER_SIZE;
    case "int":
    case "enum":
    case "enum64":
    case "struct":
    case "union":
      return t.size;
    default:
      return -1;
  }
}

const kindText = (t: BtfType): string => (t.kind === "void" ? "UNKNOWN" : t.kind.toUpperCase());

/** btf_distill_func_proto; returns the size of what the function returns. */
export function checkFuncModel(env: Env, btf: Btf, proto: BtfFuncProto, name: string): number {
  const count = proto.params.length;
  if (count > MAX_ARGS) reject(env, EINVAL, `The function ${name} has ${count} arguments. Too many.\n`);
  const ret = skipModifiers(btf, proto.type);
  const retSize = valueSize(ret);
  if (retSize < 0 || ret.kind === "struct" || ret.kind === "union") {
    reject(env, EINVAL, `The function ${name} return type ${kindText(ret)} is unsupported.\n`);
  }
  proto.params.forEach((param, i) => {
    if (i === count - 1 && param.type === 0) {
      reject(env, EINVAL, `The function ${name} with variable args is unsupported.\n`);
    }
    const t = skipModifiers(btf, param.type);
    const size = valueSize(t);
    if (size < 0 || size > MAX_ARG_SIZE) {
      reject(env, EINVAL, `The function ${name} arg${i} type ${kindText(t)} is unsupported.\n`);
    }
    if (size === 0) reject(env, EINVAL, `The function ${name} has malformed void argument.\n`);
  });
  return retSize;
}
