/** A text that changes whenever a captured value changes: what the compile cache compares. */
import * as probe from "../probe/index.ts";

const MAX_DEPTH = 12;

/** Name of a schema that bpfkit itself exports (`u32`, …): most schemas are made of these, and walking them takes 1 ms, cold. */
function ownName(value: unknown): string | undefined {
  const { name } = value as { readonly name?: unknown };
  return typeof name === "string" && (probe as Readonly<Record<string, unknown>>)[name] === value ? name : undefined;
}

/** Undefined when the value cannot be told from another one (class instances, proxies, very deep objects): do not cache. */
export function fingerprint(value: unknown): string | undefined {
  const seen = new Map<object, number>();
  let known = true;

  const walk = (v: unknown, depth: number): string => {
    switch (typeof v) {
      case "string":
        return JSON.stringify(v);
      case "number":
        return Object.is(v, -0) ? "-0" : String(v);
      case "bigint":
        return `${v}n`;
      case "boolean":
      case "undefined":
        return String(v);
      case "symbol":
        known = false;
        return "";
      default:
    }
    if (v === null) return "null";
    const name = ownName(v);
    if (name !== undefined) return `@${name}`;
    const object = v as object;
    const before = seen.get(object);
    if (before !== undefined) return `#${before}`;
    seen.set(object, seen.size);
    if (depth > MAX_DEPTH) {
      known = false;
      return "";
    }
    // Schemas are functions with properties; a function's text stands for what it does.
    const head = typeof v === "function" ? `f(${Function.prototype.toString.call(v)})` : "";
    if (v instanceof Map)
      return `${head}M{${[...v].map(([k, x]) => `${walk(k, depth + 1)}:${walk(x, depth + 1)}`).join()}}`;
    if (ArrayBuffer.isView(v)) return `B[${Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString("latin1")}]`;
    if (Array.isArray(v)) return `[${v.map((x) => walk(x, depth + 1)).join()}]`;
    const own = Object.getOwnPropertyDescriptors(v);
    return `${head}{${Object.entries(own)
      // Where something was declared is not what it means.
      .filter(([key]) => key !== "site" && key !== "prototype")
      .map(([key, d]) => {
        if (d.get !== undefined) {
          known = false;
          return key;
        }
        return `${key}:${walk(d.value, depth + 1)}`;
      })
      .join()}}`;
  };

  const text = walk(value, 0);
  return known ? text : undefined;
}
