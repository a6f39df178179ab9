/** One value from several ways through the program: branches of a condition, returns of a function. */
import type { Inst, Slot } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import { sameLayout } from "./memory.ts";
import { irSpace } from "./place.ts";
import { placeAlign } from "./strings.ts";
import { commonType, isScalar, sizeOf } from "./types.ts";
import type { ScalarType } from "./types.ts";
import type { OptVal, PlaceVal, Val } from "./value.ts";
import { ERROR, NOTHING, UNDEFINED } from "./value.ts";

/** What is expected where a value of another kind came. */
const EXPECTED = "a number, boolean, struct or text known at compile time";

export class Merge {
  readonly #fn: Fn;
  readonly #what: string;
  /** The value, or the address of the struct. */
  readonly #value: Slot;
  /** Whether a number is there at all. */
  readonly #present: Slot;
  #type: ScalarType | undefined;
  #place: PlaceVal | undefined;
  #fields: ReadonlyMap<string, Merge> | undefined;
  #tuple = false;
  /** It is undefined on some way. */
  #empty = false;
  #nullable = false;
  #first: Val | undefined;
  #failed = false;

  /** Begins in the block that comes before every way. `what` says in messages what may be undefined. */
  constructor(fn: Fn, what: string) {
    const { b } = fn;
    this.#fn = fn;
    this.#what = what;
    this.#value = b.func.slot(8, 8, "value");
    this.#present = b.func.slot(8, 8, "present");
    b.start(this.#value);
    b.start(this.#present);
    this.#begin();
  }

  /** What is not given on some way is undefined: null. */
  #begin(): void {
    const { b } = this.#fn;
    b.store(b.slotAddr(this.#value), 0, { size: 8 });
    b.store(b.slotAddr(this.#present), 0, { size: 8 });
  }

  /** Takes the value of the way that is being compiled. */
  give(val: Val, node: Ast): void {
    const fn = this.#fn;
    const v = val.k === "opt" || val.k === "string" ? val : fn.settle(val, node);
    if (v.k === "error") this.#failed = true;
    else if (v.k === "void" || (v.k === "js" && (v.value === undefined || v.value === null))) this.#empty = true;
    else if (v.k === "record") this.#record(v.fields, v.tuple, v, node);
    else if (v.k === "opt") this.#optional(v, node);
    else if (v.k === "place" && v.indices === undefined) this.#reference(v, v, node);
    else {
      const s = fn.held(v, node, EXPECTED);
      if (s === undefined) this.#failed = true;
      else this.#scalar(s.type, s.v, v, node);
    }
  }

  /** The value, in the block where every way has come together. */
  result(node: Ast, nothingIsFalse = false): Val {
    const { b } = this.#fn;
    if (this.#failed) return ERROR;
    if (this.#fields !== undefined) {
      if (this.#empty) return this.#differ(UNDEFINED, node);
      const fields = new Map([...this.#fields].map(([name, m]) => [name, m.result(node)]));
      return { k: "record", tuple: this.#tuple, fields };
    }
    if (this.#place !== undefined) {
      const base = b.load(b.slotAddr(this.#value), { size: 8, space: irSpace(this.#place) });
      const inner: PlaceVal = { ...this.#place, base, off: 0 };
      return this.#nullable || this.#empty ? { k: "opt", ptr: base, inner, what: this.#what } : inner;
    }
    const type = this.#type;
    if (type === undefined) return UNDEFINED;
    if ((this.#nullable || this.#empty) && !(nothingIsFalse && type.k === "bool")) return this.#maybe(type);
    const pointer = type.k === "ptr" && type.space === "kernel";
    const v = b.load(b.slotAddr(this.#value), { size: 8, ...(pointer ? { space: "btf" as const } : {}) });
    return { k: "scalar", type, v };
  }

  /** A number that may be undefined; null where it is a pointer. */
  #maybe(type: ScalarType): Val {
    const { b, module } = this.#fn;
    if (type.k === "ptr")
      return {
        k: "scalar",
        type: { ...type, nullable: type.nullable ?? this.#what },
        v: b.load(b.slotAddr(this.#value), { size: 8, ...(type.space === "kernel" ? { space: "btf" as const } : {}) }),
      };
    const wide: ScalarType = type.k === "int" ? { k: "int", bits: 64, sign: type.sign } : type;
    const off = module.littleEndian ? 0 : 8 - sizeOf(wide);
    const inner: PlaceVal = { k: "place", type: wide, base: b.slotAddr(this.#value), off, space: "stack" };
    return { k: "opt", ptr: b.load(b.slotAddr(this.#present), { size: 8 }), inner, what: this.#what };
  }

  #scalar(type: ScalarType, v: Inst, val: Val, node: Ast): void {
    const common = this.#type === undefined ? type : commonType(this.#type, type);
    if (common === undefined || this.#place !== undefined || this.#fields !== undefined)
      return void this.#differ(val, node);
    this.#type = common;
    this.#first ??= val;
    const { b } = this.#fn;
    b.store(b.slotAddr(this.#value), v, { size: 8 });
    b.store(b.slotAddr(this.#present), 1, { size: 8 });
  }

  #optional(v: OptVal, node: Ast): void {
    const fn = this.#fn;
    const { b } = fn;
    if (v.value !== undefined) return void this.#differ(v, node);
    this.#nullable = true;
    const there = b.block("defined");
    const end = b.block("taken");
    fn.branchDefined(v, there, end);
    b.at(there);
    if (isScalar(v.inner.type) && v.inner.ref !== true) {
      const s = fn.settle(v.inner, node);
      if (s.k === "scalar") this.#scalar(s.type, s.v, v, node);
    } else {
      this.#reference(v.inner, v, node);
    }
    b.jmp(end);
    b.at(end);
  }

  #reference(place: PlaceVal, val: Val, node: Ast): void {
    const { b } = this.#fn;
    const known = this.#place;
    if (this.#type !== undefined || this.#fields !== undefined || (known !== undefined && !alike(known, place)))
      return void this.#differ(val, node);
    const { indices: _, ...plain } = place;
    const align = Math.min(placeAlign(this.#fn, place), known?.align ?? 8) as 1 | 2 | 4 | 8;
    this.#place = known === undefined ? { ...plain, align } : { ...known, align, ...readonly(known, place) };
    this.#first ??= val;
    b.store(b.slotAddr(this.#value), place.off === 0 ? place.base : b.add(place.base, place.off), { size: 8 });
  }

  #record(fields: ReadonlyMap<string, Val>, tuple: boolean, val: Val, node: Ast): void {
    const fn = this.#fn;
    if (this.#type !== undefined || this.#place !== undefined) return void this.#differ(val, node);
    if (this.#fields === undefined) {
      this.#fields = new Map([...fields.keys()].map((name) => [name, new Merge(fn, `the field ${name}`)]));
      this.#tuple = tuple;
      this.#first ??= val;
    } else if (tuple !== this.#tuple || fields.size !== this.#fields.size) {
      return void this.#differ(val, node);
    }
    for (const [name, field] of fields) {
      const into = this.#fields.get(name);
      if (into === undefined) return void this.#differ(val, node);
      into.#begin();
      into.give(field, node);
    }
  }

  #differ(v: Val, node: Ast): Val {
    this.#failed = true;
    return this.#fn.report("BPF1016", node, { first: describe(this.#first ?? NOTHING), second: describe(v) });
  }
}

/** Whether one reference can stand for both. */
function alike(a: PlaceVal, b: PlaceVal): boolean {
  const lasting = (p: PlaceVal): boolean => p.space === "map" || p.space === "global";
  return (a.space === b.space || (lasting(a) && lasting(b))) && a.ref === b.ref && sameLayout(a.type, b.type);
}

/** A reference to either may be written where both may. */
function readonly(a: PlaceVal, b: PlaceVal): Pick<PlaceVal, "readonly"> {
  const why = a.readonly ?? b.readonly;
  return why === undefined ? {} : { readonly: why };
}
