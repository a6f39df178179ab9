/** Text: literals, `char(n)` in memory, and what helpers write. */
import { encodeUtf8 } from "../../core/bytes.ts";
import type { Block, Inst, Size } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import { addressOf, guarded } from "./place.ts";
import { eachText } from "./texts.ts";
import type { CharType } from "./types.ts";
import { BOOL, sizeOf, typeName } from "./types.ts";
import type { BuiltinVal, PlaceVal, Val } from "./value.ts";
import { ERROR } from "./value.ts";

/** `place` as text in memory: a string that only exists as a helper's output is written to the stack. */
export function textPlace(fn: Fn, v: Val, node: Ast): PlaceVal | undefined {
  const s = v.k === "kplace" ? fn.settle(v, node) : v;
  if (s.k === "place" && s.type.k === "char")
    return s.space === "ctx" && s.indices === undefined ? fromContext(fn, s) : s;
  if (s.k === "string") {
    const dest = fn.temp({ k: "char", length: s.length }, "text");
    // What is compared or used as a key must not hold old bytes behind the NUL.
    fn.b.memset(dest.base, 0, s.length, alignOfLength(s.length));
    s.write(dest.base, s.length);
    return dest;
  }
  if (s.k === "opt") fn.report("BPF2007", node, { what: s.what, name: "the value" });
  else if (s.k !== "error") fn.report("BPF2006", node, { expected: "a string", found: describe(s) });
  return undefined;
}

/** A context is read at constant offsets only. */
function fromContext(fn: Fn, place: PlaceVal): PlaceVal {
  const dest = fn.temp(place.type, "text");
  fn.b.memcpy(dest.base, addressOf(fn, place), sizeOf(place.type), placeAlign(fn, place));
  return dest;
}

export function isText(v: Val): boolean {
  return (
    v.k === "string" ||
    (v.k === "js" && typeof v.value === "string") ||
    ((v.k === "place" || v.k === "kplace") && v.type.k === "char")
  );
}

function alignOfLength(length: number): number {
  return length >= 8 ? 8 : length >= 4 ? 4 : 1;
}

/** Puts a string into `char(n)`. `clean`: every byte behind the NUL must be zero. */
export function storeText(fn: Fn, dest: PlaceVal & { type: CharType }, v: Val, node: Ast, clean: boolean): void {
  const { length } = dest.type;
  const s = v.k === "kplace" ? fn.settle(v, node) : v;
  if (s.k === "js" && typeof s.value === "string") {
    const bytes = encodeUtf8(s.value);
    if (bytes.length >= length) {
      fn.report("BPF2018", node, { have: bytes.length, type: typeName(dest.type) });
      return;
    }
    guarded(fn, dest, (base) => {
      const whole = clean ? length : bytes.length + 1;
      storeBytes(fn, { ...dest, base }, bytes, whole);
    });
  } else if (s.k === "string") {
    // Helpers do not write to a context.
    if (dest.space === "ctx") return storeText(fn, dest, textPlace(fn, s, node) ?? ERROR, node, clean);
    guarded(fn, dest, (base) => {
      const at = dest.off === 0 ? base : fn.b.add(base, dest.off);
      const n = Math.min(length, s.limit ?? length);
      if (clean) clear(fn, dest, base, length);
      s.write(at, n);
    });
  } else if (s.k === "place" && s.type.k === "char") {
    const from = s.type.length;
    guarded(fn, s, (source) =>
      guarded(fn, dest, (base) => {
        const to = dest.off === 0 ? base : fn.b.add(base, dest.off);
        const src = s.off === 0 ? source : fn.b.add(source, s.off);
        const align = Math.min(placeAlign(fn, dest), placeAlign(fn, s));
        if (from < length && clean) clear(fn, dest, base, length);
        fn.b.memcpy(to, src, Math.min(from, length), align);
        if (from > length) fn.b.store(to, 0, { size: 1, off: length - 1 });
      }),
    );
  } else if (s.k === "scalar" && s.type.k === "literal") {
    eachText(fn, { ...s, type: s.type }, node, (text) => storeText(fn, dest, { k: "js", value: text }, node, clean));
  } else if (s.k === "opt") {
    fn.report("BPF2007", node, { what: s.what, name: "the value" });
  } else if (s.k === "scalar" && s.type.k === "ptr") {
    fn.report("BPF2006", node, {
      expected: `a string for ${typeName(dest.type)}`,
      found: `${describe(s)}: read it with bpf.str(…)`,
    });
  } else if (s.k !== "error") {
    fn.report("BPF2006", node, { expected: `a string for ${typeName(dest.type)}`, found: describe(s) });
  }
}

