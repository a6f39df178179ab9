/** The tables against the running kernel's BTF: enumerations, struct offsets, helper prototypes' structs. */
import { release } from "node:os";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import {
  BPF_CONST,
  COMMANDS,
  CTX_LAYOUTS,
  FLAGS,
  HELPERS,
  KFUNCS,
  PERF_EVENT_ATTR,
  PERF_EVENT_HEADER,
  PERF_EVENT_MMAP_PAGE,
  PERF_RECORD,
  PERF_SAMPLE,
  PERF_TYPE,
  PT_REGS,
  STRUCTS,
  ATTACH_TYPES,
  LINK_TYPES,
  MAP_TYPES,
  PROG_TYPES,
  kernelAtLeast,
} from "../../src/uapi/index.ts";
import type { BtfMember, BtfStruct } from "../../src/btf/index.ts";
import { vmlinux } from "./targets.ts";

const test = suite("uapi BTF");

/** Name → value of a named enumeration. */
function enumOf(name: string): Map<string, number> {
  const type = vmlinux().findByName(name, "enum") ?? vmlinux().findByName(name, "enum64");
  assert.ok(type !== undefined && (type.kind === "enum" || type.kind === "enum64"), `enum ${name}`);
  return new Map(type.values.map((v) => [v.name, Number(v.value)]));
}

/** The struct or union behind typedefs and qualifiers, or undefined. */
function structAt(id: number): BtfStruct | undefined {
  for (let next = id; ;) {
    const type = vmlinux().typeById(next);
    if (type.kind === "struct" || type.kind === "union") return type;
    if (type.kind !== "typedef" && type.kind !== "const" && type.kind !== "volatile") return undefined;
    next = type.type;
  }
}

function sizeOf(id: number): number {
  const type = vmlinux().typeById(id);
  switch (type.kind) {
    case "ptr":
      return 8;
    case "array":
      return type.nelems * sizeOf(type.type);
    case "typedef":
    case "const":
    case "volatile":
    case "restrict":
      return sizeOf(type.type);
    case "int":
    case "struct":
    case "union":
    case "enum":
    case "enum64":
      return type.size;
    default:
      throw new Error(`no size: ${type.kind}`);
  }
}

interface Found {
  readonly bit: number;
  readonly member: BtfMember;
}

