/**
 * Argument types of helpers against the running kernel: every argument in turn gets a pointer it cannot take,
 * after valid ones; the verifier's "expected=" tells what it wants.
 */
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { BPF_CMD, BPF_F, BPF_MAP_TYPE, HELPERS, MAP_RULES, helperProto } from "../../src/uapi/index.ts";
import type { ArgType, HelperArg, HelperRow } from "../../src/uapi/index.ts";
import { bpf, close, tryLoad } from "./raw-bpf.ts";
import { insn, insns, label, load, targets } from "./targets.ts";
import type { Target } from "./targets.ts";

const test = suite("uapi helper arguments");

/** What the verifier says it expects, by argument type (kernel/bpf/verifier.c: compatible_reg_types). */
const EXPECTED: Partial<Record<ArgType, RegExp>> = {
  ARG_CONST_MAP_PTR: /expected=map_ptr$/,
  ARG_PTR_TO_MAP_KEY: /expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf/,
  ARG_PTR_TO_MAP_VALUE: /expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf/,
  ARG_PTR_TO_MEM: /expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf/,
  ARG_CONST_SIZE: /expected=scalar$/,
  ARG_CONST_SIZE_OR_ZERO: /expected=scalar$/,
  ARG_CONST_ALLOC_SIZE_OR_ZERO: /expected=scalar$/,
  ARG_PTR_TO_CTX: /expected=ctx/,
  ARG_PTR_TO_SPIN_LOCK: /expected=map_value, ptr_$/,
  ARG_PTR_TO_SOCK_COMMON: /expected=sock_common, sock, tcp_sock, xdp_sock$/,
  ARG_PTR_TO_SOCKET: /expected=sock/,
  ARG_PTR_TO_BTF_ID: /expected=ptr_, trusted_ptr_, rcu_ptr_/,
  ARG_PTR_TO_BTF_ID_SOCK_COMMON: /expected=sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_/,
  ARG_PTR_TO_RINGBUF_MEM: /expected=ringbuf_mem$/,
  ARG_PTR_TO_PERCPU_BTF_ID: /expected=percpu_ptr_/,
  ARG_PTR_TO_FUNC: /expected=func$/,
  ARG_PTR_TO_STACK: /expected=fp$/,
  ARG_PTR_TO_CONST_STR: /expected=map_value$/,
  ARG_PTR_TO_TIMER: /expected=map_value$/,
  ARG_KPTR_XCHG_DEST: /expected=map_value, ptr_/,
  ARG_PTR_TO_DYNPTR: /expected=fp, dynptr_ptr$/,
};
/** Types for which the test can make a valid value. */
const MAKES =
  /^ARG_(PTR_TO_CTX|CONST_MAP_PTR|PTR_TO_MEM|PTR_TO_MAP_KEY|PTR_TO_MAP_VALUE|CONST_SIZE|CONST_SIZE_OR_ZERO|ANYTHING|CONST_ALLOC_SIZE_OR_ZERO)$/;

/** Maps by type, made when first asked for. */
class Maps {
  readonly #fds = new Map<string, number>();

  /** One that `helper` takes; -1 when it takes none of the plain types. */
  for(helper: string): number {
    const plain =
      /^(ARRAY|PROG_ARRAY|PERF_EVENT_ARRAY|STACK_TRACE|CGROUP_ARRAY|RINGBUF|USER_RINGBUF|QUEUE|SOCKMAP|SOCKHASH|PERCPU_ARRAY|DEVMAP|REUSEPORT_SOCKARRAY)$/;
    const rule = MAP_RULES.find(
      (row) => plain.test(row.mapType) && (row.helpers as readonly string[]).includes(helper),
    );
    if (rule === undefined) return -1;
    const size = (given: unknown, otherwise: number): number => (typeof given === "number" ? given : otherwise);
    const value = rule.mapType === "STACK_TRACE" ? 8 : size(rule.valueSize, 4);
    const entries = rule.mapType.endsWith("RINGBUF") ? 4096 : 1;
    return this.create(rule.mapType, [BPF_MAP_TYPE[rule.mapType], size(rule.keySize, 4), value, entries, 0]);
  }

  create(name: string, words: readonly number[]): number {
    let fd = this.#fds.get(name);
    if (fd === undefined) {
      const attr = new Uint8Array(24);
      const v = new DataView(attr.buffer);
      words.forEach((word, i) => v.setUint32(i * 4, word, true));
      fd = bpf(BPF_CMD.MAP_CREATE, attr);
      assert.ok(fd >= 0, `${name}: ${fd}`);
      this.#fds.set(name, fd);
    }
    return fd;
  }

