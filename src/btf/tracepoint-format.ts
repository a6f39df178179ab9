/** Layouts of trace events: from the text of tracefs, or from the kernel's types for who may not read that (only root may). */
import { BpfkitError } from "../core/errors.ts";
import type { Btf } from "./btf.ts";
import { syscallArgs } from "../uapi/syscall-args.ts";
import { resolve, sizeOf } from "./layout.ts";
import type { BtfType } from "./types.ts";

/** One field of a tracepoint's record. Offsets and sizes in bytes. */
export interface TracepointField {
  readonly name: string;
  /** The C declaration without the name, such as "const char *" or "char[16]". */
  readonly type: string;
  readonly offset: number;
  readonly size: number;
  readonly signed: boolean;
  /** `__data_loc char[]` and `__rel_loc`: the field holds offset (low 16 bits) and length of the data. */
  readonly dynamic: "data_loc" | "rel_loc" | undefined;
}
export interface TracepointFormat {
  readonly category: string;
  readonly name: string;
  readonly id: number;
  /** Fields in the order of the record; the first four (`common_*`) take 8 bytes. */
  readonly fields: readonly TracepointField[];
  /** The kernel's own print format. */
  readonly printFmt: string;
}

/** Parses the text of a tracepoint's `format` file. Throws `BpfkitError` code "TRACEPOINT_FORMAT". */
export function parseTracepointFormat(text: string, category = ""): TracepointFormat {
  const name = /^name: (\S+)$/m.exec(text)?.[1];
  const id = /^ID: (\d+)$/m.exec(text)?.[1];
  if (name === undefined || id === undefined) {
    throw new BpfkitError("TRACEPOINT_FORMAT", 'expected a tracepoint\'s format file, with lines "name:" and "ID:"');
  }
  const fields: TracepointField[] = [];
  for (const m of text.matchAll(/^\s+field:([^;]*);\s*offset:(\d+);\s*size:(\d+);(?:\s*signed:([01]);)?/gm)) {
    const declaration = m[1] ?? "";
    const parts = /^(.*?)([A-Za-z_]\w*)((?:\[[^\]]*\])*)$/.exec(declaration.trim());
    if (parts === null) continue;
    let type = `${(parts[1] ?? "").trim()}${parts[3] ?? ""}`;
    const dynamic = type.startsWith("__data_loc ") ? "data_loc" : type.startsWith("__rel_loc ") ? "rel_loc" : undefined;
    if (dynamic !== undefined) type = type.slice(type.indexOf(" ") + 1);
    fields.push({
      name: parts[2] ?? "",
      type,
      offset: Number(m[2]),
      size: Number(m[3]),
      signed: m[4] === "1",
      dynamic,
    });
  }
  const printFmt = /^print fmt: ([\s\S]*)$/m.exec(text)?.[1]?.trim() ?? "";
  return { category, name, id: Number(id), fields, printFmt };
}

/** What every record begins with: `common_type`, `common_flags`, `common_preempt_count`, `common_pid`. */
const COMMON = 8;

/** Arguments of system calls: eight bytes each, behind the number. */
const FIRST_ARGUMENT = 16;

function syscallEnter(category: string, name: string, call: string): TracepointFormat | undefined {
  const args = syscallArgs(call);
  if (args === undefined) return undefined;
  const number = { name: "__syscall_nr", type: "int", offset: 8, size: 4, signed: true, dynamic: undefined };
  const rest = args.map((a, i) => ({
    ...a,
    offset: FIRST_ARGUMENT + i * 8,
    size: 8,
    signed: false,
    dynamic: undefined,
  }));
  return { category, name, id: 0, fields: [number, ...rest], printFmt: "" };
}

const classes = new WeakMap<Btf, ReadonlyMap<string, readonly string[]>>();

/** Classes of events by the types of their arguments. */
function classesOf(btf: Btf): ReadonlyMap<string, readonly string[]> {
  let known = classes.get(btf);
  if (known === undefined) {
    const found = new Map<string, string[]>();
    for (let id = btf.firstId; btf.has(id); id++) {
      if (btf.kindOf(id) !== BTF_KIND_FUNC) continue;
      const [, name] = /^__bpf_trace_(\w+)$/.exec(btf.nameOf(id)) ?? [];
      const key = name === undefined ? undefined : argumentTypes(btf, btf.typeById(id));
      if (name === undefined || key === undefined || btf.findId(`trace_event_raw_${name}`, "struct") === 0) continue;
      const list = found.get(key);
      if (list === undefined) found.set(key, [name]);
      else list.push(name);
    }
    classes.set(btf, (known = found));
  }
  return known;
}
const BTF_KIND_FUNC = 12;

/** Types of a probe function's arguments behind `void *data`. */
function argumentTypes(btf: Btf, func: BtfType | undefined): string | undefined {
  const proto = func?.kind === "func" ? btf.typeById(func.type) : undefined;
  return proto?.kind === "func_proto"
    ? proto.params
        .slice(1)
        .map((p) => p.type)
        .join()
    : undefined;
}

/**
 * The record of "category:name" as `struct trace_event_raw_NAME` has it, else that of the one class of events with the
 * same arguments; undefined when several have them. What system calls take comes from a table.
 */
export function tracepointFormatOfBtf(btf: Btf, category: string, name: string): TracepointFormat | undefined {
  if (category === "syscalls" && name.startsWith("sys_enter_"))
    return syscallEnter(category, name, name.slice("sys_enter_".length));
  const direct = recordOfBtf(btf, category, name);
  if (direct !== undefined) return direct;
  const key = argumentTypes(btf, btf.findByName(`__traceiter_${name}`, "func"));
  const [only, ...others] = key === undefined ? [] : (classesOf(btf).get(key) ?? []);
  if (only === undefined || others.length > 0) return undefined;
  const record = recordOfBtf(btf, category, only);
  return record === undefined ? undefined : { ...record, name };
}

function recordOfBtf(btf: Btf, category: string, name: string): TracepointFormat | undefined {
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