/** The member called `path` ("outer.inner"), through anonymous structs. */
function find(struct: BtfStruct, path: string, base = 0): Found | undefined {
  const [head = "", ...rest] = path.split(".");
  for (const member of struct.members) {
    const bit = base + member.bitOffset;
    const inner = structAt(member.type);
    if (member.name === head) {
      if (rest.length === 0) return { bit, member };
      const found = inner === undefined ? undefined : find(inner, rest.join("."), bit);
      if (found !== undefined) return found;
    } else if (member.name === "" && inner !== undefined) {
      const found = find(inner, path, bit);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function structOf(name: string): BtfStruct {
  const type = vmlinux().findByName(name, "struct");
  assert.ok(type !== undefined && type.kind === "struct", `struct ${name}`);
  return type;
}

interface Field {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly bit?: number;
  readonly bits?: number;
  readonly since: string;
}

/** What stable releases and distributions put into older kernels too: seen in Debian's 6.1 and 6.12. */
const BACKPORTED = new Set([
  "BPF_F_IPV6",
  "BPF_FIB_LOOKUP_SKIP_NEIGH",
  "BPF_FIB_LOOKUP_TBID",
  "BPF_FIB_LOOKUP_SRC",
  "BPF_FIB_LKUP_RET_NO_SRC_ADDR",
  "bpf_fib_lookup.tbid",
  "LINK_CREATE.link_create.cgroup.relative_fd",
  "LINK_CREATE.link_create.cgroup.relative_id",
  "LINK_CREATE.link_create.cgroup.expected_revision",
  "perf_event_attr.aux_action",
  "perf_event_attr.aux_start_paused",
  "perf_event_attr.aux_pause",
  "perf_event_attr.aux_resume",
]);

/** Does the running kernel have what came with `since`? */
const has = (since: string): boolean => kernelAtLeast(release(), since);

/** Fields this kernel has are where the table says; those that came later are not there. */
function wrongFields(struct: BtfStruct, fields: readonly Field[], where: string): string[] {
  const wrong: string[] = [];
  for (const field of fields) {
    const found = find(struct, field.name);
    if (!has(field.since)) {
      if (found !== undefined && !BACKPORTED.has(`${where}.${field.name}`))
        wrong.push(`${where}.${field.name} is older than ${field.since}`);
    } else if (found === undefined) {
      wrong.push(`${where}.${field.name} (${field.since}) is not in BTF`);
    } else if (field.bit === undefined) {
      if (found.bit !== field.offset * 8) wrong.push(`${where}.${field.name} is at bit ${found.bit}`);
      if (sizeOf(found.member.type) !== field.size)
        wrong.push(`${where}.${field.name} is ${sizeOf(found.member.type)} bytes`);
    } else if (found.bit !== field.bit || found.member.bitSize !== field.bits) {
      wrong.push(`${where}.${field.name} is ${found.member.bitSize} bits at ${found.bit}`);
    }
  }
  return wrong;
}

test("program, map, attach and link types and helpers are those of the kernel's enumerations", () => {
  requires({ kernel: "6.1" });
  for (const [name, prefix, rows] of [
    ["bpf_prog_type", "BPF_PROG_TYPE_", PROG_TYPES],
    ["bpf_map_type", "BPF_MAP_TYPE_", MAP_TYPES],
    ["bpf_attach_type", "BPF_", ATTACH_TYPES],
    ["bpf_link_type", "BPF_LINK_TYPE_", LINK_TYPES],
    ["bpf_cmd", "BPF_", COMMANDS],
    ["bpf_func_id", "BPF_FUNC_", HELPERS],
  ] as const) {
    const kernel = enumOf(name);
    for (const row of rows) {
      assert.is(
        kernel.get(`${prefix}${row.name}`),
        has(row.since) ? row.id : undefined,
        `${name} ${row.name} (${row.since})`,
      );
    }
    const ids = new Set<number>(rows.map((row) => row.id));
    for (const [key, value] of kernel) {
      if (key.startsWith("__") || key === "BPF_FUNC_unspec") continue;
      assert.ok(ids.has(value), `${key} (${value}) is not in the table`);
    }
  }
});

test("flags and constants have the kernel's values", () => {
  requires({ kernel: "6.1" });
  const btf = vmlinux();
  const kernel = new Map<string, number>();
  for (let id = 1; ; id++) {
    let type;
    try {
      type = btf.typeById(id);
    } catch {
      break;
    }
    if (type.kind === "enum" || type.kind === "enum64")
      for (const v of type.values) kernel.set(v.name, Number(v.value));
  }
  let seen = 0;
  const early: string[] = [];
  for (const row of FLAGS) {
    const value = kernel.get(row.name);
    if (value === undefined) continue;
    seen++;
    if (!has(row.since) && !BACKPORTED.has(row.name)) early.push(`${row.name} is older than ${row.since}`);
    assert.is(row.name === "BPF_RINGBUF_BUSY_BIT" ? value >>> 0 : value, row.value, row.name);
  }
  assert.equal(early, []);
  assert.ok(seen > 130, `${seen} of ${FLAGS.length} found`);
  assert.is(kernel.get("XDP_TX"), BPF_CONST.XDP_TX);
});

test("attrs of bpf(2): every field has the kernel's offset and size", () => {
  requires({ kernel: "6.1" });
  const attr = vmlinux().findByName("bpf_attr", "union");
  assert.ok(attr?.kind === "union");
  // Commands whose fields are in a named struct inside the union; the others' are in anonymous ones.
  const inside: Record<string, string> = {
    PROG_TEST_RUN: "test",
    OBJ_GET_INFO_BY_FD: "info",
    PROG_QUERY: "query",
    RAW_TRACEPOINT_OPEN: "raw_tracepoint",
    TASK_FD_QUERY: "task_fd_query",
    MAP_LOOKUP_BATCH: "batch",
    MAP_LOOKUP_AND_DELETE_BATCH: "batch",
    MAP_UPDATE_BATCH: "batch",
    MAP_DELETE_BATCH: "batch",
    LINK_CREATE: "link_create",
    LINK_UPDATE: "link_update",
    LINK_DETACH: "link_detach",
    ENABLE_STATS: "enable_stats",
    ITER_CREATE: "iter_create",
    PROG_BIND_MAP: "prog_bind_map",
    TOKEN_CREATE: "token_create",
    PROG_STREAM_READ_BY_FD: "prog_stream_read",
  };
  const wrong: string[] = [];
  for (const row of COMMANDS) {
    if (!has(row.since)) continue;
    const outer = inside[row.name];
    const prefix = outer === undefined ? "" : `${outer}.`;
    wrong.push(
      ...wrongFields(
        attr,
        row.attr.map((f) => ({ ...f, name: prefix + f.name })),
        row.name,
      ),
    );
  }
  assert.equal(wrong, []);
  // The longest command fills the union's known part.
  if (has("6.18")) assert.is(Math.max(...COMMANDS.map((c) => c.size)), attr.size);
});

test("info structs, contexts and perf structs have the kernel's layout", () => {
  requires({ kernel: "6.1" });
  const wrong: string[] = [];
  for (const row of [...STRUCTS, ...CTX_LAYOUTS, PERF_EVENT_ATTR, PERF_EVENT_MMAP_PAGE, PERF_EVENT_HEADER]) {
    if (!has(row.since)) continue;
    const struct = structOf(row.name);
    if (row.fields.every((f) => has(f.since))) assert.is(struct.size, row.size, row.name);
    wrong.push(...wrongFields(struct, row.fields, row.name));
  }
  assert.equal(wrong, []);
});

test("info structs and contexts leave nothing out", () => {
  requires({ kernel: "6.1" });
  const names = (struct: BtfStruct, prefix = ""): string[] =>
    struct.members.flatMap((m) => {
      const inner = structAt(m.type);
      if (m.name === "") return inner === undefined ? [] : names(inner, prefix);
      const anonymous = inner !== undefined && inner.name === "";
      return anonymous ? names(inner, `${prefix}${m.name}.`) : [prefix + m.name];
    });
  for (const row of [...CTX_LAYOUTS, ...STRUCTS.filter((s) => s.name.endsWith("_info"))]) {
    if (!has(row.since)) continue;
    const table = new Set(row.fields.map((f) => f.name));
    for (const name of names(structOf(row.name))) {
      assert.ok(
        table.has(name) || row.fields.some((f) => f.name.startsWith(`${name}.`)),
        `${row.name}.${name} is missing`,
      );
    }
  }
});

test("registers of this architecture are the kernel's pt_regs", () => {
  requires({ kernel: "6.1" });
  if (process.arch !== "x64") return;
  const struct = structOf("pt_regs");
  for (const [name, offset] of Object.entries(PT_REGS.x64.regs)) {
    assert.is(find(struct, name)?.bit, offset * 8, name);
  }
  assert.is(struct.size, PT_REGS.x64.size);
});

test("perf: types, sample bits and records are the kernel's", () => {
  requires({ kernel: "6.1" });
  for (const [name, prefix, object] of [
    ["perf_type_id", "PERF_TYPE_", PERF_TYPE],
    ["perf_event_sample_format", "PERF_SAMPLE_", PERF_SAMPLE],
    ["perf_event_type", "PERF_RECORD_", PERF_RECORD],
  ] as const) {
    const kernel = enumOf(name);
    for (const [key, value] of Object.entries(object)) assert.is(kernel.get(prefix + key), value, prefix + key);
  }
});

test("kfuncs: every function the kernel tags as one is in the table, and the structs of helper arguments exist", () => {
  requires({ kernel: "6.1" });
  const btf = vmlinux();
  const known = new Map(KFUNCS.map((k) => [k.name, k]));
  const missing: string[] = [];
  let tagged = 0;
  for (const id of btf.findIds("bpf_kfunc", "decl_tag")) {
    const tag = btf.typeById(id);
    assert.ok(tag.kind === "decl_tag");
    const name = btf.typeById(tag.type).name;
    tagged++;
    if (!known.has(name) && !/test|update_socket_protocol|kfunc_call_memb_release/.test(name)) missing.push(name);
  }
  assert.equal(missing, []);
  // The tag is written by pahole 1.26 and newer.
  if (tagged > 0) assert.ok(tagged > 100, `${tagged}`);
  for (const row of KFUNCS) {
    // Functions of that name that are no kfunc yet exist: congestion control, crash_kexec, cgroup_rstat_flush.
    if (!row.name.startsWith("bpf_") || has(row.since)) continue;
    assert.is(btf.findByName(row.name, "func"), undefined, `${row.name} is older than ${row.since}`);
  }
  for (const row of HELPERS) {
    for (const part of [row.ret, ...row.args, ...(row.variants ?? []).flatMap((v) => v.args ?? [])]) {
      if (part.btf !== undefined && part.btf !== "mptcp_sock") structOf(part.btf);
    }
  }
});
