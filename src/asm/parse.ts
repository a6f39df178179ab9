/**
 * The text assembler. It takes what the kernel prints (verifier logs, `bpftool prog dump
 * xlated`, `disassemble`): slot numbers and "(b7)" in front are skipped, `;` starts a comment.
 * Beyond that:
 *
 * ```text
 * // comment, or # at the start of a line, or ; anywhere
 * start:                            a label, alone or before an instruction
 *     r1 = map[counts]              a map by name           (ref "map")
 *     r2 = map[.data][0]+8          address in its entry 0  (ref "map-value")
 *     r3 = btf[bpf_prog_active]     a kernel variable       (ref "ksym")
 *     r4 = subprog[callback]        address of a label
 *     if r1 s> -5 goto start        labels in place of pc+N; numbers in decimal or hex
 *     call bpf_map_lookup_elem      a helper, with or without "bpf_"; a label; else a kfunc
 *     r5 = 7 ll                     ld_imm64; as in the kernel's text so is any hex: r5 = 0x7
 *     .insn 0xff, 0, 0, 0, 0        any slot: opcode, dst, src, off, imm
 * ```
 */
import type { Diagnostic, Span } from "../core/diagnostic.ts";
import { DiagnosticError } from "../core/errors.ts";
import type { Insn } from "./insn.ts";
import type { Token } from "./lexer.ts";
import { helperId as defaultHelperId, similarHelper } from "./names.ts";
import { StatementParser } from "./parse-insn.ts";
import type { Statement, Symbolic } from "./parse-insn.ts";
import { SyntaxFailure } from "./parse-line.ts";
import * as op from "./opcode.ts";
import type { AsmProgram, AsmRef } from "./refs.ts";

export interface ParseOptions {
  /** Names the text in diagnostics; default "<asm>". */
  readonly file?: string;
  /** Id of a helper by name ("bpf_map_lookup_elem"); default the kernel's. */
  readonly helperId?: (name: string) => number | undefined;
  /** What a name stands for: fd of a map, BTF id of a kernel function or variable. */
  readonly resolve?: (kind: "map" | "kfunc" | "ksym", name: string) => number | undefined;
}

export interface ParsedProgram extends AsmProgram {
  /** Where each slot came from; both slots of an ld_imm64 have one. */
  readonly spans: Span[];
}

/** More errors than this say nothing new. */
const MAX_ERRORS = 20;

/**
 * The instructions of `text`. Names of maps, kernel functions and variables must be known to
 * `options.resolve`; `parseProgram` leaves them open.
 *
 * @throws DiagnosticError (code "ASM") with file, line and column of up to 20 errors.
 * @example
 * parseAsm("r0 = 2\nexit"); // [mov64Imm(0, 2), exit()]
 */
export function parseAsm(text: string, options: ParseOptions = {}): Insn[] {
  const program = parseProgram(text, options);
  const open: Diagnostic[] = [];
  for (const ref of program.refs) {
    const named = nameOf(ref);
    if (named === undefined || options.resolve?.(named.kind, named.name) !== undefined) continue;
    const what = { map: "map", kfunc: "function", ksym: "kernel variable" }[named.kind];
    const similar = named.kind === "kfunc" ? similarHelper(named.name) : undefined;
    const help =
      similar === undefined
        ? "pass `resolve`, or use parseProgram, which leaves names open"
        : `did you mean \`${similar}\`?`;
    const forCall = named.kind === "kfunc" ? "no label or helper has this name" : "nothing says which it is";
    open.push(diagnostic("ASM005", `unknown ${what} \`${named.name}\`: ${forCall}`, program.spans[ref.insn]!, help));
    if (open.length === MAX_ERRORS) break;
  }
  if (open.length > 0) throw new DiagnosticError("ASM", open);
  return program.insns;
}

function nameOf(ref: AsmRef): { kind: "map" | "kfunc" | "ksym"; name: string } | undefined {
  switch (ref.kind) {
    case "map":
    case "map-value":
      return { kind: "map", name: ref.map };
    case "kfunc":
    case "ksym":
      return { kind: ref.kind, name: ref.name };
    default:
      return undefined;
  }
}

/**
 * As `parseAsm`, but names stay as `refs`: of maps, kernel functions and variables that
 * `options.resolve` does not know, the instructions hold 0.
 *
 * @throws DiagnosticError (code "ASM").
 */
export function parseProgram(text: string, options: ParseOptions = {}): ParsedProgram {
  return new Parser(options).run(text);
}

interface Pending {
  readonly slot: number;
  readonly symbolic: Symbolic;
  readonly span: Span;
}

class Parser {
  readonly #options: ParseOptions;
  readonly #file: string;
  readonly #insns: Insn[] = [];
  readonly #spans: Span[] = [];
  readonly #labels = new Map<string, number>();
  readonly #pending: Pending[] = [];
  readonly #refs: AsmRef[] = [];
  readonly #errors: Diagnostic[] = [];

  constructor(options: ParseOptions) {
    this.#options = options;
    this.#file = options.file ?? "<asm>";
  }