/** What accesses of a place may be aligned to: the stack and contexts are strict, other memory is where the machine is. */
export function placeAlign(fn: Fn, place: PlaceVal): 1 | 2 | 4 | 8 {
  if (place.space === "map" || place.space === "mem" || place.space === "global") {
    // Kernels of these machines let programs access it at any address (HAVE_EFFICIENT_UNALIGNED_ACCESS).
    if (fn.module.arch !== "riscv64") return 8;
  }
  if (place.indices !== undefined || place.space === "packet") return 1;
  const o = place.off | (place.align ?? 8);
  return o % 8 === 0 ? 8 : o % 4 === 0 ? 4 : o % 2 === 0 ? 2 : 1;
}

/** Zeros `length` bytes at `off` from a base that is aligned to 8: single stores up to the first word, then words. */
export function clear(fn: Fn, place: PlaceVal, base: Inst, length: number): void {
  const strict = placeAlign(fn, place) < 8;
  let { off } = place;
  const end = off + length;
  while (strict && off % 8 !== 0 && off < end) {
    const size = chunk(off, Math.min(end - off, 8 - (off % 8)));
    fn.b.store(base, 0, { size, off });
    off += size;
  }
  if (off < end)
    fn.b.memset(off === 0 ? base : fn.b.add(base, off), 0, end - off, place.indices !== undefined && strict ? 1 : 8);
}

/** Stores `bytes` and zeros up to `length`, by the largest words that alignment allows. */
function storeBytes(fn: Fn, dest: PlaceVal, bytes: Uint8Array, length: number): void {
  for (let at = 0; at < length;) {
    const size = chunk(dest.off + at, length - at);
    fn.b.store(dest.base, word(bytes, at, size, fn.module.littleEndian), { size, off: dest.off + at });
    at += size;
  }
}

function chunk(off: number, left: number): Size {
  for (const size of [8, 4, 2] as const) if (off % size === 0 && left >= size) return size;
  return 1;
}

function word(bytes: Uint8Array, at: number, size: number, littleEndian: boolean): bigint {
  let value = 0n;
  for (let i = 0; i < size; i++) {
    const byte = BigInt(bytes[at + i] ?? 0);
    value |= byte << BigInt(8 * (littleEndian ? i : size - 1 - i));
  }
  return BigInt.asIntN(64, value);
}

/** Branches on `a === b` for text. */
export function branchTextEqual(fn: Fn, a: Val, b: Val, node: Ast, yes: Block, no: Block): void {
  const { b: builder } = fn;
  if (a.k === "js" && b.k === "js") {
    builder.jmp(a.value === b.value ? yes : no);
    return;
  }
  if (!isText(a) || !isText(b)) {
    const opt = a.k === "opt" ? a : b.k === "opt" ? b : undefined;
    if (opt !== undefined) fn.report("BPF2007", node, { what: opt.what, name: "the value" });
    else if (a.k !== "error" && b.k !== "error") fn.report("BPF2015", node, { what: describe(a), other: describe(b) });
    return;
  }
  const literal = a.k === "js" ? a : b.k === "js" ? b : undefined;
  const place = textPlace(fn, literal === a ? b : a, node);
  if (place === undefined) return;
  if (literal !== undefined) {
    branchBytes(fn, place, String(literal.value), true, node, yes, no);
    return;
  }
  const other = textPlace(fn, b, node);
  if (other === undefined) return;
  branchPlaces(fn, place, other, yes, no);
}

