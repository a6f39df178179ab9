/** What generated codecs call: text, byte arrays, and the checks whose messages name the field. */
import { ArgumentError } from "../core/errors.ts";

export interface Runtime {
  text(offset: number, length: number): string;
  slice(offset: number, length: number): Uint8Array;
  putText(value: unknown, offset: number, length: number, path: readonly string[]): void;
  putBytes(value: unknown, offset: number, length: number, path: readonly string[]): void;
  int(value: unknown, min: number, max: number, path: readonly string[]): number;
  big(value: unknown, signed: boolean, path: readonly string[]): bigint;
  bool(value: unknown, path: readonly string[]): boolean;
  enumOf(value: unknown, values: ReadonlyMap<string, number>, path: readonly string[]): number | bigint;
  object(value: unknown, path: readonly string[]): Record<string, unknown>;
  list(value: unknown, length: number, path: readonly string[]): ArrayLike<unknown>;
  union(value: Record<string, unknown>, names: readonly string[], path: readonly string[]): string;
}

/** Short strings repeat (command names, file names): entries of the cache, a power of two. */
const CACHE_SIZE = 256;
const CACHE_MAX_LENGTH = 48;

const utf8 = new TextEncoder();

/** Decodes UTF-8 from `offset` to `end`. */
type DecodeText = (offset: number, end: number) => string;
interface NodeBuffers {
  from(buffer: ArrayBufferLike): { toString(encoding: "utf8", from: number, to: number): string };
}

/** By Node's Buffer where there is one: short text costs a third of what TextDecoder takes. */
function textDecoder(buffer: ArrayBufferLike, bytes: Uint8Array): DecodeText {
  const { Buffer: buffers } = globalThis as { readonly Buffer?: NodeBuffers };
  if (buffers !== undefined) {
    const node = buffers.from(buffer);
    return (offset, end) => node.toString("utf8", offset, end);
  }
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return (offset, end) => decoder.decode(bytes.slice(offset, end));
}

export function makeRuntime(buffer: ArrayBufferLike, what: string): Runtime {
  const bytes = new Uint8Array(buffer);
  const decodeText = textDecoder(buffer, bytes);
  const cachedText: string[] = [];
  const cachedBytes: Uint8Array[] = [];

  const fail = (path: readonly string[], expected: string, got: unknown): never => {
    throw new ArgumentError(
      [what, ...path].join(".").replaceAll(".[]", "[]"),
      `expected ${expected}, got ${describe(got)}`,
    );
  };

  return {
    text(offset, length) {
      // Hash and end in one pass: most strings that come here have come before.
      const limit = offset + length;
      let end = offset;
      let hash = 0;
      for (let c = 0; end < limit && (c = bytes[end] as number) !== 0; end++) hash = (Math.imul(hash, 31) + c) | 0;
      const size = end - offset;
      if (size === 0) return "";
      if (size > CACHE_MAX_LENGTH) return decodeText(offset, end);
      const slot = (hash ^ (hash >>> 8)) & (CACHE_SIZE - 1);
      const known = cachedBytes[slot];
      if (known !== undefined && known.length === size) {
        let i = 0;
        while (i < size && known[i] === bytes[offset + i]) i++;
        if (i === size) return cachedText[slot] as string;
      }
      const text = decodeText(offset, end);
      cachedBytes[slot] = bytes.slice(offset, end);
      cachedText[slot] = text;
      return text;
    },
    slice(offset, length) {
      return bytes.slice(offset, offset + length);
    },
    putText(value, offset, length, path) {
      if (typeof value !== "string") return fail(path, `a string of at most ${length} bytes`, value);
      const text = utf8.encode(value);
      if (text.length > length)
        return fail(path, `a string of at most ${length} bytes`, `${text.length} bytes: ${JSON.stringify(value)}`);
      if (text.includes(0)) return fail(path, "a string without NUL", value);
      bytes.set(text, offset);
      bytes.fill(0, offset + text.length, offset + length);
      return undefined;
    },
    putBytes(value, offset, length, path) {
      if (!(value instanceof Uint8Array) || value.length !== length)
        return fail(path, `a Uint8Array of ${length} bytes`, value);
      bytes.set(value, offset);
      return undefined;
    },
    int(value, min, max, path) {
      const n = typeof value === "bigint" ? Number(value) : value;
      if (typeof n !== "number" || !Number.isInteger(n) || n < min || n > max) {
        return fail(path, `an integer in [${min}, ${max}]`, value);
      }
      return n;
    },
    big(value, signed, path) {
      const n = typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
      const [min, max] = signed ? [-(1n << 63n), (1n << 63n) - 1n] : [0n, (1n << 64n) - 1n];
      if (typeof n !== "bigint" || n < min || n > max) {
        return fail(path, `a bigint (or an exact integer) in [${min}, ${max}]`, value);
      }
      return n;
    },
    bool(value, path) {
      return typeof value === "boolean" ? value : fail(path, "a boolean", value);
    },
    enumOf(value, values, path) {
      if (typeof value === "string") {
        return values.get(value) ?? fail(path, `one of ${[...values.keys()].join(", ")}`, value);
      }
      return typeof value === "number" || typeof value === "bigint"
        ? value
        : fail(path, "a name or a number of the enum", value);
    },
    object(value, path) {
      if (typeof value !== "object" || value === null) return fail(path, "an object", value);
      return value as Record<string, unknown>;
    },
    list(value, length, path) {
      const array =
        Array.isArray(value) || ArrayBuffer.isView(value) ? (value as unknown as ArrayLike<unknown>) : undefined;
      if (array === undefined || array.length !== length) return fail(path, `an array of ${length} elements`, value);
      return array;
    },
    union(value, names, path) {
      const given = names.filter((name) => value[name] !== undefined);
      const [only] = given;
      if (only === undefined || given.length > 1) {
        return fail(
          path,
          `exactly one of the union's members ${names.join(", ")}`,
          given.length === 0 ? "none" : given.join(", "),
        );
      }
      return only;
    },
  };
}

function describe(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "string") return value.length > 60 ? `a string of ${value.length} characters` : value;
  if (value instanceof Uint8Array) return `a Uint8Array of ${value.length} bytes`;
  if (Array.isArray(value)) return `an array of ${value.length} elements`;
  if (typeof value === "object" && value !== null)
    return `an object with ${Object.keys(value).join(", ") || "no fields"}`;
  return typeof value === "function" ? "a function" : String(value);
}
