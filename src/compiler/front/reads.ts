/** Reading memory that a program may not load from: user memory, and kernel memory without trust. */
import { BPF_FUNC } from "../../uapi/index.ts";
import type { Inst, Size } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import type { Fn } from "./context.ts";
import type { ScalarType } from "./types.ts";
import { sizeOf } from "./types.ts";
import type { PlaceVal, ScalarVal, StringVal } from "./value.ts";

/** One scalar at `address`; 0 when it cannot be read. */
export function readMemory(fn: Fn, space: "kernel" | "user", address: Inst, type: ScalarType): ScalarVal {
  const { b } = fn;
  const size = sizeOf(type) as Size;
  const slot = b.func.slot(size, size, "read");
  b.start(slot);
  readInto(fn, space, b.slotAddr(slot), size, address);
  const signed = (type.k === "int" || type.k === "enum") && type.sign.kind() === "s";
  return { k: "scalar", type, v: b.load(b.slotAddr(slot), { size, signed }) };
}

/** `size` bytes from `address` to `dst`; zeros when they cannot be read. The result is 0 or a negative errno. */
export function readInto(fn: Fn, space: "kernel" | "user", dst: Inst, size: number, address: Inst): Inst {
  const id = space === "user" ? BPF_FUNC.probe_read_user : BPF_FUNC.probe_read_kernel;
  return fn.b.helper(id, [dst, size, address], { clobbers: "none", mem: [{ arg: 0, mode: "out", size }] });
}

/** Text at an address. */
export function stringAt(
  fn: Fn,
  space: "kernel" | "user",
  address: () => Inst,
  length: number,
  _node: Ast,
  limit?: number,
): StringVal {
  const id = space === "user" ? BPF_FUNC.probe_read_user_str : BPF_FUNC.probe_read_kernel_str;
  return {
    k: "string",
    what: `text in ${space} memory`,
    length,
    ...(limit === undefined ? {} : { limit }),
    write: (dst, n) =>
      fn.b.helper(id, [dst, n, address()], { clobbers: "none", mem: [{ arg: 0, mode: "inout", size: n }] }),
  };
}

/** A place of memory read by copying it: `bpf.userRead(schema, p)`. */
export function copyOf(fn: Fn, space: "kernel" | "user", address: Inst, type: PlaceVal["type"]): PlaceVal {
  const dest = fn.temp(type, "copy");
  readInto(fn, space, dest.base, sizeOf(type), address);
  return dest;
}

/** `read()` where `index` is below `length`, else 0. */
export function guardedRead(fn: Fn, index: Inst, length: number, read: () => ScalarVal): ScalarVal {
  const { b } = fn;
  const out = b.func.slot(8, 8, "element");
  b.start(out);
  b.store(b.slotAddr(out), 0, { size: 8 });
  const inside = b.block("index.ok");
  const end = b.block("index.done");
  b.br("ult", index, length, inside, end);
  b.at(inside);
  const value = read();
  b.store(b.slotAddr(out), value.v, { size: 8 });
  b.jmp(end);
  b.at(end);
  return { ...value, v: b.load(b.slotAddr(out), { size: 8 }) };
}
