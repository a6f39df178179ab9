/** Fields of kernel structs: CO-RE relocated loads and probe reads. */
import { BPF_FUNC } from "../../uapi/index.ts";
import type { Inst, Size } from "../ir/ir.ts";
import type { Ast, Expr } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import { readMemory, stringAt } from "./reads.ts";
import type { KernelTypes } from "./kernel.ts";
import type { AccessStep, LocalType } from "./local-types.ts";
import { CORE, FieldAccess } from "./local-types.ts";
import { hint } from "./report.ts";
import { UNSIGNED } from "./sign.ts";
import type { KernelStructType, ScalarType } from "./types.ts";
import { BOOL, U8, isScalar, sizeOf } from "./types.ts";
import type { KernelPlace, ScalarVal, Val } from "./value.ts";
import { ERROR } from "./value.ts";

/** The struct that `val` is or points to, and how to reach it. */
interface Owner {
  readonly struct: KernelStructType;
  readonly root: LocalType;
  readonly base: Inst;
  readonly direct: boolean;
  readonly path: readonly AccessStep[];
  readonly off: number;
  readonly dynamic?: Inst;
}

export function localStruct(fn: Fn, t: KernelStructType): LocalType {
  const kind = fn.module.kernel?.btf.typeById(t.id).kind === "union" ? "union" : "struct";
  return fn.module.locals.get(t.id, t.name, kind);
}

function ownerOf(fn: Fn, val: Val, node: Ast): Owner | undefined {
  if (val.k === "kplace") {
    if (val.type.k === "kstruct") {
      const { root, base, direct, path, off } = val;
      return {
        struct: val.type,
        root,
        base,
        direct,
        path,
        off,
        ...(val.dynamic === undefined ? {} : { dynamic: val.dynamic }),
      };
    }
    if (val.type.k !== "ptr" || val.type.to?.k !== "kstruct") return undefined;
    const pointer = readKernel(fn, val, node);
    return pointer.k === "scalar" ? ownerOf(fn, pointer, node) : undefined;
  }
  if (val.k === "place" && val.type.k === "ptr" && val.type.to?.k === "kstruct")
    return ownerOf(fn, fn.settle(val, node), node);
  if (val.k === "scalar" && val.type.k === "ptr" && val.type.space === "kernel" && val.type.to?.k === "kstruct") {
    const struct = val.type.to;
    return {
      struct,
      root: localStruct(fn, struct),
      base: val.v,
      direct: val.type.trust === "trusted",
      path: [],
      off: 0,
    };
  }
  return undefined;
}

/** Whether `val` is a kernel struct (or pointer to one) without a field `name`: nothing is emitted or reported. */
export function lacksKernelField(fn: Fn, val: Val, name: string): boolean {
  const { kernel } = fn.module;
  const t = val.k === "kplace" || val.k === "scalar" || val.k === "place" ? val.type : undefined;
  const struct = t?.k === "kstruct" ? t : t?.k === "ptr" && t.to?.k === "kstruct" ? t.to : undefined;
  return kernel !== undefined && struct !== undefined && kernel.member(struct.id, name) === undefined;
}

/** `val.name` where `val` is a kernel struct or a pointer to one; undefined when it is something else. */
export function kernelMember(fn: Fn, val: Val, name: string, node: Ast): Val | undefined {
  const { kernel } = fn.module;
  const untyped = val.k === "scalar" || val.k === "kplace" || val.k === "place" ? val.type : undefined;
  if (untyped?.k === "ptr" && untyped.to === undefined) return fn.report("BPF4003", node, { what: "the value" });
  const owner = ownerOf(fn, val, node);
  if (owner === undefined || kernel === undefined) return undefined;
  const m = kernel.member(owner.struct.id, name);
  if (m === undefined) {
    return fn.report("BPF2009", node, {
      struct: `struct ${owner.struct.name}`,
      field: name,
      hint: hint(name, kernel.memberNames(owner.struct.id)),
    });
  }
  const steps = m.path.map((s): AccessStep => ({ owner: localById(fn, kernel, s.owner), index: s.index }));
  const type = kernel.typeOf(m.type, owner.direct ? "trusted" : "probe");
  if (type.k === "void") return fn.report("BPF4003", node, { what: `${owner.struct.name}.${name}` });
  return {
    k: "kplace",
    root: owner.root,
    base: owner.base,
    direct: owner.direct,
    path: [...owner.path, ...steps],
    off: owner.off + m.off,
    type,
    btfType: m.type,
    ...(m.bitSize === 0 ? {} : { bits: { bitOffset: m.bitOffset, bitSize: m.bitSize } }),
    ...(owner.dynamic === undefined ? {} : { dynamic: owner.dynamic }),
  };
}

