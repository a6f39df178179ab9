/**
 * What the editor knows of the running kernel. `bpfkit types` writes a `vmlinux.d.ts` that
 * fills these interfaces in; without it they are empty and kernel values are loosely typed
 * (the compiler still checks every field against BTF).
 */

/** Structs and unions by C tag. Filled in by `vmlinux.d.ts`. */
export interface KernelStructs {}
/** Arguments of tracepoints by "category:name". Filled in by `vmlinux.d.ts`. */
export interface Tracepoints {}
/** Arguments of BTF tracepoints by name. Filled in by `vmlinux.d.ts`. */
export interface TpBtf {}
/** Arguments of kernel functions by name: `{ args, ret }`. Filled in by `vmlinux.d.ts`. */
export interface KernelFunctions {}
/** Arguments of LSM hooks by name (without `bpf_lsm_`). Filled in by `vmlinux.d.ts`. */
export interface LsmHooks {}
/** Contexts of BPF iterators by target ("task", "bpf_map", …). Filled in by `vmlinux.d.ts`. */
export interface IterTargets {}
/** Kernel functions that programs may call, by name. Filled in by `vmlinux.d.ts`. */
export interface Kfuncs {}

/** A kernel value whose type the editor does not know; the compiler does. */
export interface Loose {
  // The compiler checks the field against the kernel's BTF; `unknown` would force a cast at every use.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly [field: string]: any;
}

declare const pointee: unique symbol;
/** An address of a `T` that is not followed by writing `.field`: text, buffers, user memory. */
export interface Pointer<T = unknown> {
  readonly [pointee]?: T;
  /** `p[i]`, as in C. */
  readonly [index: number]: unknown extends T ? Loose : T extends "char" ? number : T;
}
/** The address of NUL-terminated text. */
export type CString = Pointer<"char">;

/** True when `vmlinux.d.ts` has not filled `T` in. */
type Empty<T> = [keyof T] extends [never] ? true : false;
type NamesOf<T, Otherwise extends string> = Empty<T> extends true ? Otherwise : keyof T & string;
type MemberOf<T, N> = N extends keyof T ? T[N] : Loose;

/** `struct task_struct` as the editor knows it. */
export type KernelStruct<N extends string> = MemberOf<KernelStructs, N>;

export type TracepointName = NamesOf<Tracepoints, `${string}:${string}`>;
export type TracepointContext<N extends string> = MemberOf<Tracepoints, N>;

export type TpBtfName = NamesOf<TpBtf, string>;
export type TpBtfContext<N extends string> = MemberOf<TpBtf, N>;

/** Kernel functions are too many to require: any name is accepted, known ones are typed. */
export type FunctionContext<N extends string> = N extends keyof KernelFunctions
  ? KernelFunctions[N] extends { args: infer A }
    ? A
    : Loose
  : Loose;

export type LsmName = NamesOf<LsmHooks, string>;
export type LsmContext<N extends string> = MemberOf<LsmHooks, N>;

export type IterName = NamesOf<IterTargets, string>;
export type IterContext<N extends string> = MemberOf<IterTargets, N>;
