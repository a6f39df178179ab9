/** Contexts of struct_ops programs, and the kernel objects they may write to. Source: net/ipv4/bpf_tcp_ca.c, net/bpf/bpf_dummy_struct_ops.c */
import { factsOf } from "../calls/facts.ts";
import { btfTypeName, resolveSize, skipModifiers, structId, typeById } from "../btf/types.ts";
import * as c from "../constants.ts";
import { type Env, reject } from "../env.ts";
import { VerifierReject } from "../errors.ts";
import type { RegState } from "../reg-state.ts";
import type { CtxAccess } from "../types.ts";

const UNSAFE = ~(c.MEM_ALLOC | c.PTR_TRUSTED | c.NON_OWN_REF);

/** TCP congestion control sees struct sock as tcp_sock. */
export function structOpsPromote(env: Env, a: CtxAccess): void {
  if (factsOf(env).structOps !== "tcp_congestion_ops") return;
  const plain = c.baseType(a.regType) === c.PTR_TO_BTF_ID && (c.typeFlag(a.regType) & UNSAFE) === 0;
  if (plain && a.btfId === structId(env.vmlinuxBtf, "sock")) a.btfId = structId(env.vmlinuxBtf, "tcp_sock");
}

/** Members of tcp_sock that congestion control may write: path from tcp_sock, and whether any part of it. */
const TCP_WRITABLE: readonly { readonly path: readonly string[]; readonly anywhere?: true; readonly since?: string }[] =
  [
    { path: ["inet_conn", "icsk_inet", "sk", "sk_pacing_rate"], since: "6.0" },
    { path: ["inet_conn", "icsk_inet", "sk", "sk_pacing_status"], since: "6.0" },
    { path: ["inet_conn", "icsk_ca_priv"], anywhere: true },
    { path: ["inet_conn", "icsk_ack", "pending"] },
    { path: ["snd_cwnd"] },
    { path: ["snd_cwnd_cnt"] },
    { path: ["snd_cwnd_stamp"] },
    { path: ["snd_ssthresh"] },
    { path: ["ecn_flags"] },
    { path: ["app_limited"], since: "6.10" },
  ];

/** [start, end) of a member, by path; null when the kernel's struct has no such member. */
function memberRange(env: Env, struct: string, path: readonly string[]): readonly [number, number] | null {
  const btf = env.vmlinuxBtf;
  let id = structId(btf, struct);
  let off = 0;
  if (btf === null || id === 0) return null;
  for (let i = 0; i < path.length; i++) {
    const t = skipModifiers(btf, id);
    if (t.kind !== "struct" && t.kind !== "union") return null;
    const member = t.members.find((m) => m.name === path[i]);
    if (member === undefined) return null;
    off += member.bitOffset >>> 3;
    id = member.type;
    if (i === path.length - 1)
      return [off, off + (member.bitSize !== 0 ? Math.ceil(member.bitSize / 8) : (resolveSize(btf, id)?.size ?? 0))];
  }
  return null;
}

function tcpWrite(env: Env, r: RegState, off: number, size: number): void {
  if (btfTypeName(r.btf!, r.btfId) !== "tcp_sock") reject(env, c.EACCES, "only read is supported\n");
  for (const { path, anywhere, since } of TCP_WRITABLE) {
    if (since !== undefined && !env.kernel.atLeast(since)) continue;
    const range = memberRange(env, "tcp_sock", path);
    if (range === null || !(anywhere === true ? off >= range[0] && off < range[1] : off === range[0])) continue;
    if (off + size > range[1])
      reject(
        env,
        c.EACCES,
        `write access at off ${off} with size ${size} beyond the member of tcp_sock ended at ${range[1]}\n`,
      );
    return;
  }
  reject(env, c.EACCES, `no write support to tcp_sock at off ${off}\n`);
}

function dummyWrite(env: Env, r: RegState, off: number, size: number): void {
  if (btfTypeName(r.btf!, r.btfId) !== "bpf_dummy_ops_state")
    reject(env, c.EACCES, "only access to bpf_dummy_ops_state is supported\n");
  const t = typeById(r.btf!, r.btfId);
  if (off + size > (t?.kind === "struct" ? t.size : 0))
    reject(env, c.EACCES, `write access at off ${off} with size ${size}\n`);
}

/** btf_struct_access of the program's struct_ops for a write. */
export function structOpsWrite(env: Env, r: RegState, off: number, size: number): void {
  switch (factsOf(env).structOps) {
    case "tcp_congestion_ops":
      tcpWrite(env, r, off, size);
      return;
    case "bpf_dummy_ops":
      dummyWrite(env, r, off, size);
      return;
    default:
      reject(env, c.EACCES, "only read is supported\n");
  }
}

/** nfct_btf_struct_access: the mark of a conntrack entry, for XDP and tc. */
export function conntrackWrite(env: Env, r: RegState, off: number, size: number): void {
  const name = btfTypeName(r.btf!, r.btfId);
  if (name !== "nf_conn" && name !== "nf_conn___init") {
    // Connection tracking answers where it is built in; without it nobody says anything.
    if (env.vmlinuxBtf?.findByName("nf_conn___init", "struct") !== undefined)
      reject(env, c.EACCES, "only read is supported\n");
    throw new VerifierReject(c.EACCES);
  }
  const mark = memberRange(env, "nf_conn", ["mark"]);
  if (mark === null || off !== mark[0]) reject(env, c.EACCES, `no write support to nf_conn at off ${off}\n`);
  if (off + size > mark![1])
    reject(
      env,
      c.EACCES,
      `write access at off ${off} with size ${size} beyond the member of nf_conn ended at ${mark![1]}\n`,
    );
}