function localById(fn: Fn, kernel: KernelTypes, id: number): LocalType {
  const t = kernel.btf.typeById(id);
  return fn.module.locals.get(id, t.name, t.kind === "union" ? "union" : "struct");
}

/** `val[i]` for an array in the kernel, or behind a typed pointer. */
export function kernelElement(fn: Fn, val: Val, i: Val, e: Extract<Expr, { type: "MemberExpression" }>): Val {
  if (val.k === "kplace" && val.type.k === "array") {
    const { element, length } = val.type;
    const btf = fn.module.kernel?.btf;
    const array = btf?.typeById(fn.module.kernel?.strip(val.btfType) ?? 0);
    const btfType = array?.kind === "array" ? array.type : 0;
    if (i.k === "int") {
      // A flexible array has no length of its own.
      if (i.value < 0n || (length > 0 && i.value >= BigInt(length)))
        return fn.report("BPF2016", e.property, { index: i.value, length });
      const index = Number(i.value);
      return {
        ...val,
        path: [...val.path, { owner: undefined, index }],
        off: val.off + index * sizeOf(element),
        type: element,
        btfType,
      };
    }
    const index = fn.int(i, e.property);
    if (index === undefined) return ERROR;
    const step = fn.b.mul(index, sizeOf(element));
    const dynamic = val.dynamic === undefined ? step : fn.b.add(val.dynamic, step);
    // An offset that changes at run time cannot be checked by the verifier: the element is read with a helper.
    return {
      ...val,
      direct: false,
      path: [...val.path, { owner: undefined, index: 0 }],
      type: element,
      btfType,
      dynamic,
    };
  }
  if (val.k === "kplace" && val.type.k === "char") {
    const index = fn.int(i, e.property);
    if (index === undefined) return ERROR;
    return {
      k: "scalar",
      type: { k: "int", bits: 8, sign: UNSIGNED },
      v: readMemory(fn, "kernel", fn.b.add(fieldAddress(fn, val), index), U8).v,
    };
  }
  const p = val.k === "kplace" ? readKernel(fn, val, e.object) : val;
  if (p.k === "scalar" && p.type.k === "ptr") {
    const { to, space } = p.type;
    if (to === undefined) return fn.report("BPF4003", e.object, { what: "the value" });
    if (space === "unknown") return fn.report("BPF3006", e.object);
    if (to.k === "kstruct") {
      const index = fn.int(i, e.property);
      if (index === undefined) return ERROR;
      return { k: "scalar", type: { ...p.type, trust: "probe" }, v: fn.b.add(p.v, fn.b.mul(index, sizeOf(to))) };
    }
    const element: ScalarType | undefined = to.k === "char" ? U8 : isScalar(to) ? to : undefined;
    const index = fn.int(i, e.property);
    if (index === undefined || element === undefined) return ERROR;
    const at = i.k === "int" && i.value === 0n ? p.v : fn.b.add(p.v, fn.b.mul(index, sizeOf(element)));
    return readMemory(fn, space, at, element);
  }
  return fn.report("BPF2006", e.object, { expected: "an array", found: describe(val) });
}

/** Address of a field: the base plus an offset that the loader sets. */
export function fieldAddress(fn: Fn, place: KernelPlace): Inst {
  const { b } = fn;
  let at = place.base;
  if (place.path.length > 0)
    at = b.add(at, b.core(new FieldAccess(place.root, CORE.FIELD_BYTE_OFFSET, place.path), place.off));
  return place.dynamic === undefined ? at : b.add(at, place.dynamic);
}

