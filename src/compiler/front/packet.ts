/** `ctx.packet(Schema, offset)`: a typed view of packet data, once its end was checked. */
import { isSchema } from "../../probe/schema.ts";
import type { CtxFieldRow } from "../../uapi/index.ts";
import type { Size } from "../ir/ir.ts";
import type { Fn } from "./context.ts";
import { describe } from "./context.ts";
import { fromSchema, sizeOf } from "./types.ts";
import type { BuiltinVal } from "./value.ts";
import { ERROR } from "./value.ts";

/** Packet offsets above this cannot be proven inside (MAX_PACKET_OFF). */
const MAX_OFFSET = 0xffffn;

export function packetOf(fn: Fn, start: CtxFieldRow, end: CtxFieldRow): BuiltinVal {
  return {
    k: "builtin",
    what: "the method packet of the context",
    call: (args, node) => {
      const [schemaNode, offsetNode] = args;
      if (schemaNode === undefined || args.length > 2)
        return fn.report("BPF1010", node, { name: "ctx.packet", expected: "a schema and an offset", got: args.length });
      const schema = fn.expr(schemaNode);
      if (schema.k !== "handle" || !isSchema(schema.value)) {
        return schema.k === "error"
          ? ERROR
          : fn.report("BPF2006", schemaNode, { expected: "a schema", found: describe(schema) });
      }
      const type = fromSchema(schema.value);
      const { b } = fn;
      const offset = offsetNode === undefined ? undefined : fn.value(offsetNode);
      if (offset?.k === "error") return ERROR;
      const data = b.load(fn.ctx, { size: start.size as Size, off: start.offset, space: "packet" });
      const limit = b.load(fn.ctx, { size: end.size as Size, off: end.offset, space: "packet-end" });
      let base = data;
      let off = 0;
      if (offset?.k === "int") {
        if (offset.value < 0n || offset.value > MAX_OFFSET)
          return fn.report("BPF2016", offsetNode ?? node, { index: offset.value, length: Number(MAX_OFFSET) });
        off = Number(offset.value);
      } else if (offset !== undefined) {
        const v = fn.int(offset, offsetNode ?? node);
        if (v === undefined) return ERROR;
        base = b.add(data, v);
      }
      const last = b.add(base, off + sizeOf(type));
      return {
        k: "opt",
        ptr: base,
        inner: { k: "place", type, base, off, space: "packet" },
        what: `the packet's ${schema.name}`,
        test: { cond: "ule", a: last, b: limit },
      };
    },
  };
}
