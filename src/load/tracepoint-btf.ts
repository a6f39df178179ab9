/** Layouts of tracepoints from the kernel's types, for who may not read tracefs (only root may). */
import { type Btf, resolve, sizeOf } from "../btf/index.ts";
import type { TracepointField, TracepointFormat } from "../syscall/tracefs.ts";

/** What every record begins with: `common_type`, `common_flags`, `common_preempt_count`, `common_pid`. */
const COMMON = 8;

/**
 * The record of "category:name" as `struct trace_event_raw_NAME` has it, or undefined: events that share
 * a class are not named in BTF, and neither are the arguments of system calls (`syscalls:sys_enter_*`).
 */
export function tracepointFormatOfBtf(btf: Btf, category: string, name: string): TracepointFormat | undefined {
  // Every exit of a system call has the record of raw_syscalls:sys_exit, but for the number: an int of another name.
  const exits = category === "syscalls" && name.startsWith("sys_exit_");
  const struct = btf.findByName(`trace_event_raw_${exits ? "sys_exit" : name}`, "struct");
  if (struct?.kind !== "struct") return undefined;
  const fields: TracepointField[] = [];
  for (const member of struct.members) {
    const offset = member.bitOffset / 8;
    if (offset < COMMON || member.name === "__data") continue;
    const [, dynamic, plain] = /^(?:__(data|rel)_loc_)?(.*)$/.exec(member.name) ?? [];
    if (exits && plain === "id") {
      fields.push({ name: "__syscall_nr", type: "int", offset, size: 4, signed: true, dynamic: undefined });
      continue;
    }
    const type = resolve(btf, member.type);
    fields.push({
      name: plain ?? "",
      type: dynamic === undefined ? cType(btf, member.type) : `__${dynamic}_loc char[]`,
      offset,
      size: sizeOf(btf, member.type),
      signed: type.kind === "int" && type.signed,
      dynamic: dynamic === undefined ? undefined : dynamic === "data" ? "data_loc" : "rel_loc",
    });
  }
  return { category, name, id: 0, fields, printFmt: "" };
}

/** A type as tracefs writes it. */
function cType(btf: Btf, id: number): string {
  if (id === 0) return "void";
  const type = btf.typeById(id);
  switch (type.kind) {
    case "ptr":
      return `${cType(btf, type.type)} *`;
    case "const":
    case "volatile":
      return `${type.kind} ${cType(btf, type.type)}`;
    case "restrict":
    case "type_tag":
      return cType(btf, type.type);
    case "array":
      return `${cType(btf, type.type)}[${type.nelems}]`;
    case "struct":
    case "union":
      return `${type.kind} ${type.name}`;
    case "enum":
      return "unsigned int";
    case "int":
    case "typedef":
      return type.name;
    default:
      return "void";
  }
}
