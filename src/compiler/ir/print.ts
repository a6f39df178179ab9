/**
 * IR as text, for tests and `--explain`. `parse.ts` reads the same text:
 *
 * ```text
 * func @main(%0: ptr ctx) entry {
 *   slot $key 4 align 4
 * entry:
 *   %1 = load.u32 %0 + 16 : ptr packet
 *   %2 = add %1, 14
 *   store.u32 $key + 0, %2
 *   %3 = call helper 1(map "hits", $key) : ptr map-value nullable [in 1 4]
 *   br.eq %3, 0, none, some
 * none:
 *   ret 0
 * some:
 *   %4 = atomic.fetch.add.u64 %3 + 0, 1
 *   ret %4
 * }
 * ```
 *
 * Leaves are written where they are used: integers, `$slot`, `map "m"`, `mapval "m" 8`, `ksym "s"`,
 * `func @f`, `null`, `undef`, `core 5 "task_struct" "0:3" = 12`.
 */
import type { Block, CoreAccess, Edge, Func, Inst, Module } from "./ir.ts";
import { isBinOp, isLeaf } from "./ir.ts";

export function printModule(m: Module): string {
  return m.funcs.map(printFunc).join("\n");
}

/** The function's text; values are renumbered in order of appearance. */
export function printFunc(f: Func): string {
  const p = new Printer();
  const params = f.params.map((v) => `${p.def(v)}: ${typeText(v)}`).join(", ");
  const flags = [
    f.kind as string,
    ...(f.inline === undefined ? [] : [`inline=${f.inline}`]),
    ...(f.returns ? [] : ["void"]),
  ];
  const lines = [`func @${f.name}(${params}) ${flags.join(" ")} {`];
  for (const s of f.slots) lines.push(`  slot $${s.name} ${s.size} align ${s.align}`);
  for (const b of f.blocks) {
    const bp = b.params.map((v) => `${p.def(v)}: ${typeText(v)}`).join(", ");
    const attrs = (b.unroll === undefined ? "" : ` unroll=${b.unroll}`) + (b.cold ? " cold" : "");
    lines.push(`${b.name}${bp === "" ? "" : `(${bp})`}:${attrs}`);
    for (const i of b.insts) if (!isLeaf(i.op)) lines.push(`  ${p.inst(i)}`);
    if (b.term !== undefined) lines.push(`  ${p.term(b.term)}`);
  }
  lines.push("}", "");
  return lines.join("\n");
}

/** One instruction's text with its own id, for messages. */
export function printInst(i: Inst): string {
  const p = new Printer(true);
  return i.edges.length > 0 || i.type === "void" ? p.any(i) : p.inst(i);
}

function typeText(v: Inst): string {
  return v.type === "ptr" ? (v.space === "unknown" ? "ptr" : `ptr ${v.space}`) : v.type;
}
function sizeText(i: Inst): string {
  return `${i.signed ? "s" : "u"}${i.size * 8}`;
}
function coreText(c: CoreAccess): string {
  return `${c.kind} ${JSON.stringify(c.type.name)} ${JSON.stringify(c.access)}`;
}
function addr(p: string, off: number): string {
  return `${p} ${off < 0 ? "-" : "+"} ${Math.abs(off)}`;
}

class Printer {
  readonly #names = new Map<Inst, number>();
  readonly #ids: boolean;
  constructor(ids = false) {
    this.#ids = ids;
  }

  def(i: Inst): string {
    if (this.#ids) return `%${i.id}`;
    let n = this.#names.get(i);
    if (n === undefined) {
      n = this.#names.size;
      this.#names.set(i, n);
    }
    return `%${n}`;
  }
  use(i: Inst): string {
    switch (i.op) {
      case "const":
        return i.type === "ptr" && i.value === 0n ? "null" : String(i.value);
      case "undef":
        return i.type === "ptr" ? "undef ptr" : "undef";
      case "slot":
        return `$${i.slot!.name}`;
      case "map":
        return `map ${JSON.stringify(i.sym)}`;
      case "mapval":
        return `mapval ${JSON.stringify(i.sym)} ${i.off}`;
      case "ksym":
        return `ksym ${JSON.stringify(i.sym)}${i.weak ? " weak" : ""}${i.typed ? "" : " untyped"}`;
      case "func":
        return `func @${i.sym}`;
      case "core":
        return `core ${coreText(i.core!)} = ${i.value}`;
      default:
        return this.def(i);
    }
  }
  #uses(args: readonly Inst[]): string {
    return args.map((a) => this.use(a)).join(", ");
  }
  any(i: Inst): string {
    return i.edges.length > 0 || i.op === "ret" || i.op === "unreachable" ? this.term(i) : this.inst(i);
  }

