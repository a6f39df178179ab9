/**
 * What an expression is while it is compiled. Only `scalar` is a register; the
 * others are places, compile-time constants, or things that still have to be
 * put somewhere (a string from a helper, an object literal).
 */
import type { Block, Cond, Inst, Slot } from "../ir/ir.ts";
import type { ConstInt } from "./fold.ts";
import type { AccessStep, LocalStruct } from "./local-types.ts";
import type { PointerType, ScalarType, Type } from "./types.ts";
import type { Ast, FunctionNode } from "./ast.ts";
import type { FunctionSource } from "./source.ts";
import type { Scope } from "./scope.ts";

/** An integer known at compile time. `type` is set once a cast gave it a width. */
export interface IntConst extends ConstInt {
  readonly k: "int";
  readonly type: ScalarType | undefined;
}
/** Another JavaScript value known at compile time. */
export interface JsConst {
  readonly k: "js";
  readonly value: string | boolean | null | undefined;
}
/** A value in a register. */
export interface ScalarVal {
  readonly k: "scalar";
  readonly type: ScalarType;
  readonly v: Inst;
  /** The value is between 0 and this, when the source makes that plain. */
  readonly max?: bigint;
}

export type PlaceSpace = "stack" | "map" | "mem" | "global" | "ctx" | "packet" | "btf";

/** A location in memory that a program may load from directly. */
export interface PlaceVal {
  readonly k: "place";
  readonly type: Exclude<Type, { k: "void" }>;
  readonly base: Inst;
  readonly off: number;
  readonly space: PlaceSpace;
  /** Why it cannot be written, as in "a context"; undefined when it can. */
  readonly readonly?: string;
  readonly invariant?: boolean;
  /** Run-time indices: each adds `index * scale` bytes when `index < length`; outside, reads give 0 and writes do nothing. */
  readonly indices?: readonly PlaceIndex[];
  /** What `base` is aligned to, when that is less than 8. */
  readonly align?: 1 | 2 | 4 | 8;
  /** An object whose `.value` is this place (`map.ref(k)`, globals). */
  readonly ref?: boolean;
}
export interface PlaceIndex {
  readonly index: Inst;
  readonly scale: number;
  readonly length: number;
}

/** A location in kernel memory, reached from a BTF pointer by a chain of fields: one relocation. */
export interface KernelPlace {
  readonly k: "kplace";
  /** What the chain starts from. */
  readonly root: LocalStruct;
  readonly base: Inst;
  readonly direct: boolean;
  /** Members and constant array indices so far. */
  readonly path: readonly AccessStep[];
  /** Bytes from `base` in the given BTF. */
  readonly off: number;
  readonly type: Exclude<Type, { k: "void" }>;
  /** Set for a bit-field. */
  readonly bits?: { readonly bitOffset: number; readonly bitSize: number };
  /** A run-time index into an array: bytes added to the address after relocation. */
  readonly dynamic?: Inst;
  /** BTF id of the field's type. */
  readonly btfType: number;
}

/** What a look-up gives: a place, or undefined when `ptr` is null. */
export interface OptVal {
  readonly k: "opt";
  readonly ptr: Inst;
  readonly inner: PlaceVal;
  /** What may be undefined, for messages. */
  readonly what: string;
  /** What it is once it is known to be defined, when that is not `inner`. */
  readonly value?: BuiltinVal;
  /** Defined when this comparison holds, instead of when `ptr` is not null (packet data: the end is inside). */
  readonly test?: { readonly cond: Cond; readonly a: Inst; readonly b: Inst };
}

/** A string that a helper writes where it is wanted. */
export interface StringVal {
  readonly k: "string";
  readonly what: string;
  /** Bytes it needs when nothing else says so. */
  readonly length: number;
  /** Writes at most `length` bytes to `dst` and a NUL; gives the helper's result where it has one. */
  readonly write: (dst: Inst, length: number) => Inst | undefined;
  /** At most this many bytes, whatever the place has room for. */
  readonly limit?: number;
}