/** Branches on whether the text in `place` starts with `text` (and ends there, if `whole`). */
function branchBytes(fn: Fn, place: PlaceVal, text: string, whole: boolean, node: Ast, yes: Block, no: Block): void {
  const { b } = fn;
  const bytes = encodeUtf8(text);
  const length = place.type.k === "char" ? place.type.length : 0;
  if (bytes.length >= length || bytes.includes(0)) {
    fn.report("BPF2018", node, { have: bytes.length, type: typeName(place.type) });
    return;
  }
  const count = whole ? bytes.length + 1 : bytes.length;
  guarded(fn, place, (base) => {
    for (let at = 0; at < count;) {
      const size = chunk(placeAlign(fn, place) === 1 ? 1 : place.off + at, count - at);
      const v = b.load(base, { size, off: place.off + at });
      const next = b.block();
      b.br(
        "eq",
        v,
        size === 8
          ? word(bytes, at, 8, fn.module.littleEndian)
          : BigInt.asUintN(size * 8, word(bytes, at, size, fn.module.littleEndian)),
        next,
        no,
      );
      b.at(next);
      at += size;
    }
    b.jmp(yes);
  });
  // Only an index outside its array comes here.
  if (place.indices !== undefined) b.jmp(no);
}

/** Byte by byte up to the NUL of either: both are bounded. */
export function branchPlaces(fn: Fn, x: PlaceVal, y: PlaceVal, yes: Block, no: Block): void {
  const { b } = fn;
  const length = Math.min(x.type.k === "char" ? x.type.length : 0, y.type.k === "char" ? y.type.length : 0);
  const i = b.func.slot(8, 8, "at");
  b.start(i);
  b.store(b.slotAddr(i), 0, { size: 8 });
  const xa = addressOf(fn, x);
  const ya = addressOf(fn, y);
  const head = b.block("text.loop");
  const body = b.block("text.byte");
  const same = b.block("text.same");
  const more = b.block("text.more");
  b.jmp(head);
  b.at(head);
  const at = b.load(b.slotAddr(i), { size: 8 });
  b.br("ult", at, length, body, yes);
  b.at(body);
  const p = b.load(b.add(xa, at), { size: 1 });
  const q = b.load(b.add(ya, at), { size: 1 });
  b.br("eq", p, q, same, no);
  b.at(same);
  b.br("eq", p, 0, yes, more);
  b.at(more);
  b.store(b.slotAddr(i), b.add(at, 1), { size: 8 });
  b.jmp(head);
}

/** Branches on whether the text in `x` begins with the text in `prefix`: byte by byte up to the NUL of the latter. */
function branchPrefix(fn: Fn, x: PlaceVal, prefix: PlaceVal, yes: Block, no: Block): void {
  const { b } = fn;
  const room = (p: PlaceVal): number => (p.type.k === "char" ? p.type.length : 0);
  const i = b.func.slot(8, 8, "at");
  b.start(i);
  b.store(b.slotAddr(i), 0, { size: 8 });
  const whole = addressOf(fn, x);
  const start = addressOf(fn, prefix);
  const [head, body, compare, more] = ["prefix.loop", "prefix.byte", "prefix.compare", "prefix.more"].map((name) =>
    b.block(name),
  ) as [Block, Block, Block, Block];
  b.jmp(head);
  b.at(head);
  const at = b.load(b.slotAddr(i), { size: 8 });
  // Longer than the text can be: only its NUL may come.
  b.br("ult", at, Math.min(room(x), room(prefix)), body, room(prefix) > room(x) ? no : yes);
  b.at(body);
  const byte = b.load(b.add(start, at), { size: 1 });
  b.br("eq", byte, 0, yes, compare);
  b.at(compare);
  b.br("eq", b.load(b.add(whole, at), { size: 1 }), byte, more, no);
  b.at(more);
  b.store(b.slotAddr(i), b.add(at, 1), { size: 8 });
  b.jmp(head);
}

/** Beyond this many bytes the verifier would follow too many lengths. */
const MAX_SUFFIX_TEXT = 256;