  close(): void {
    for (const fd of this.#fds.values()) close(fd);
  }
}

/** A call of `helper` with valid arguments, but argument `n` made by `wrong`. r6: the context; r10-64..r10: zeros (keys, values, buffers). */
function call(
  helper: HelperRow,
  args: readonly HelperArg[],
  maps: Maps,
  n: number,
  wrong: (r: number) => Uint8Array[],
): Uint8Array {
  const code = [insn(0xbf, 6, 1, 0, 0)];
  for (let off = -64; off < 0; off += 8) code.push(insn(0x7a, 10, 0, off, 0));
  for (const [i, a] of args.entries()) {
    const r = i + 1;
    if (i === n) code.push(...wrong(r));
    else if (a.type === "ARG_PTR_TO_CTX") code.push(insn(0xbf, r, 6, 0, 0));
    else if (a.type === "ARG_CONST_MAP_PTR") code.push(insn(0x18, r, 1, 0, maps.for(helper.name)), insn(0, 0, 0, 0, 0));
    else if (/MEM|MAP_KEY|MAP_VALUE/.test(a.type)) code.push(insn(0xbf, r, 10, 0, 0), insn(0x07, r, 0, 0, -64));
    else code.push(insn(0xb7, r, 0, 0, a.type.includes("SIZE") ? 8 : 0));
  }
  code.push(insn(0x85, 0, 0, 0, helper.id), insn(0xb7, 0, 0, 0, 0), insn(0x95, 0, 0, 0, 0));
  return insns(...code);
}

/** Every distinct prototype, with a program that may call it. */
function* prototypes(): Generator<{ t: Target; helper: HelperRow; args: readonly HelperArg[] }> {
  for (const t of targets()) {
    if (t.progType === "SYSCALL" || t.progType === "LSM") continue;
    for (const helper of HELPERS) {
      if (helper.progs.includes(t.progType))
        yield { t, helper, args: helperProto(helper, t.progType, t.attachType).args };
    }
  }
}

test("the verifier expects what the table says, argument by argument", () => {
  requires({ root: true, kernel: "6.18" });
  const maps = new Maps();
  const wrong: string[] = [];
  const seen = new Set<string>();
  for (const { t, helper, args } of prototypes()) {
    for (const [n, arg] of args.entries()) {
      const key = `${helper.name} ${n} ${arg.type}`;
      if (seen.has(key) || args.slice(0, n).some((a) => !MAKES.test(a.type))) continue;
      if (arg.type === "ARG_ANYTHING" || arg.type === "ARG_DONTCARE") continue;
      const source = arg.type === "ARG_PTR_TO_CTX" ? 10 : 6;
      const { log } = tryLoad({ ...load(t), insns: call(helper, args, maps, n, (r) => [insn(0xbf, r, source, 0, 0)]) });
      // Without such a line the helper was refused as a whole, or the size is checked together with its memory argument.
      const m = new RegExp(`^R${n + 1} type=\\S+ (expected=.*)$`, "m").exec(log);
      if (m === null) continue;
      seen.add(key);
      if (EXPECTED[arg.type]?.test(m[1] ?? "") !== true)
        wrong.push(`${helper.name} argument ${n + 1} ${arg.type}: ${m[1]}`);
    }
  }
  maps.close();
  assert.equal(wrong, []);
  assert.ok(seen.size > 250, `${seen.size} arguments`);
});

test("memory arguments are written exactly where the table says MEM_WRITE", () => {
  requires({ root: true, kernel: "6.18" });
  const maps = new Maps();
  // Programs may only read its value.
  const readOnly = maps.create("read-only", [BPF_MAP_TYPE.ARRAY, 4, 64, 1, BPF_F.RDONLY_PROG]);
  const wrong: string[] = [];
  const written = new Set<string>();
  const read = new Set<string>();
  for (const { t, helper, args } of prototypes()) {
    for (const [n, arg] of args.entries()) {
      if (arg.type !== "ARG_PTR_TO_MEM" && arg.type !== "ARG_PTR_TO_MAP_VALUE") continue;
      if (args.slice(0, n).some((a) => !MAKES.test(a.type))) continue;
      const value = (r: number): Uint8Array[] => [insn(0x18, r, 2, 0, readOnly), insn(0, 0, 0, 0, 0)];
      const { result, log } = tryLoad({ ...load(t), insns: call(helper, args, maps, n, value) });
      const forbidden = /write into map forbidden/.test(log);
      if (!forbidden && result !== 0) continue;
      const key = `${helper.name} argument ${n + 1}`;
      (forbidden ? written : read).add(key);
      if (forbidden !== (arg.flags?.includes("MEM_WRITE") ?? false))
        wrong.push(`${label(t)} ${key}: ${forbidden ? "written" : "read"}`);
    }
  }
  maps.close();
  assert.equal(wrong, []);
  assert.ok(written.size >= 15 && read.size >= 25, `${written.size} written, ${read.size} read`);
});
