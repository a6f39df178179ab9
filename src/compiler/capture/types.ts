/**
 * What capturing a function gives to the front end, and what the host (Node, a
 * browser) hands in so that it can: the compiler itself imports nothing from Node.
 */
import type { Diagnostic, Span } from "../../core/diagnostic.ts";
import type { Ast, FunctionNode } from "../syntax/ast.ts";

/** A name that a function uses and does not declare. */
export type Resolved =
  | { readonly k: "value"; readonly value: unknown }
  /** `why` completes "'name' cannot be captured: …"; `instead` says what to do; `code` tells the causes apart. */
  | { readonly k: "refused"; readonly code: CaptureCode; readonly why: string; readonly instead: string }
  | { readonly k: "unknown" };

/** The original source (TypeScript, with types) of one function, and the values of the names it uses. */
export interface CapturedFunction {
  /** The function's own name, else "". */
  readonly name: string;
  readonly node: FunctionNode;
  /** Path of the source file as shown to the user, relative to the working directory where it is below it. */
  readonly file: string;
  /** The whole text of that file. */
  readonly text: string;
  /** Lines and columns of a node of this function. */
  span(node: Ast): Span;
  /** Text of line `line` (from 1) of the file. */
  line(line: number): string;
  /** The value of `name` as it is now, where `node` uses it. Names the function declares itself must not be asked for. */
  resolve(name: string, node: Ast): Resolved;
}

export type CaptureResult =
  | { readonly ok: true; readonly fn: CapturedFunction }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] };

/** Captures any JavaScript function: a program's body, or a function that another captured one uses. */
export interface Capture {
  /**
   * @param site where a handle with this function was declared, if there is one
   */
  capture(
    fn: (...args: never[]) => unknown,
    site?: { readonly url: string; readonly line: number; readonly col: number },
  ): CaptureResult;
}

/** Causes why a function or a value cannot be captured. */
export type CaptureCode = keyof typeof CAPTURE_MESSAGES;

export const CAPTURE_MESSAGES = {
  BPF7001: "the source of this function cannot be found",
  BPF7002: "the file was changed since it was loaded",
  BPF7003: "the source cannot be parsed",
  BPF7004: "a bound or native function has no source to compile",
  BPF7005: "`this` cannot be used in a program",
  BPF7006: "private members cannot be used in a program",
  BPF7007: "the variable is reassigned",
  BPF7008: "the value is undefined",
  BPF7009: "the variable is not initialised yet",
  BPF7010: "the values that this function uses cannot be read in this process",
  BPF7011: "this kind of function cannot be compiled",
} as const;

/** Where a function begins in the text that runs: line and column from 0. `script` tells scripts apart. */
export interface FunctionLocation {
  readonly script: string;
  readonly line: number;
  readonly col: number;
}

/** The values that a function's scopes hold, innermost scope first. */
export interface FunctionScopes {
  /** `found: false` when no closure keeps the name; `uninitialised` in the temporal dead zone. */
  lookup(
    name: string,
  ): { readonly found: true; readonly value: unknown } | { readonly found: false; readonly uninitialised?: boolean };
}

/** A module that bpfkit loaded itself, from its TypeScript source: positions are the same in the text that runs. */
export interface LoadedModule {
  readonly url: string;
  /** The TypeScript source. */
  readonly text: string;
  /** The text that runs: the source with its types blanked, then the thunk. */
  readonly code: string;
  /** Value of a module-level name, now; throws ReferenceError in the temporal dead zone; undefined result for unknown names. */
  readonly lookup: (name: string) => { readonly value: unknown } | undefined;
}

/** What the host provides. Everything is optional in effect: what is missing makes a Diagnostic that says so. */
export interface CaptureHost {
  /** Modules loaded by bpfkit, by URL. */
  module(url: string): LoadedModule | undefined;
  modules(): Iterable<LoadedModule>;
  /** Text of a file by file: URL or path; undefined when it cannot be read. */
  readText(url: string): string | undefined;
  /** The source map (version 3 JSON, parsed) that the engine knows for a script, if any. */
  sourceMap(url: string): unknown;
  /** How to show a file to the user. */
  displayPath(url: string): string;
  /** Function locations and scopes from the engine's inspector; undefined where there is none (`--permission`, browsers). */
  readonly inspector: Inspector | undefined;
}

export interface Inspector {
  locate(fn: (...args: never[]) => unknown): FunctionLocation | undefined;
  scopes(fn: (...args: never[]) => unknown): FunctionScopes | undefined;
  /** URL and text of a script: slow (walks every script once), asked for only when nothing else tells. */
  script(id: string): { readonly url: string; readonly text: string; readonly sourceMapUrl: string } | undefined;
}
