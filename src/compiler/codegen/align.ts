/**
 * The verifier wants every access to the stack aligned to its size, and on some machines every access. Fields of packed
 * structs are not: what the optimiser left of them in memory is read and written in pieces.
 */
import type { Func, Inst, Size, Slot } from "../ir/ir.ts";
import type { Target } from "./target.ts";

/** Rewrites `f` in place; slots get the alignment that their accesses need. */
export function splitMisaligned(f: Func, target: Target): void {
  for (const b of f.blocks) {
    let out: Inst[] | undefined;
    for (let k = 0; k < b.insts.length; k++) {
      const i = b.insts[k]!;
      const align = i.op === "load" || i.op === "store" ? accessAlign(i, target) : 8;
      if (align < i.size) {
        out ??= b.insts.slice(0, k);
        if (i.op === "load") splitLoad(f, i, align as Size, out, target);
        else splitStore(f, i, align as Size, out, target);
      } else out?.push(i);
    }
    if (out !== undefined) b.insts = out;
  }
}

/** What the verifier places in front of a packet (NET_IP_ALIGN): the header behind an Ethernet one is aligned. */
const PACKET_START = 2;

/** Alignment of an access that has to be aligned, 8 for any other. */
function accessAlign(i: Inst, target: Target): number {
  if (i.size === 1) return 8;
  let { off } = i;
  let align = 8;
  let p = i.args[0]!;
  while (p.op === "add" && p.type === "ptr") {
    const [a, b] = p.args as [Inst, Inst];
    const ptr = a.type === "ptr" ? a : b;
    const delta = ptr === a ? b : a;
    if (delta.op === "const") off += Number(BigInt.asIntN(32, delta.value));
    else align = Math.min(align, alignOfValue(delta));
    p = ptr;
  }
  if (p.op !== "slot") {
    const strict = target.unaligned === false && (p.space === "map-value" || p.space === "mem" || p.space === "packet");
    if (!strict && p.space !== "stack") return 8;
    return Math.min(
      align,
      alignOfNumber(p.op === "mapval" ? p.off + off : p.space === "packet" ? off + PACKET_START : off),
    );
  }
  align = Math.min(align, alignOfNumber(off));
  const slot = p.slot!;
  if (align >= i.size && slot.align < i.size && slot.size >= i.size) raise(slot, i.size);
  return Math.min(align, slot.align);
}
function raise(slot: Slot, align: number): void {
  (slot as { align: number }).align = align;
}
function alignOfNumber(n: number): number {
  return n % 8 === 0 ? 8 : n % 4 === 0 ? 4 : n % 2 === 0 ? 2 : 1;
}
/** Of what is added to an address; an index of unknown origin is taken for a whole number of elements. */
function alignOfValue(v: Inst): number {
  const by = v.args[1];
  switch (v.op) {
    case "const":
      return alignOfNumber(Number(BigInt.asUintN(3, v.value)));
    case "mul":
      return by?.op === "const" ? alignOfNumber(Number(BigInt.asUintN(3, by.value))) : 8;
    case "shl":
      return by?.op === "const" ? 2 ** Number(by.value > 3n ? 3n : by.value) : 8;
    case "add":
    case "sub":
      return Math.min(alignOfValue(v.args[0]!), alignOfValue(by!));
    default:
      return 8;
  }
}

function splitLoad(f: Func, i: Inst, piece: Size, out: Inst[], target: Target): void {
  const bin = (op: "or" | "shl", a: Inst, b: Inst): Inst => {
    const r = f.inst(op, "int", [a, b], i.span);
    out.push(r);
    return r;
  };
  const constant = (v: number): Inst => {
    const r = f.inst("const", "int");
    r.value = BigInt(v);
    return r;
  };
  const n = i.size / piece;
  const load = (k: number): Inst => {
    const l = f.inst("load", "int", [i.args[0]!], i.span);
    l.size = piece;
    l.off = i.off + (target.endian === "little" ? k : n - 1 - k) * piece;
    // The highest piece brings the sign.
    l.signed = k === n - 1 && i.signed;
    l.volatile = i.volatile;
    out.push(l);
    return l;
  };
  let value = load(n - 1);
  for (let k = n - 2; k > 0; k--) value = bin("or", bin("shl", value, constant(piece * 8)), load(k));
  // The last operation takes the place of `i`, so that its uses stay as they are.
  i.args = [bin("shl", value, constant(piece * 8)), load(0)];
  i.op = "or";
  i.off = 0;
  i.width = 64;
  out.push(i);
}

function splitStore(f: Func, i: Inst, piece: Size, out: Inst[], target: Target): void {
  const v = i.args[1]!;
  const n = i.size / piece;
  for (let k = 0; k < n; k++) {
    let part = v;
    if (v.op === "const") {
      part = f.inst("const", "int");
      part.value = BigInt.asUintN(piece * 8, BigInt.asUintN(64, v.value) >> BigInt(k * piece * 8));
    } else if (k > 0) {
      const by = f.inst("const", "int");
      by.value = BigInt(k * piece * 8);
      part = f.inst("lshr", "int", [v, by], i.span);
      out.push(part);
    }
    const s = f.inst("store", "void", [i.args[0]!, part], i.span);
    s.size = piece;
    s.off = i.off + (target.endian === "little" ? k : n - 1 - k) * piece;
    s.volatile = i.volatile;
    out.push(s);
  }
}
