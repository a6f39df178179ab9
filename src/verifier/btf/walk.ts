/** Walking into kernel structs: what is at an offset (btf_struct_walk), and whether a pointer is to a wanted type (btf_struct_ids_match). */
import type { Btf } from "../../btf/btf.ts";
import type { BtfStruct, BtfType } from "../../btf/types.ts";
import { EACCES, EFAULT, EINVAL, MEM_PERCPU, MEM_RCU, MEM_USER, PTR_UNTRUSTED } from "../constants.ts";
import { type Env, reject } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import { anonName, isStruct, resolveSize, sameType, skipModifiers, typeById } from "./types.ts";

export const WALK_SCALAR = 0;
export const WALK_PTR = 1;
export const WALK_STRUCT = 2;
/** A pointer to something that is no struct. */
export const WALK_PTR_UNTRUSTED = 3;

/** Result of a walk; `kind` is WALK_*. */
export interface Walk {
  kind: number;
  /** WALK_PTR: pointee; WALK_STRUCT: the struct found at the offset. */
  id: number;
  flag: number;
  /** Name of the pointer member. */
  field: string;
}

function flexArrayAt(btf: Btf, t: BtfStruct, off: number): { elem: BtfType; off: number } | null {
  const last = t.members.at(-1);
  if (last === undefined) return null;
  const array = skipModifiers(btf, last.type);
  if (array.kind !== "array" || array.nelems !== 0) return null;
  const start = last.bitOffset >>> 3;
  if (off < start) return null;
  const elem = skipModifiers(btf, array.type);
  if (elem.kind === "int") return { elem, off };
  if (!isStruct(elem) || elem.size === 0) return null;
  return { elem, off: (off - start) % elem.size };
}

function pointerTag(btf: Btf, id: number): number {
  const t = typeById(btf, id);
  if (t?.kind !== "type_tag") return 0;
  return t.name === "user" ? MEM_USER : t.name === "percpu" ? MEM_PERCPU : t.name === "rcu" ? MEM_RCU : 0;
}

/**
 * btf_struct_walk: what [off, off + size) of struct `start` is. Rejects (with text) what no single member holds.
 * `out.flag` comes in with the flags so far.
 */
export function structWalk(
  env: Env,
  btf: Btf,
  start: BtfType,
  offIn: number,
  size: number,
  out: Walk,
  flex: boolean,
): void {
  let t = start;
  let off = offIn;
  again: for (;;) {
    if (
      t.kind === "typedef" ||
      t.kind === "const" ||
      t.kind === "volatile" ||
      t.kind === "restrict" ||
      t.kind === "type_tag"
    )
      t = skipModifiers(btf, t.type);
    const name = t.name === "" ? "(anon)" : t.name;
    if (!isStruct(t)) reject(env, EINVAL, `Type '${name}' is not a struct\n`);
    if (env.has.untrustedUnions && t.kind === "union" && t.members.length !== 1) out.flag |= PTR_UNTRUSTED;
    if (off + size > t.size) {
      const inner = flex ? flexArrayAt(btf, t, off) : null;
      if (inner === null) reject(env, EACCES, `access beyond struct ${name} at off ${off >>> 0} size ${size >>> 0}\n`);
      if (inner.elem.kind === "int") {
        out.kind = WALK_SCALAR;
        return;
      }
      t = inner.elem;
      off = inner.off;
      continue;
    }
    for (const member of t.members) {
      let moff = member.bitOffset >>> 3;
      if (off + size <= moff) break;
      if (member.bitSize !== 0) {
        const endByte = (member.bitOffset + member.bitSize + 7) >>> 3;
        if (off <= moff && endByte <= off + size) {
          out.kind = WALK_SCALAR;
          return;
        }
        continue;
      }
      if (off < moff) break;
      const res = resolveSize(btf, member.type);
      if (res === undefined) reject(env, EFAULT, `field ${anonName(member.name)} doesn't have size\n`);
      let msize = res.size;
      const trueEnd = moff + msize;
      if (off >= trueEnd) continue;
      let mtype = res.type;
      if (mtype.kind === "array") {
        if (moff === trueEnd) continue;
        msize = msize / res.nelems;
        moff += Math.floor((off - moff) / msize) * msize;
        mtype = res.elem;
      }
      if (isStruct(mtype)) {
        t = mtype;
        if (off === moff) {
          out.kind = WALK_STRUCT;
          out.id = mtype.id;
          return;
        }
        off -= moff;
        continue again;
      }
      if (mtype.kind === "ptr") {
        if (msize !== size || off !== moff) {
          reject(
            env,
            EACCES,
            `cannot access ptr member ${anonName(member.name)} with moff ${moff} in struct ${name} with off ${off} size ${size}\n`,
          );
        }
        const pointee = skipModifiers(btf, mtype.type);
        if (isStruct(pointee)) {
          out.kind = WALK_PTR;
          out.id = pointee.id;
          out.flag |= pointerTag(btf, mtype.type);
          out.field = member.name;
          return;
        }
        out.kind = WALK_PTR_UNTRUSTED;
        return;
      }
      if (off + size > trueEnd && (out.flag & PTR_UNTRUSTED) === 0) {
        reject(
          env,
          EACCES,
          `access beyond the end of member ${anonName(member.name)} (mend:${trueEnd}) in struct ${name} with off ${off} size ${size}\n`,
        );
      }
      out.kind = WALK_SCALAR;
      return;
    }
    reject(env, EINVAL, `struct ${name} doesn't have field at offset ${off}\n`);
  }
}

/** btf_struct_ids_match: is the pointer btf/id + off to a `needId`, or (not strict) to a struct that begins with one? */
export function structIdsMatch(
  env: Env,
  btf: Btf,
  idIn: number,
  offIn: number,
  needBtf: Btf,
  needId: number,
  strict: boolean,
): boolean {
  if (offIn === 0 && sameType(btf, idIn, needBtf, needId)) return true;
  if (strict) return false;
  let id = idIn;
  let off = offIn;
  const out: Walk = { kind: 0, id: 0, flag: 0, field: "" };
  for (;;) {
    const t = typeById(btf, id);
    if (t === undefined) return false;
    try {
      structWalk(env, btf, t, off, 1, out, false);
    } catch (e) {
      if (!(e instanceof VerifierReject)) throw e;
      return false;
    }
    if (out.kind !== WALK_STRUCT) return false;
    if (sameType(btf, out.id, needBtf, needId)) return true;
    id = out.id;
    off = 0;
  }
}
