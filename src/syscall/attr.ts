/**
 * Encodes `union bpf_attr` field by field, every value checked: koffi would wrap an
 * integer that is out of range without a word.
 *
 * The kernel refuses (E2BIG) an attr that is longer than the one it knows only when
 * the surplus bytes are not zero. So it is told the size up to the last field that was
 * set: whatever an older kernel understands, it accepts.
 */
import { encodeUtf8, hostEndian } from "../core/bytes.ts";
import { ArgumentError } from "../core/errors.ts";
import { BPF_CMD } from "../uapi/commands.ts";
import {
  ATTR_LAYOUTS,
  type AttrCommand,
  type AttrOf,
  type FieldType,
  LINK_VARIANTS,
  type LinkAttrOf,
  type LinkVariant,
} from "./attr-layout.ts";
import type { Kernel } from "./kernel.ts";

const LITTLE = hostEndian === "little";
/** `BPF_OBJ_NAME_LEN`: names are cut to one byte less. */
export const OBJ_NAME_LEN = 16;
const SIZES: Readonly<Record<FieldType, number>> = { u32: 4, s32: 4, u64: 8, ptr: 8, name: OBJ_NAME_LEN };

interface Field {
  readonly type: FieldType;
  readonly offset: number;
}
export interface Compiled {
  readonly fields: ReadonlyMap<string, Field>;
  /** Size of the whole attr, in bytes. */
  readonly size: number;
}
const compiled = new Map<object, Compiled>();

/** Offsets of a layout, as a C compiler would lay it out. */
export function layoutOf(layout: readonly (readonly [string, FieldType])[]): Compiled {
  let known = compiled.get(layout);
  if (known === undefined) {
    const fields = new Map<string, Field>();
    let size = 0;
    for (const [name, type] of layout) {
      const align = type === "u64" || type === "ptr" ? 8 : 4;
      const offset = Math.ceil(size / align) * align;
      fields.set(name, { type, offset });
      size = offset + SIZES[type];
    }
    known = { fields, size: Math.ceil(size / 8) * 8 };
    compiled.set(layout, known);
  }
  return known;
}

type Values = Readonly<Record<string, number | bigint | string | Uint8Array | undefined>>;

/** An encoded attr: `size` is how much of `bytes` the kernel has to see. */
export interface EncodedAttr {
  readonly bytes: Uint8Array;
  readonly size: number;
}

function encode(kernel: Kernel, what: string, layout: Compiled, values: Values): EncodedAttr {
  const bytes = new Uint8Array(layout.size);
  const view = new DataView(bytes.buffer);
  let size = 0;
  for (const name in values) {
    const value = values[name];
    if (value === undefined) continue;
    const field = layout.fields.get(name);
    if (field === undefined) throw new ArgumentError(`${what}.${name}`, "there is no such field");
    put(kernel, view, field, value, `${what}.${name}`);
    // A zero at the end need not be told.
    if (value !== 0 && value !== 0n && value !== "") size = Math.max(size, field.offset + SIZES[field.type]);
  }
  return { bytes, size: Math.max(size, 4) };
}

function put(
  kernel: Kernel,
  view: DataView,
  field: Field,
  value: number | bigint | string | Uint8Array,
  what: string,
): void {
  const { offset, type } = field;
  switch (type) {
    case "u32":
      view.setUint32(offset, integer(value, 0, 0xffff_ffff, what), LITTLE);
      return;
    case "s32":
      view.setInt32(offset, integer(value, -0x8000_0000, 0x7fff_ffff, what), LITTLE);
      return;
    case "u64":
    case "ptr": {
      const number = value instanceof Uint8Array ? (value.length === 0 ? 0 : kernel.address(value)) : value;
      const big = typeof number === "bigint" ? number : BigInt(integer(number, 0, Number.MAX_SAFE_INTEGER, what));
      if (big < 0n || big >= 1n << 64n)
        throw new ArgumentError(what, `expected an unsigned 64-bit integer, got ${big}`);
      view.setBigUint64(offset, big, LITTLE);
      return;
    }
    case "name": {
      if (typeof value !== "string") throw new ArgumentError(what, `expected a string, got ${String(value)}`);
      const text = encodeUtf8(objectName(value));
      new Uint8Array(view.buffer).set(text, offset);
      return;
    }
  }
}

function integer(value: unknown, min: number, max: number, what: string): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw new ArgumentError(what, `expected an integer in [${min}, ${max}], got ${String(value)}`);
  }
  return value;
}

/**
 * A name that the kernel takes (`bpf_obj_name_cpy`): letters, digits, `_` and `.`,
 * at most 15 bytes; the rest becomes `_` or is cut.
 */
export function objectName(name: string): string {
  return name.replace(/[^A-Za-z0-9_.]/g, "_").slice(0, OBJ_NAME_LEN - 1);
}

/** Encodes the attr of `command`. Pointers are taken as byte arrays, which must outlive the call. */
export function encodeAttr<C extends AttrCommand>(kernel: Kernel, command: C, values: AttrOf<C>): EncodedAttr {
  return encode(kernel, `BPF_${command}`, layoutOf(ATTR_LAYOUTS[command]), values as Values);
}

/** Arrays whose addresses are inside the attr of a running call: referenced here until the next one. */
const inFlight: { values: unknown } = { values: undefined };

/** One bpf(2) call: the result or -errno. */
export function bpf<C extends AttrCommand>(kernel: Kernel, command: C, values: AttrOf<C>): number {
  const attr = encodeAttr(kernel, command, values);
  inFlight.values = values;
  return kernel.bpf(BPF_CMD[command], attr.bytes, attr.size);
}

/** A bpf(2) call whose results the kernel writes back into the attr. */
export function bpfWithResults<C extends AttrCommand>(
  kernel: Kernel,
  command: C,
  values: AttrOf<C>,
): { result: number; u32(field: keyof AttrOf<C> & string): number } {
  const attr = encodeAttr(kernel, command, values);
  inFlight.values = values;
  const result = kernel.bpf(BPF_CMD[command], attr.bytes, attr.size);
  const layout = layoutOf(ATTR_LAYOUTS[command]);
  const view = new DataView(attr.bytes.buffer);
  return { result, u32: (field) => view.getUint32(layout.fields.get(field)?.offset ?? 0, LITTLE) };
}

/** BPF_LINK_CREATE with the fields of one kind of link: a link fd, or -errno. */
export function linkCreate<V extends LinkVariant>(kernel: Kernel, variant: V, values: LinkAttrOf<V>): number {
  const attr = encode(kernel, "BPF_LINK_CREATE", layoutOf(LINK_VARIANTS[variant]), values as Values);
  inFlight.values = values;
  return kernel.bpf(BPF_CMD.LINK_CREATE, attr.bytes, attr.size);
}

/** NUL-terminated bytes of a path or name. */
export function cstring(text: string): Uint8Array {
  return encodeUtf8(`${text}\0`);
}
