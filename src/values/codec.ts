/**
 * Compiled codecs: a schema becomes one function that reads a value out of memory and
 * one that writes it. The generated functions close over the views of one buffer as
 * local constants; reading through module-level variables or a list of fields would
 * cost two to four times as much.
 *
 * 64-bit integers decode to bigint, the others to number, `char[n]` to the text before
 * the first NUL, enums to the name of the value where it has one. Encoding checks every
 * value: nothing wraps, nothing is left unset, padding is zero (a hash key must be).
 */
import { hostEndian } from "../core/bytes.ts";
import type { FieldSchema, Infer, IntSchema, Schema, StructSchema } from "../probe/schema-types.ts";
import { isManaged } from "../probe/schema.ts";
import { type Runtime, makeRuntime } from "./codec-runtime.ts";

/** Reads the value at byte `offset` of the buffer it was made for. */
export type Decode<T> = (offset: number) => T;
/** Writes `value` at byte `offset` of the buffer it was made for. Throws `ArgumentError`. */
export type Encode<T> = (value: T, offset: number) => void;

export interface Codec<T> {
  readonly schema: Schema;
  /** Size in bytes. */
  readonly size: number;
  /**
   * A decoder of one buffer. `aligned` promises that every offset it will be called
   * with is a multiple of 8 (ring-buffer samples are), which makes it faster. `own`
   * compiles code of its own for this buffer: V8 treats the views of a function as
   * constants only while there is one closure of it (5 ns a sample against 50).
   */
  decoder(buffer: ArrayBufferLike, options?: { aligned?: boolean; own?: boolean }): Decode<T>;
  /** An encoder into one buffer. `what` names the value in errors ("key", "value"). */
  encoder(buffer: ArrayBufferLike, what?: string): Encode<T>;
}

const HOST_LITTLE = hostEndian === "little";
const cache = new WeakMap<Schema, Codec<unknown>>();

/**
 * The codec of `schema`, in the byte order of this machine. Compiled once per schema.
 *
 * @example
 * const codec = codecOf(struct({ pid: u32, comm: char(16) }));
 * const bytes = new Uint8Array(codec.size);
 * codec.encoder(bytes.buffer)({ pid: 1, comm: "init" }, 0);
 * codec.decoder(bytes.buffer)(0); // { pid: 1, comm: "init" }
 */
export function codecOf<S extends Schema>(schema: S): Codec<Infer<S>> {
  let codec = cache.get(schema);
  if (codec === undefined) cache.set(schema, (codec = compileCodec(schema)));
  return codec as Codec<Infer<S>>;
}

/** Decodes one value from bytes of their own (`offset` bytes in). */
export function decodeValue<S extends Schema>(schema: S, bytes: Uint8Array, offset = 0): Infer<S> {
  return codecOf(schema).decoder(bytes.buffer)(bytes.byteOffset + offset);
}

/** Encodes one value to fresh bytes. Throws `ArgumentError` naming the field. */
export function encodeValue<S extends Schema>(schema: S, value: Infer<S>, what = "value"): Uint8Array {
  const bytes = new Uint8Array(schema.size);
  codecOf(schema).encoder(bytes.buffer, what)(value, 0);
  return bytes;
}

type Factory<F> = (buffer: ArrayBufferLike, runtime: Runtime) => F;

function compileCodec(schema: Schema): Codec<unknown> {
  const factories: Partial<Record<"plain" | "aligned", Factory<Decode<unknown>>>> = {};
  let encodeFactory: Factory<Encode<unknown>> | undefined;
  return {
    schema,
    size: schema.size,
    decoder(buffer, options) {
      const mode = options?.aligned === true && buffer.byteLength % 8 === 0 ? "aligned" : "plain";
      if (options?.own === true)
        return new Generator(mode === "aligned").decoder(schema, uniqueSource())(buffer, makeRuntime(buffer, "value"));
      const factory = (factories[mode] ??= new Generator(mode === "aligned").decoder(schema));
      return factory(buffer, makeRuntime(buffer, "value"));
    },
    encoder(buffer, what = "value") {
      encodeFactory ??= new Generator(false).encoder(schema);
      return encodeFactory(buffer, makeRuntime(buffer, what));
    },
  };
}

/** Views that generated code may use; only those it mentions are made. */
const VIEWS: Readonly<Record<string, string>> = {
  v: "new DataView(buffer)",
  u8: "new Uint8Array(buffer)",
  s8: "new Int8Array(buffer)",
  u16: "new Uint16Array(buffer)",
  s16: "new Int16Array(buffer)",
  u32: "new Uint32Array(buffer)",
  s32: "new Int32Array(buffer)",
  u64: "new BigUint64Array(buffer)",
  s64: "new BigInt64Array(buffer)",
};
const RUNTIME = [
  "text",
  "slice",
  "putText",
  "putBytes",
  "int",
  "big",
  "bool",
  "enumOf",
  "object",
  "list",
  "union",
  "names",
  "values",
];

