/** Reading fields of JSON that others wrote: each has the type it must have, or a DecodeError names its path. */
import { BpfkitError, DecodeError } from "../core/errors.ts";

const isObject = (v: unknown): v is Record<string, unknown> => typeof v === "object" && v !== null && !Array.isArray(v);

export class JsonFields {
  readonly what: string;
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #path: readonly string[];

  constructor(object: Readonly<Record<string, unknown>>, what: string, path: readonly string[]) {
    this.#object = object;
    this.what = what;
    this.#path = path;
  }

  static of(json: unknown, what: string): JsonFields {
    if (!isObject(json)) throw new DecodeError(what, `expected a JSON object, got ${describe(json)}`);
    return new JsonFields(json, what, []);
  }

  error(key: string, message: string, cause?: unknown): DecodeError {
    return new DecodeError(this.what, message, { path: [...this.#path, key], cause });
  }

  /** The value; undefined when absent or null. */
  #get(key: string): unknown {
    return Object.hasOwn(this.#object, key) ? (this.#object[key] ?? undefined) : undefined;
  }

  string(key: string): string {
    return this.optionalString(key) ?? this.#missing(key, "a string");
  }

  optionalString(key: string): string | undefined {
    const v = this.#get(key);
    if (v !== undefined && typeof v !== "string") throw this.error(key, `expected a string, got ${describe(v)}`);
    return v;
  }

  flag(key: string): boolean {
    const v = this.#get(key) ?? false;
    if (typeof v !== "boolean") throw this.error(key, `expected true or false, got ${describe(v)}`);
    return v;
  }

  /** An integer of 32 bits without sign. */
  count(key: string): number {
    return this.optionalCount(key) ?? this.#missing(key, "an unsigned 32-bit integer");
  }

  optionalCount(key: string): number | undefined {
    const v = this.#get(key);
    if (v === undefined) return undefined;
    if (typeof v !== "number" || !Number.isInteger(v) || v < 0 || v > 0xffff_ffff)
      throw this.error(key, `expected an unsigned 32-bit integer, got ${describe(v)}`);
    return v;
  }

  integer(key: string): number {
    const v = this.#get(key);
    if (typeof v !== "number" || !Number.isSafeInteger(v))
      throw this.error(key, `expected an integer, got ${describe(v)}`);
    return v;
  }

  /** 64 bits without sign, as a number or a decimal string; 0 when absent. */
  bigint(key: string): bigint {
    const v = this.#get(key) ?? 0;
    const fits = typeof v === "number" ? Number.isSafeInteger(v) : typeof v === "string" && /^\d{1,20}$/.test(v);
    const n = fits ? BigInt(v as number | string) : -1n;
    if (n < 0n || n > 0xffff_ffff_ffff_ffffn)
      throw this.error(key, `expected an unsigned 64-bit integer or its decimal digits, got ${describe(v)}`);
    return n;
  }

  /** Bytes; none when absent. */
  base64(key: string): Uint8Array {
    const text = this.optionalString(key);
    return text === undefined ? new Uint8Array(0) : this.inside(key, () => fromBase64(text));
  }

  optionalObject(key: string): JsonFields | undefined {
    const v = this.#get(key);
    if (v === undefined) return undefined;
    if (!isObject(v)) throw this.error(key, `expected an object, got ${describe(v)}`);
    return new JsonFields(v, this.what, [...this.#path, key]);
  }

  /** A list of objects; none when absent. */
  objects(key: string): JsonFields[] {
    const v = this.#get(key) ?? [];
    if (!Array.isArray(v)) throw this.error(key, `expected a list, got ${describe(v)}`);
    return v.map((item: unknown, i) => {
      if (!isObject(item)) throw this.error(`${key}[${i}]`, `expected an object, got ${describe(item)}`);
      return new JsonFields(item, this.what, [...this.#path, `${key}[${i}]`]);
    });
  }

  /** Errors of `read` name this field. */
  inside<T>(key: string, read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (error instanceof BpfkitError) throw this.error(key, error.message, error);
      throw error;
    }
  }

  #missing(key: string, expected: string): never {
    throw this.error(key, `expected ${expected}, but there is none`);
  }
}

function describe(v: unknown): string {
  if (v === undefined) return "nothing";
  if (v === null) return "null";
  if (Array.isArray(v)) return "a list";
  if (typeof v === "object") return "an object";
  const text = JSON.stringify(v);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));

export function toHex(bytes: Uint8Array): string {
  let out = "";
  for (let i = 0; i < bytes.length; i++) out += HEX[bytes[i] as number];
  return out;
}

/** @throws DecodeError */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text))
    throw new DecodeError("hex", "expected pairs of hex digits");
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(i * 2, i * 2 + 2), 16);
  return out;
}

const CHUNK = 0x3000;

export function toBase64(bytes: Uint8Array): string {
  let text = "";
  // Parts of a multiple of three bytes, short enough to be arguments of one call.
  for (let i = 0; i < bytes.length; i += CHUNK) text += btoa(String.fromCharCode(...bytes.subarray(i, i + CHUNK)));
  return text;
}

/** @throws DecodeError */
export function fromBase64(text: string): Uint8Array {
  const padded = text.endsWith("=");
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || (padded ? text.length % 4 !== 0 : text.length % 4 === 1))
    throw new DecodeError("base64", "expected base64");
  const binary = atob(text);
  const out = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) out[i] = binary.charCodeAt(i);
  return out;
}