/** The value of a kernel field: a register, text to copy, or the place itself for arrays and structs. */
export function readKernel(fn: Fn, place: KernelPlace, node: Ast): Val {
  const { type } = place;
  if (place.bits !== undefined) return readBitField(fn, place);
  if (type.k === "char") {
    return stringAt(fn, "kernel", () => fieldAddress(fn, place), type.length > 0 ? type.length : 64, node);
  }
  if (!isScalar(type)) return place;
  if (!place.direct) return readMemory(fn, "kernel", fieldAddress(fn, place), type);
  const { b } = fn;
  const core = new FieldAccess(place.root, CORE.FIELD_BYTE_OFFSET, place.path);
  const size = sizeOf(type) as Size;
  const signed = (type.k === "int" || type.k === "enum") && type.sign.kind() === "s";
  const pointer = type.k === "ptr" && type.space === "kernel" && type.trust === "trusted";
  const v = b.load(place.base, { size, signed, off: place.off, core, ...(pointer ? { space: "btf" as const } : {}) });
  return { k: "scalar", type, v };
}

/** A bit-field: its storage unit by size, then two shifts; offset, size and shifts are all set by the loader. */
function readBitField(fn: Fn, place: KernelPlace): ScalarVal {
  const { b } = fn;
  const { type } = place;
  const bits = place.bits ?? { bitOffset: 0, bitSize: 0 };
  const unit = isScalar(type) ? sizeOf(type) : 4;
  const access = (kind: number): FieldAccess => new FieldAccess(place.root, kind, place.path);
  const start = Math.floor(bits.bitOffset / 8 / unit) * unit;
  const inUnit = bits.bitOffset - start * 8;
  const shiftLeft = fn.module.littleEndian ? 64 - (inUnit + bits.bitSize) : 64 - unit * 8 + inUnit;
  const address = b.add(place.base, b.core(access(CORE.FIELD_BYTE_OFFSET), start));
  const raw = b.func.slot(8, 8, "bits");
  b.start(raw);
  if (place.direct) {
    const size = b.core(access(CORE.FIELD_BYTE_SIZE), unit);
    const end = b.block("bits.end");
    const sizes = [1, 2, 4, 8] as const;
    const blocks = sizes.map((n) => ({ value: n, to: b.block(`bits.${n}`) }));
    const other = b.block("bits.none");
    b.switch(size, blocks, other);
    sizes.forEach((n, i) => {
      b.at(blocks[i]!.to);
      b.store(b.slotAddr(raw), b.load(address, { size: n }), { size: 8 });
      b.jmp(end);
    });
    b.at(other);
    b.store(b.slotAddr(raw), 0, { size: 8 });
    b.jmp(end);
    b.at(end);
  } else {
    b.store(b.slotAddr(raw), 0, { size: 8 });
    const to = fn.module.littleEndian
      ? b.slotAddr(raw)
      : b.add(b.slotAddr(raw), b.sub(8, b.core(access(CORE.FIELD_BYTE_SIZE), unit)));
    b.helper(BPF_FUNC.probe_read_kernel, [to, b.core(access(CORE.FIELD_BYTE_SIZE), unit), address], {
      clobbers: "none",
      mem: [{ arg: 0, mode: "inout", size: 8 }],
    });
  }
  const signed = (type.k === "int" || type.k === "enum") && type.sign.kind() === "s";
  const left = b.bin("shl", b.load(b.slotAddr(raw), { size: 8 }), b.core(access(CORE.FIELD_LSHIFT_U64), shiftLeft));
  const v = b.bin(signed ? "ashr" : "lshr", left, b.core(access(CORE.FIELD_RSHIFT_U64), 64 - bits.bitSize));
  return {
    k: "scalar",
    type: type.k === "bool" ? BOOL : isScalar(type) ? type : { k: "int", bits: 32, sign: UNSIGNED },
    v,
  };
}