let sources = 0;

/**
 * A comment that makes generated source unique: V8 caches the code of equal sources,
 * and with it the fact that there are many closures of it.
 */
export function uniqueSource(): string {
  return ` // ${++sources}`;
}

class Generator {
  readonly #aligned: boolean;
  /** Constants that the code refers to as `k[i]`: enum tables. */
  readonly #constants: unknown[] = [];
  #temps = 0;

  constructor(aligned: boolean) {
    this.#aligned = aligned;
  }

  decoder(schema: Schema, suffix = ""): Factory<Decode<unknown>> {
    const body = this.#read(schema, 0, "o");
    return this.#finish<Decode<unknown>>(`return function decode(o) { return ${body}; };${suffix}`);
  }

  encoder(schema: Schema): Factory<Encode<unknown>> {
    const body = `${hasPadding(schema) ? `u8.fill(0, o, o + ${schema.size});` : ""}${this.#write(schema, "x", 0, "o", [])}`;
    return this.#finish<Encode<unknown>>(`return function encode(x, o) { ${body} };`);
  }

  #finish<F>(body: string): Factory<F> {
    const uses = (name: string): boolean => new RegExp(`\\b${name}\\b`).test(body);
    const views = Object.entries(VIEWS).filter(([name]) => uses(name));
    const source = [
      '"use strict";',
      ...views.map(([name, init]) => `const ${name} = ${init};`),
      ...RUNTIME.filter(uses).map((name) => `const ${name} = runtime.${name};`),
      ...this.#constants.map((_, i) => `const k${i} = k[${i}];`).filter((_, i) => uses(`k${i}`)),
      body,
    ].join("\n");
    // oxlint-disable-next-line no-implied-eval, no-new-func
    const make = new Function("buffer", "runtime", "k", source) as (b: ArrayBufferLike, r: Runtime, k: unknown[]) => F;
    return (buffer, runtime) => make(buffer, runtime, this.#constants);
  }

