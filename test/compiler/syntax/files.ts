import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../../..");

/** Real TypeScript to parse: this project's own sources, by path. */
export function ownSources(): Map<string, string> {
  const files = new Map<string, string>();
  const visit = (dir: string): void => {
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      const path = join(dir, entry.name);
      if (entry.isDirectory()) visit(path);
      else if (entry.name.endsWith(".ts")) files.set(relative(root, path), readFileSync(path, "utf8"));
    }
  };
  for (const folder of [
    "src/core",
    "src/probe",
    "src/asm",
    "src/btf",
    "src/elf",
    "src/compiler",
    "src/load",
    "src/syscall",
  ])
    visit(join(root, folder));
  return files;
}

/** Constructs that our own sources do not have. */
export const SNIPPETS: readonly string[] = [
  "const f = <T,>(a?: number, { b }: { b: T } = {} as never, ...rest: T[]): a is number => (b as unknown as number)! satisfies number;",
  "class A<T> extends Map<T, string> implements Iterable<T> { private readonly x?: number = 1; declare z: T; y!: string; static override m<U>(this: A<U>, a: U): a is U { return a as never; } [k: string]: unknown; get g(): number { return 1; } set g(v: number) {} async *it<V>(): AsyncGenerator<V> {} }",
  "abstract class Q<in out T> { abstract foo(): void; abstract bar: number; protected constructor(private_: number) {} readonly [Symbol.iterator] = 1; public ['computed'](): void {} }",
  "function f(a: number): void; function f(a: string): void; function f(a: unknown): void {}",
  "export default interface X { a: 1 }",
  "export type { A } from 'a'; import type B from 'b'; import { type C, d } from 'c'; import e, { type F } from 'e'; export { type G, h } from 'g'; export type * from 'i'; d; e; export const j = 1;",
  "type A = B extends infer C ? C : never; interface D<T> { (x: T): void; new (x: T): D<T>; readonly [K: string]: T } declare const z: A; declare function g(): void; declare module 'x' { const y: number }",
  "let x = <any>z, y = z!.a!.b![0]!, w = f<string>(1), v = new G<number>(2), u = a < b, t = f<T>, s = a ? (b as C) : d;",
  "const g = async <T>(x: T): Promise<T> => x; const h = async (x: number) => x as unknown; label: for (const i of [1] as const) break label;",
  "const a = 1 as const\n;[1].map((x) => x)",
  "const a = b as any\n(1, 2)",
  "type X = 1\n(function () {})()",
  "const k = (\n  a: number,\n): {\n  x: 1\n} => ({ x: 1 });",
  "const o = { m<T>(this: O, a: T): T { return a }, get p(): number { return 1 }, async q() {}, [`k${1}` as string]: 1 as number };",
  "for (const x of xs as number[]) { if (x satisfies number) continue; switch (x as 1) { case 1 as 1: break } } try {} catch (e: unknown) { throw e as Error }",
  "const enumLike = { A: 0 } as const; type E = (typeof enumLike)[keyof typeof enumLike]; export { enumLike as default, type E };",
  "import json from './a.json' with { type: 'json' }; const t = `a ${x as string} b ${`c ${y!}`}`; json; accessor; let of: number = 1;",
  "interface I<T> { m<const U extends readonly T[]>(u: U): U; <const V, W>(v: V): W; new <const X>(x: X): X } type J = { n?<const U>(u: U): void };",
  "(a as any) = 1; [(b as any)] = [1]; (c!).d = 2; (e satisfies X).f++; for ((g as any).h of i) {} for (const [k, v] of Object.entries(m) as [string, number][]) {}",
  "function assertIsString(val: any): asserts val is string {} function h(this: Window) {} function i(this: Window, a: number) {}",
  "const big = 0xffff_ffff_ffff_ffffn, re = /a(?<n>b)/v, nul = a ?? b?.c?.[d]?.(e), opt = (a?.b)!.c;",
  "var v1: number, v2: string = '', [d1, d2]: [number, string?] = [1], { e1, ...e2 }: Record<string, number> = {};",
];
