/**
 * Argument types of helpers against the running kernel: every argument in turn gets a pointer it cannot take,
 * after valid ones; the verifier's "expected=" tells what it wants.
 */
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";
import { BPF_CMD, BPF_MAP_TYPE, HELPERS, MAP_RULES, helperProto } from "../../src/uapi/index.ts";
import type { ArgType } from "../../src/uapi/index.ts";
import { bpf, close, tryLoad } from "./raw-bpf.ts";
import { insn, insns, load, targets } from "./targets.ts";

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
const MAKES = /^ARG_(PTR_TO_CTX|CONST_MAP_PTR|PTR_TO_MEM|PTR_TO_MAP_KEY|PTR_TO_MAP_VALUE|CONST_SIZE|CONST_SIZE_OR_ZERO|ANYTHING|CONST_ALLOC_SIZE_OR_ZERO)$/;

test("the verifier expects what the table says, argument by argument", () => {
  requires({ root: true, kernel: "6.18" });
  const programs = targets().filter((t) => t.progType !== "SYSCALL" && t.progType !== "LSM");
  const maps = new Map<string, number>();
  const mapFor = (helper: string): number => {
    const types = MAP_RULES.filter((row) => (row.helpers as readonly string[]).includes(helper)).map((row) => row.mapType);
    const type = types.find((name) => /^(ARRAY|PROG_ARRAY|PERF_EVENT_ARRAY|STACK_TRACE|CGROUP_ARRAY|RINGBUF|USER_RINGBUF|QUEUE|SOCKMAP|SOCKHASH|PERCPU_ARRAY|DEVMAP|REUSEPORT_SOCKARRAY)$/.test(name));
    if (type === undefined) return -1;
    let fd = maps.get(type);
    if (fd === undefined) {
      const attr = new Uint8Array(24);
      const v = new DataView(attr.buffer);
      const rule = MAP_RULES.find((row) => row.mapType === type);
      const size = (rule_: unknown, otherwise: number): number => (typeof rule_ === "number" ? rule_ : otherwise);
      [BPF_MAP_TYPE[type], size(rule?.keySize, 4), type === "STACK_TRACE" ? 8 : size(rule?.valueSize, 4), /RINGBUF/.test(type) ? 4096 : 1, 0, 0].forEach((n, i) => v.setUint32(i * 4, n, true));
      fd = bpf(BPF_CMD.MAP_CREATE, attr);
      assert.ok(fd >= 0, `${type}: ${fd}`);
      maps.set(type, fd);
    }
    return fd;
  };
  const wrong: string[] = [];
  let asked = 0;
  const seen = new Set<string>();
  for (const t of programs) {
    for (const helper of HELPERS) {
      const args = helperProto(helper, t.progType, t.attachType).args;
      const key = `${helper.name} ${JSON.stringify(args)}`;
      if (!helper.progs.includes(t.progType) || seen.has(key)) continue;
      for (const [n, arg] of args.entries()) {
        if (args.slice(0, n).some((a) => !MAKES.test(a.type)) || arg.type === "ARG_ANYTHING" || arg.type === "ARG_DONTCARE") continue;
        // r6: the context; r10-64..r10: zeros, which serve as keys, values and buffers.
        const code = [insn(0xbf, 6, 1, 0, 0)];
        for (let off = -64; off < 0; off += 8) code.push(insn(0x7a, 10, 0, off, 0));
        for (const [i, a] of args.entries()) {
          const r = i + 1;
          if (i === n) code.push(a.type === "ARG_PTR_TO_CTX" ? insn(0xbf, r, 10, 0, 0) : insn(0xbf, r, 6, 0, 0));
          else if (a.type === "ARG_PTR_TO_CTX") code.push(insn(0xbf, r, 6, 0, 0));
          else if (a.type === "ARG_CONST_MAP_PTR") code.push(insn(0x18, r, 1, 0, mapFor(helper.name)), insn(0, 0, 0, 0, 0));
          else if (/MEM|MAP_KEY|MAP_VALUE/.test(a.type)) code.push(insn(0xbf, r, 10, 0, 0), insn(0x07, r, 0, 0, -64));
          else code.push(insn(0xb7, r, 0, 0, /SIZE/.test(a.type) ? 8 : 0));
        }
        code.push(insn(0x85, 0, 0, 0, helper.id), insn(0xb7, 0, 0, 0, 0), insn(0x95, 0, 0, 0, 0));
        const { log } = tryLoad({ ...load(t), insns: insns(...code) });
        const m = new RegExp(`^R${n + 1} type=\\S+ (expected=.*)$`, "m").exec(log);
        if (m === null) {
          // The size that belongs to a memory argument is checked with it, and some helpers are refused as a whole.
          continue;
        }
        asked++;
        seen.add(key);
        const expected = EXPECTED[arg.type];
        if (expected === undefined || !expected.test(m[1] ?? "")) wrong.push(`${helper.name} argument ${n + 1} ${arg.type}: ${m[1]}`);
      }
    }
  }
  for (const fd of maps.values()) close(fd);
  assert.equal(wrong, []);
  assert.ok(asked > 250, `${asked} arguments`);
});