/** Branches on whether the text in `place` ends with `text`: finds the NUL, then compares before it. */
function branchSuffix(fn: Fn, place: PlaceVal, text: string, node: Ast, yes: Block, no: Block): void {
  const { b } = fn;
  const bytes = encodeUtf8(text);
  const length = place.type.k === "char" ? place.type.length : 0;
  if (bytes.length >= length || bytes.includes(0)) {
    fn.report("BPF2018", node, { have: bytes.length, type: typeName(place.type) });
    return b.jmp(no);
  }
  if (length > MAX_SUFFIX_TEXT) {
    fn.report("BPF2006", node, { expected: `text of at most ${MAX_SUFFIX_TEXT} bytes`, found: typeName(place.type) });
    return b.jmp(no);
  }
  const i = b.func.slot(8, 8, "length");
  b.start(i);
  b.store(b.slotAddr(i), 0, { size: 8 });
  const start = addressOf(fn, place);
  const head = b.block("length.loop");
  const body = b.block("length.byte");
  const more = b.block("length.more");
  const found = b.block("length.found");
  b.jmp(head);
  b.at(head);
  const at = b.load(b.slotAddr(i), { size: 8 });
  b.br("ult", at, length, body, found);
  b.at(body);
  b.br("eq", b.load(b.add(start, at), { size: 1 }), 0, found, more);
  b.at(more);
  b.store(b.slotAddr(i), b.add(at, 1), { size: 8 });
  b.jmp(head);
  b.at(found);
  let next = b.block("suffix");
  b.br("uge", b.load(b.slotAddr(i), { size: 8 }), bytes.length, next, no);
  for (const [n, byte] of bytes.entries()) {
    b.at(next);
    next = n === bytes.length - 1 ? yes : b.block("suffix");
    const end = b.add(start, b.load(b.slotAddr(i), { size: 8 }));
    b.br("eq", b.load(end, { size: 1, off: n - bytes.length }), byte, next, no);
  }
  if (bytes.length === 0) {
    b.at(next);
    b.jmp(yes);
  }
}

/** Methods of text: `startsWith`, `endsWith`. */
export function textMember(fn: Fn, text: Val, name: string): BuiltinVal | undefined {
  if (name !== "startsWith" && name !== "endsWith") return undefined;
  return {
    k: "builtin",
    what: `the method ${name}`,
    call: (args, node) => {
      const prefix = args[0] === undefined ? undefined : fn.value(args[0]);
      if (name === "startsWith" && prefix !== undefined && prefix.k !== "js" && isText(prefix)) {
        const whole = textPlace(fn, text, node);
        const start = textPlace(fn, prefix, args[0]!);
        if (whole === undefined || start === undefined) return ERROR;
        return boolean(fn, (yes, no) => branchPrefix(fn, whole, start, yes, no));
      }
      if (prefix === undefined || prefix.k !== "js" || typeof prefix.value !== "string") {
        if (prefix?.k === "error") return ERROR;
        return fn.report("BPF2006", args[0] ?? node, {
          expected: name === "startsWith" ? "a string" : "a string literal",
          found: prefix === undefined ? "nothing" : describe(prefix),
        });
      }
      if (text.k === "js") return { k: "js", value: String(text.value)[name](prefix.value) };
      const place = textPlace(fn, text, node);
      if (place === undefined) return ERROR;
      const { value } = prefix;
      return boolean(fn, (yes, no) =>
        name === "startsWith"
          ? branchBytes(fn, place, value, false, node, yes, no)
          : branchSuffix(fn, place, value, node, yes, no),
      );
    },
  };
}

/** A boolean from control flow. */
export function boolean(fn: Fn, branch: (yes: Block, no: Block) => void): Val {
  const { b } = fn;
  const out = b.func.slot(8, 8, "flag");
  b.start(out);
  const yes = b.block("true");
  const no = b.block("false");
  const end = b.block("end");
  branch(yes, no);
  b.at(yes);
  b.store(b.slotAddr(out), 1, { size: 8 });
  b.jmp(end);
  b.at(no);
  b.store(b.slotAddr(out), 0, { size: 8 });
  b.jmp(end);
  b.at(end);
  return { k: "scalar", type: BOOL, v: b.load(b.slotAddr(out), { size: 8 }) };
}