  #constant(value: unknown): string {
    this.#constants.push(value);
    return `k${this.#constants.length - 1}`;
  }

  /** An expression that reads `schema` at `base + at`. */
  #read(schema: Schema, at: number, base: string): string {
    switch (schema.kind) {
      case "int":
        return this.#readInt(schema, at, base);
      case "bool":
        return `u8[${plus(base, at)}] !== 0`;
      case "char":
        return `text(${plus(base, at)}, ${schema.length})`;
      case "bytes":
        return `slice(${plus(base, at)}, ${schema.length})`;
      case "enum": {
        const names = this.#constant(
          new Map([...schema.values].map(([name, value]) => [value, name] as const).reverse()),
        );
        const value = this.#temp();
        const bits = (schema.size * 8) as 8 | 16 | 32 | 64;
        const raw = this.#readInt({ bits, signed: schema.signed, bigEndian: false }, at, base);
        return `((${value}) => ${names}.get(${value}) ?? ${value})(${bits === 64 ? `Number(${raw})` : raw})`;
      }
      case "array": {
        const size = schema.element.size;
        if (schema.length <= 8) {
          return `[${Array.from({ length: schema.length }, (_, i) => this.#read(schema.element, at + i * size, base)).join(", ")}]`;
        }
        const [a, i, p] = [this.#temp(), this.#temp(), this.#temp()];
        const element = this.#read(schema.element, 0, p);
        return `((${a}, ${p}) => { for (let ${i} = 0; ${i} < ${schema.length}; ${i}++, ${p} += ${size}) ${a}.push(${element}); return ${a}; })([], ${plus(base, at)})`;
      }
      case "struct":
      case "union":
        return `{ ${given(schema)
          .map((f) => `${keyOf(f.name)}: ${this.#read(f.schema, at + f.offset, base)}`)
          .join(", ")} }`;
    }
  }

  #readInt(int: Pick<IntSchema, "bits" | "signed" | "bigEndian">, at: number, base: string): string {
    const bytes = int.bits / 8;
    const view = `${int.signed ? "s" : "u"}${int.bits}`;
    if (bytes === 1) return `${view}[${plus(base, at)}]`;
    if (this.#aligned && !int.bigEndian && at % bytes === 0 && base === "o") {
      // (`>>>`: offsets above 2 GiB stay positive.)
      return `${view}[${plus(`(o >>> ${bytes === 8 ? 3 : bytes === 4 ? 2 : 1})`, at / bytes)}]`;
    }
    return `v.${method("get", int.bits, int.signed)}(${plus(base, at)}, ${HOST_LITTLE !== int.bigEndian})`;
  }

  /** Statements that write `value` (an expression, evaluated once by the caller) at `base + at`. */
  #write(schema: Schema, value: string, at: number, base: string, path: readonly string[]): string {
    // Hoisted: a literal in the body would be a new array for every value written.
    const where = this.#constant(path);
    switch (schema.kind) {
      case "int": {
        const little = HOST_LITTLE !== schema.bigEndian;
        const set = `v.${method("set", schema.bits, schema.signed)}`;
        const checked =
          schema.bits === 64
            ? `big(${value}, ${schema.signed}, ${where})`
            : `int(${value}, ${schema.signed ? -(2 ** (schema.bits - 1)) : 0}, ${2 ** (schema.bits - (schema.signed ? 1 : 0)) - 1}, ${where})`;
        return `${set}(${plus(base, at)}, ${checked}${schema.bits === 8 ? "" : `, ${little}`});`;
      }
      case "bool":
        return `u8[${plus(base, at)}] = bool(${value}, ${where}) ? 1 : 0;`;
      case "char":
        return `putText(${value}, ${plus(base, at)}, ${schema.length}, ${where});`;
      case "bytes":
        return `putBytes(${value}, ${plus(base, at)}, ${schema.length}, ${where});`;
      case "enum": {
        const bits = (schema.size * 8) as 8 | 16 | 32 | 64;
        const number = `enumOf(${value}, ${this.#constant(schema.values)}, ${where})`;
        const int = {
          kind: "int",
          size: schema.size,
          align: schema.align,
          name: "",
          bits,
          signed: schema.signed,
          bigEndian: false,
        } as const;
        return this.#write(int, number, at, base, path);
      }
      case "array": {
        const [a, i, p] = [this.#temp(), this.#temp(), this.#temp()];
        const element = this.#write(schema.element, `${a}[${i}]`, 0, p, [...path, "[]"]);
        return `{ const ${a} = list(${value}, ${schema.length}, ${where}); let ${p} = ${plus(base, at)}; for (let ${i} = 0; ${i} < ${schema.length}; ${i}++, ${p} += ${schema.element.size}) { ${element} } }`;
      }
      case "struct": {
        const s = this.#temp();
        const fields = given(schema).map((f) =>
          this.#write(f.schema, `${s}[${JSON.stringify(f.name)}]`, at + f.offset, base, [...path, f.name]),
        );
        return `{ const ${s} = object(${value}, ${where}); ${fields.join(" ")} }`;
      }
      case "union": {
        const [u, m] = [this.#temp(), this.#temp()];
        const arms = schema.fields.map(
          (f) =>
            `case ${JSON.stringify(f.name)}: { ${this.#write(f.schema, `${u}[${JSON.stringify(f.name)}]`, at + f.offset, base, [...path, f.name])} break; }`,
        );
        return `{ const ${u} = object(${value}, ${where}); const ${m} = union(${u}, ${this.#constant(schema.fields.map((f) => f.name))}, ${where}); switch (${m}) { ${arms.join(" ")} } }`;
      }
    }
  }

  #temp(): string {
    return `t${this.#temps++}`;
  }
}

function plus(base: string, at: number): string {
  return at === 0 ? base : `${base} + ${at}`;
}

/** `"__proto__": x` in an object literal would set the prototype instead of a field. */
function keyOf(name: string): string {
  return name === "__proto__" ? `["__proto__"]` : JSON.stringify(name);
}

function method(verb: "get" | "set", bits: 8 | 16 | 32 | 64, signed: boolean): string {
  return `${verb}${bits === 64 ? "Big" : ""}${signed ? "Int" : "Uint"}${bits}`;
}

/** Does encoding leave bytes of `schema` unwritten? */
function hasPadding(schema: Schema): boolean {
  switch (schema.kind) {
    case "struct":
      return fieldBytes(schema) < schema.size || schema.fields.some((f) => hasPadding(f.schema));
    case "union":
      return true;
    case "array":
      return hasPadding(schema.element);
    default:
      return false;
  }
}

function fieldBytes(schema: StructSchema): number {
  return given(schema).reduce((sum, f) => sum + f.schema.size, 0);
}

/** Fields that values have: locks and timers are the kernel's own. */
function given(schema: StructSchema): readonly FieldSchema[] {
  return schema.fields.some((f) => isManaged(f.schema))
    ? schema.fields.filter((f) => !isManaged(f.schema))
    : schema.fields;
}