  inst(i: Inst): string {
    const text = this.#rhs(i);
    if (i.type === "void" || (i.op === "atomic" && !i.fetch)) return text;
    return `${this.def(i)} = ${text}`;
  }

  #rhs(i: Inst): string {
    if (isLeaf(i.op)) return this.use(i);
    if (isBinOp(i.op)) {
      const t = i.type === "ptr" ? `.ptr` : i.width === 32 ? "32" : "";
      return `${i.op}${t} ${this.#uses(i.args)}${i.type === "ptr" && i.space !== "unknown" ? ` : ptr ${i.space}` : ""}`;
    }
    const v = i.volatile ? ".volatile" : "";
    switch (i.op) {
      case "neg":
        return `neg${i.width === 32 ? "32" : ""} ${this.#uses(i.args)}`;
      case "bswap":
      case "tobe":
      case "tole":
      case "zext":
      case "sext":
        return `${i.op}.${i.bits} ${this.#uses(i.args)}`;
      case "cmp":
        return `cmp${i.width === 32 ? "32" : ""}.${i.cond} ${this.#uses(i.args)}`;
      case "select":
      case "opaque":
        return `${i.op} ${this.#uses(i.args)}${i.type === "ptr" ? ` : ${typeText(i)}` : ""}`;
      case "load": {
        const flags = `${sizeText(i)}${v}${i.invariant ? ".invariant" : ""}`;
        const core = i.core === undefined ? "" : ` core(${coreText(i.core)})`;
        return `load.${flags} ${addr(this.use(i.args[0]!), i.off)}${core}${i.type === "ptr" ? ` : ${typeText(i)}` : ""}`;
      }
      case "store": {
        const core = i.core === undefined ? "" : ` core(${coreText(i.core)})`;
        return `store.u${i.size * 8}${v} ${addr(this.use(i.args[0]!), i.off)}${core}, ${this.use(i.args[1]!)}`;
      }
      case "memcpy":
        return `memcpy ${this.#uses(i.args)}, ${i.bytes} align ${i.align}`;
      case "memset":
        return `memset ${this.#uses(i.args)}, ${i.value}, ${i.bytes} align ${i.align}`;
      case "start":
        return `start $${i.slot!.name}`;
      case "atomic":
        return `atomic${i.fetch ? ".fetch" : ""}.${i.aop}.u${i.size * 8} ${addr(this.use(i.args[0]!), i.off)}, ${this.#uses(i.args.slice(1))}`;
      case "call": {
        const c = i.call!;
        const callee =
          c.callee.kind === "helper"
            ? `helper ${c.callee.id}`
            : c.callee.kind === "kfunc"
              ? `kfunc ${JSON.stringify(c.callee.name)}${c.callee.weak ? " weak" : ""}`
              : `@${c.callee.name}`;
        const flags =
          (c.nullable ? " nullable" : "") +
          (c.pure ? " pure" : "") +
          (c.clobbers === "mem" ? "" : ` clobbers=${c.clobbers}`) +
          (c.bits === 64 ? "" : ` bits=${c.bits}`) +
          (c.noreturn ? " noreturn" : "") +
          c.mem.map((m) => ` [${m.mode} ${m.arg}${m.size === undefined ? "" : ` ${m.size}`}]`).join("");
        return `call ${callee}(${this.#uses(i.args)}) : ${typeText(i)}${flags}`;
      }
      default:
        return i.op;
    }
  }

  term(i: Inst): string {
    const edge = (e: Edge): string => `${(e.to as Block).name}${e.args.length === 0 ? "" : `(${this.#uses(e.args)})`}`;
    switch (i.op) {
      case "jmp":
        return `jmp ${edge(i.edges[0]!)}`;
      case "br":
        return `br${i.width === 32 ? "32" : ""}.${i.cond} ${this.#uses(i.args)}, ${edge(i.edges[0]!)}, ${edge(i.edges[1]!)}`;
      case "switch": {
        const cases = i.cases!.map((c, k) => `${c}: ${edge(i.edges[k]!)}, `).join("");
        return `switch ${this.#uses(i.args)}, ${cases}default: ${edge(i.edges[i.edges.length - 1]!)}`;
      }
      case "ret":
        return i.args.length === 0 ? "ret" : `ret ${this.#uses(i.args)}`;
      default:
        return i.op;
    }
  }
}
