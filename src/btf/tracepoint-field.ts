/** A field of a tracepoint as tracefs describes it, as a TypeScript type. */

/** One `field:` line of a tracepoint's `format` file. */
export interface TracepointField {
  readonly name: string;
  /** The C type as written there, without the name: "pid_t", "char[16]", "__data_loc char[]", "const char *". */
  readonly type: string;
  /** Bytes. */
  readonly size: number;
  readonly signed: boolean;
}

/**
 * The TypeScript type of a tracepoint's field; `interfaceOf` gives the interface of a struct tag.
 */
export function tracepointFieldType(field: TracepointField, interfaceOf: (tag: string) => string | undefined): string {
  const type = field.type
    .replace(/^__(data|rel)_loc\b/, "")
    .replaceAll(/\b(const|volatile|__user|__rcu|__percpu)\b/g, "")
    .replaceAll(/\s+/g, " ")
    .trim();
  const array = /^(.*?)\s*\[[^\]]*\]$/.exec(type);
  if (array !== null)
    return /^(unsigned |signed )?char$/.test(array[1]!) && !array[1]!.startsWith("u") ? "string" : "number[]";
  if (!type.endsWith("*")) return type === "bool" || type === "_Bool" ? "boolean" : "number";
  const target = type.slice(0, -1).trim();
  if (target === "char") return "CString";
  const tag = /^(?:struct|union) (\w+)$/.exec(target)?.[1];
  if (tag !== undefined) return interfaceOf(tag) ?? "Pointer";
  return target.endsWith("*") || target === "void" || target.startsWith("struct ") ? "Pointer" : "Pointer<number>";
}
