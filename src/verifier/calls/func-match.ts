/** Whether an extension's function has the prototype of the one it replaces (btf_check_func_type_match). */
import type { Btf } from "../../btf/btf.ts";
import type { BtfFunc, BtfType } from "../../btf/types.ts";
import { isStruct, protoOf, skipModifiers, typeById } from "../btf/types.ts";
import { EFAULT, EINVAL } from "../constants.ts";
import { type Env, reject } from "../env.ts";
import { VerifierReject } from "../errors.ts";

const kindText = (t: BtfType): string => (t.kind === "void" ? "UNKNOWN" : t.kind.toUpperCase());

/** What a type's info word tells: kind and how many members follow. */
function sameInfo(a: BtfType, b: BtfType): boolean {
  const vlen = (t: BtfType): number =>
    t.kind === "enum" || t.kind === "enum64" ? t.values.length : isStruct(t) ? t.members.length : 0;
  return a.kind === b.kind && vlen(a) === vlen(b);
}

const sizeOf = (t: BtfType): number => ("size" in t && typeof t.size === "number" ? t.size : 0);

function checkGlobal(env: Env, func: BtfFunc): void {
  if (func.linkage !== "global") reject(env, EINVAL, `${func.name}() is not a global function\n`);
}

function checkParam(
  env: Env,
  i: number,
  btf1: Btf,
  id1: number,
  fn1: string,
  btf2: Btf,
  id2: number,
  fn2: string,
): void {
  const t1 = skipModifiers(btf1, id1);
  const t2 = skipModifiers(btf2, id2);
  if (!sameInfo(t1, t2)) {
    reject(env, EINVAL, `arg${i} in ${fn1}() is ${kindText(t1)} while ${fn2}() has ${kindText(t2)}\n`);
  }
  if (sizeOf(t1) !== sizeOf(t2)) {
    reject(env, EINVAL, `arg${i} in ${fn1}() has size ${sizeOf(t1)} while ${fn2}() has ${sizeOf(t2)}\n`);
  }
  if (t1.kind === "int" || t1.kind === "enum" || t1.kind === "enum64") return;
  if (t1.kind !== "ptr" || t2.kind !== "ptr") return reject(env, EINVAL, `arg${i} in ${fn1}() has unrecognized type\n`);
  const s1 = skipModifiers(btf1, t1.type);
  const s2 = skipModifiers(btf2, t2.type);
  if (!isStruct(s1)) reject(env, EINVAL, `arg${i} in ${fn1}() is not a pointer to context\n`);
  if (!isStruct(s2)) reject(env, EINVAL, `arg${i} in ${fn2}() is not a pointer to context\n`);
  if (s1.name !== s2.name) {
    reject(env, EINVAL, `arg${i} ${fn1}(struct ${s1.name} *) doesn't match ${fn2}(struct ${s2.name} *)\n`);
  }
}

/** btf_check_type_match: the program's main function against function `id` of the target's BTF. */
export function checkFuncMatch(env: Env, btf2: Btf, id: number): void {
  const btf1 = env.load.btf;
  const main = env.funcInfo[0];
  if (btf1 === null || main === undefined) return reject(env, EINVAL, "Program extension requires BTF\n");
  const f1 = typeById(btf1, main.typeId);
  const f2 = typeById(btf2, id);
  if (f1?.kind !== "func" || f2?.kind !== "func") throw new VerifierReject(EFAULT);
  checkGlobal(env, f1);
  checkGlobal(env, f2);
  const p1 = protoOf(btf1, f1.id);
  const p2 = protoOf(btf2, id);
  if (p1 === undefined || p2 === undefined) throw new VerifierReject(EFAULT);
  if (p1.params.length !== p2.params.length) {
    const [n1, n2] = [p1.params.length, p2.params.length];
    reject(env, EINVAL, `${f1.name}() has ${n1} args while ${f2.name}() has ${n2} args\n`);
  }
  const r1 = skipModifiers(btf1, p1.type);
  const r2 = skipModifiers(btf2, p2.type);
  if (!sameInfo(r1, r2)) {
    const [k1, k2] = [kindText(r1), kindText(r2)];
    reject(env, EINVAL, `Return type ${k1} of ${f1.name}() doesn't match type ${k2} of ${f2.name}()\n`);
  }
  p1.params.forEach((p, i) => checkParam(env, i, btf1, p.type, f1.name, btf2, p2.params[i]!.type, f2.name));
}