  run(text: string): ParsedProgram {
    let line = 0;
    for (let at = 0; at <= text.length && this.#errors.length < MAX_ERRORS;) {
      let end = text.indexOf("\n", at);
      if (end < 0) end = text.length;
      this.#line(text.slice(at, end), ++line);
      at = end + 1;
    }
    for (const pending of this.#pending) {
      if (this.#errors.length >= MAX_ERRORS) break;
      this.#resolve(pending);
    }
    if (this.#errors.length > 0) throw new DiagnosticError("ASM", this.#errors);
    return { insns: this.#insns, refs: this.#refs, labels: this.#labels, spans: this.#spans };
  }

  #line(text: string, line: number): void {
    try {
      const parser = new StatementParser(text, this.#options.helperId ?? defaultHelperId);
      for (let label = parser.label(); label !== undefined; label = parser.label()) this.#define(label, line);
      if (parser.atEnd) return;
      const first = parser.token;
      const statement = parser.statement();
      this.#emit(statement, this.#span(line, first.start, parser.lastEnd), line);
    } catch (error) {
      if (!(error instanceof SyntaxFailure)) throw error;
      this.#fail(error.code, error.message, this.#span(line, error.start, error.end), error.help);
    }
  }

  #define(label: Token, line: number): void {
    if (this.#labels.has(label.text)) {
      this.#fail("ASM004", `label \`${label.text}\` is defined twice`, this.#span(line, label.start, label.end));
      return;
    }
    this.#labels.set(label.text, this.#insns.length);
  }

  #emit(statement: Statement, span: Span, line: number): void {
    const slot = this.#insns.length;
    for (const insn of statement.insns) {
      this.#insns.push(insn);
      this.#spans.push(span);
    }
    const { symbolic } = statement;
    if (symbolic === undefined) return;
    this.#pending.push({ slot, symbolic, span: this.#span(line, symbolic.at.start, symbolic.at.end) });
  }

  #resolve({ slot, symbolic, span }: Pending): void {
    const insn = this.#insns[slot]!;
    switch (symbolic.kind) {
      case "offset":
        // A number for a target: only calls and callbacks leave a trace of it.
        this.#target(slot, slot + insn.imm + 1);
        return;
      case "map": {
        const { name, offset } = symbolic;
        this.#refs.push(
          offset === undefined
            ? { kind: "map", insn: slot, map: name }
            : { kind: "map-value", insn: slot, map: name, offset },
        );
        this.#patchImm(slot, this.#options.resolve?.("map", name), span);
        return;
      }
      case "ksym":
        this.#refs.push({ kind: "ksym", insn: slot, name: symbolic.name });
        this.#patchImm(slot, this.#options.resolve?.("ksym", symbolic.name), span);
        return;
      case "call":
        if (!this.#labels.has(symbolic.name)) {
          this.#call(slot, symbolic.name, span);
          return;
        }
        this.#insns[slot] = { ...insn, src: op.BPF_PSEUDO_CALL };
        this.#jump(slot, symbolic.name, "imm", span);
        return;
      case "label":
        this.#jump(slot, symbolic.name, symbolic.field, span);
    }
  }

  #call(slot: number, name: string, span: Span): void {
    const helperId = this.#options.helperId ?? defaultHelperId;
    const id = helperId(name) ?? helperId(`bpf_${name}`);
    if (id !== undefined) {
      this.#patchImm(slot, id, span);
      return;
    }
    this.#insns[slot] = { ...this.#insns[slot]!, src: op.BPF_PSEUDO_KFUNC_CALL };
    this.#refs.push({ kind: "kfunc", insn: slot, name });
    this.#patchImm(slot, this.#options.resolve?.("kfunc", name), span);
  }

  #patchImm(slot: number, value: number | undefined, span: Span): void {
    if (value === undefined) return;
    if ((value | 0) !== value) {
      this.#fail("ASM002", `\`resolve\` gave ${String(value)}, expected a 32-bit signed integer`, span);
      return;
    }
    this.#insns[slot] = { ...this.#insns[slot]!, imm: value };
  }

  #jump(slot: number, label: string, field: "off" | "imm", span: Span): void {
    const target = this.#labels.get(label);
    if (target === undefined) {
      this.#fail("ASM003", `unknown label \`${label}\``, span, `define it with \`${label}:\`, or write pc+N`);
      return;
    }
    const insn = this.#insns[slot]!;
    const off = target - slot - 1;
    if (field === "off" && (off << 16) >> 16 !== off) {
      this.#fail(
        "ASM006",
        `\`${label}\` is ${off} slots away, a 16-bit offset reaches -32768 to 32767`,
        span,
        "use gotol",
      );
      return;
    }
    this.#insns[slot] = field === "off" ? { ...insn, off } : { ...insn, imm: off };
    this.#target(slot, target);
  }

  #target(slot: number, target: number): void {
    const { opcode, src } = this.#insns[slot]!;
    if (opcode === op.LD_IMM64) this.#refs.push({ kind: "func", insn: slot, target });
    else if (opcode === (op.BPF_JMP | op.BPF_CALL) && src === op.BPF_PSEUDO_CALL) {
      this.#refs.push({ kind: "subprog", insn: slot, target });
    }
  }

  #span(line: number, start: number, end: number): Span {
    return { file: this.#file, line, col: start + 1, endLine: line, endCol: Math.max(end, start) + 1 };
  }

  #fail(code: string, message: string, span: Span, help?: string): void {
    this.#errors.push(diagnostic(code, message, span, help));
  }
}

function diagnostic(code: string, message: string, span: Span, help?: string): Diagnostic {
  return { code, severity: "error", message, labels: [{ span }], notes: [], ...(help === undefined ? {} : { help }) };
}