/** `{ a, b }` or `[a, b]` that has no place of its own. */
export interface RecordVal {
  readonly k: "record";
  readonly fields: ReadonlyMap<string, Val>;
  readonly tuple: boolean;
}

/** A captured JavaScript object: map, global, schema, configuration. */
export interface HandleVal {
  readonly k: "handle";
  readonly name: string;
  readonly value: object;
}
/** A function of the user's: captured, or written inside the probe. */
export interface FunctionVal {
  readonly k: "function";
  readonly name: string;
  readonly node: FunctionNode;
  readonly source: FunctionSource;
  /** Scope of a local closure; undefined for captured functions. */
  readonly scope: Scope | undefined;
}
/** Something with compiled-in behaviour: `bpf`, `ctx`, `bpf.pid`, `events.emit`. */
export interface BuiltinVal {
  readonly k: "builtin";
  readonly what: string;
  /** `value.name` */
  readonly member?: (name: string, node: Ast) => Val | undefined;
  /** Names that `member` knows, for hints. */
  readonly members?: () => readonly string[];
  readonly call?: (args: readonly Ast[], node: Ast) => Val;
  /** The address of what it stands for, where helpers take one. */
  readonly pointer?: Inst;
}
/** `range(…)`. */
export interface RangeVal {
  readonly k: "range";
  readonly from: Val;
  readonly to: Val;
  readonly step: bigint;
}
/** An open-coded iterator of the kernel: `bpf.tasks()`. */
export interface IterVal {
  readonly k: "iter";
  readonly what: string;
  /** Kernel functions `<name>_new`, `_next`, `_destroy`. */
  readonly name: string;
  /** Bytes of its state on the stack. */
  readonly size: number;
  readonly args: readonly (Inst | number)[];
  readonly item: PointerType;
  /** What it gives is the integer of this type behind the pointer. */
  readonly value: ScalarType | undefined;
  /** It needs the RCU read lock. */
  readonly rcu: boolean;
}
export interface VoidVal {
  readonly k: "void";
}
/** Something already reported; swallows what is done with it. */
export interface ErrorVal {
  readonly k: "error";
}

export type Val =
  | IntConst
  | JsConst
  | ScalarVal
  | PlaceVal
  | KernelPlace
  | OptVal
  | StringVal
  | RecordVal
  | HandleVal
  | FunctionVal
  | BuiltinVal
  | RangeVal
  | IterVal
  | VoidVal
  | ErrorVal;

export const NOTHING: VoidVal = { k: "void" };
export const ERROR: ErrorVal = { k: "error" };
export const UNDEFINED: JsConst = { k: "js", value: undefined };

/** A variable or parameter of the probe. */
export interface Sym {
  readonly name: string;
  readonly mutable: boolean;
  /** What the name stands for; for a variable in a slot, see `slot`. */
  val: Val;
  /** A `let`: where its value (or its pointer) lives. */
  readonly slot?: VariableSlot;
}
export type VariableSlot =
  | { readonly k: "scalar"; readonly slot: Slot; readonly type: ScalarType }
  /** A reference: the slot holds the address of a `type`; nullable until checked. */
  | {
      readonly k: "ref";
      readonly slot: Slot;
      readonly inner: PlaceVal;
      readonly nullable: boolean;
      readonly what: string;
    }
  /** A copied scalar that may be undefined: one slot says whether it is there. */
  | {
      readonly k: "maybe";
      readonly slot: Slot;
      readonly present: Slot;
      readonly type: ScalarType;
      readonly what: string;
    };

/** What is known to be defined at this point of the program: a `maybe`/`opt` symbol and, where loaded, its value. */
export type Facts = ReadonlyMap<Sym, ScalarVal | true>;

export interface JumpTarget {
  readonly label: string | undefined;
  readonly breakTo: Block;
  readonly continueTo: Block | undefined;
  /** Gives back what the loop holds, before a jump to somewhere further out. */
  readonly leave?: () => void;
}

export type { PointerType };
