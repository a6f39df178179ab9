/** Maps and kernel symbols behind ld_imm64 (resolve_pseudo_ldimm64), and opcodes that do not exist. */
import {
  BPF_LDX,
  BPF_MEM,
  BPF_MEMSX,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_IDX,
  BPF_PSEUDO_MAP_IDX_VALUE,
  BPF_PSEUDO_MAP_VALUE,
  LD_IMM64,
  classOf,
  modeOf,
} from "../asm/opcode.ts";
import type { LoadMap } from "./capture.ts";
import {
  BPF_MAX_VAR_OFF,
  E2BIG,
  EBUSY,
  EINVAL,
  ENOTSUPP,
  EPERM,
  EPROTO,
  ERANGE,
  MAX_USED_MAPS,
  PTR_TO_FUNC,
} from "./constants.ts";
import { type Env, reject } from "./env.ts";
import type { VMap } from "./map.ts";
import { isKnownOpcode } from "./opcodes.ts";
import { checkMapProgCompatibility } from "./prog-maps.ts";

const EBADF = 9;
const BPF_MAP_TYPE_ARRAY = 2;
const BPF_MAP_TYPE_CGROUP_STORAGE = 19;
const BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE = 21;
const BPF_MAP_TYPE_ARENA = 33;
const BPF_MAP_TYPE_DEVMAP = 14;
const BPF_MAP_TYPE_DEVMAP_HASH = 25;
const BPF_F_RDONLY_PROG = 1 << 7;

/** Addresses in the log are of no machine: one page apart, in the kernel's half. */
const MAP_BASE = 0xffff_8881_0000_0000n;
const VALUE_BASE = 0xffff_c900_0000_0000n;

/** The kernel makes these read-only for programs: a lookup points at what it keeps of the device. */
const isDevmap = (type: number): boolean => type === BPF_MAP_TYPE_DEVMAP || type === BPF_MAP_TYPE_DEVMAP_HASH;

/** A map as the verifier uses it. */
export function makeMap(env: Env, map: LoadMap, index: number): VMap {
  const at = BigInt(index < 0 ? 0x1000 : index) * 0x1_0000n;
  const v: VMap = {
    index,
    // The kernel's template of an inner map has no name.
    name: index < 0 ? "" : map.name,
    type: map.type,
    keySize: map.keySize,
    valueSize: map.valueSize,
    maxEntries: map.maxEntries,
    flags: isDevmap(map.type) ? map.flags | BPF_F_RDONLY_PROG : map.flags,
    extra: map.extra,
    btf: map.btf,
    btfKeyTypeId: map.btfKeyTypeId,
    btfValueTypeId: map.btfValueTypeId,
    btfVmlinuxValueTypeId: map.btfVmlinuxValueTypeId,
    record: null,
    inner: map.inner === null ? null : makeMap(env, map.inner, -1),
    frozen: map.frozen,
    data: map.data,
    ptr: MAP_BASE + at,
    // An arena's values are at its user address.
    valueAddr: map.type === BPF_MAP_TYPE_ARENA ? map.extra : VALUE_BASE + at,
  };
  env.seams.parseMapRecord(v, env.vmlinuxBtf, env.kernel);
  return v;
}

function useMap(env: Env, i: number): VMap {
  const index = env.imm[i]!;
  const src = env.src[i]!;
  if ((src === BPF_PSEUDO_MAP_IDX || src === BPF_PSEUDO_MAP_IDX_VALUE) && env.load.fdArray === false)
    reject(env, EPROTO, "fd_idx without fd_array is invalid\n");
  const map = env.maps[index];
  if (map === undefined)
    return reject(env, EBADF, `fd ${env.load.badMapFds.get(i) ?? index} is not pointing to valid bpf_map\n`);
  if (env.usedMaps.includes(map)) return map;
  if (env.usedMaps.length >= MAX_USED_MAPS) {
    reject(env, E2BIG, `The total number of maps per program has reached the limit of ${MAX_USED_MAPS}\n`);
  }
  checkMapProgCompatibility(env, map);
  env.usedMaps.push(map);
  if (map.type === BPF_MAP_TYPE_CGROUP_STORAGE || map.type === BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE) {
    if (env.usedMaps.some((m) => m !== map && m.type === map.type)) {
      reject(env, EBUSY, "only one cgroup storage of each type is allowed\n");
    }
  }
  if (map.type === BPF_MAP_TYPE_ARENA) {
    if (env.usesArena !== null) reject(env, EBUSY, "Only one arena per program\n");
    if (!env.allowPtrLeaks || !env.bpfCapable)
      reject(env, EPERM, "CAP_BPF and CAP_PERFMON are required to use arena\n");
    env.usesArena = map;
  }
  return map;
}

/** map_direct_value_addr: 0, or the errno. */
function directValueErrno(map: VMap, off: number): number {
  if (map.type === BPF_MAP_TYPE_ARENA) return off > map.maxEntries * 4096 ? ERANGE : 0;
  if (map.maxEntries !== 1) return ENOTSUPP;
  return off >= map.valueSize ? EINVAL : 0;
}

function knownPseudo(env: Env, src: number): boolean {
  if (src === BPF_PSEUDO_BTF_ID) return env.has.kernelSymbols;
  if (src === BPF_PSEUDO_FUNC) return env.has.callbackFuncs;
  return (src !== BPF_PSEUDO_MAP_IDX && src !== BPF_PSEUDO_MAP_IDX_VALUE) || env.has.mapIndexes;
}

function resolveImm(env: Env, i: number): void {
  const src = env.src[i]!;
  if (
    i === env.len - 1 ||
    env.code[i + 1] !== 0 ||
    env.dst[i + 1] !== 0 ||
    env.src[i + 1] !== 0 ||
    env.off[i + 1] !== 0
  ) {
    reject(env, EINVAL, "invalid bpf_ld_imm64 insn\n");
  }
  if (src === 0) return;
  if (!knownPseudo(env, src)) reject(env, EINVAL, "unrecognized bpf_ld_imm64 insn\n");
  const aux = env.aux[i]!;
  if (src === BPF_PSEUDO_BTF_ID) {
    env.seams.checkPseudoBtfId(env, i);
    return;
  }
  if (src === BPF_PSEUDO_FUNC) {
    aux.ptrType = PTR_TO_FUNC;
    return;
  }
  const value = src === BPF_PSEUDO_MAP_VALUE || src === BPF_PSEUDO_MAP_IDX_VALUE;
  const map = src === BPF_PSEUDO_MAP_FD || src === BPF_PSEUDO_MAP_IDX;
  if (!value && !(map && env.imm[i + 1] === 0)) reject(env, EINVAL, "unrecognized bpf_ld_imm64 insn\n");
  const m = useMap(env, i);
  aux.map = m;
  if (!value) return;
  const off = env.imm[i + 1]! >>> 0;
  if (off >= BPF_MAX_VAR_OFF) reject(env, EINVAL, `direct value offset of ${off} is not allowed\n`);
  if (m.type !== BPF_MAP_TYPE_ARRAY && m.type !== BPF_MAP_TYPE_ARENA) {
    reject(env, EINVAL, "no direct value access support for this map type\n");
  }
  const errno = directValueErrno(m, off);
  if (errno !== 0) reject(env, errno, `invalid access to map value pointer, value_size=${m.valueSize} off=${off}\n`);
  aux.mapOff = off;
}

/** resolve_pseudo_ldimm64 */
export function resolvePseudoLdImm64(env: Env): void {
  env.maps = env.load.maps.map((m, i) => makeMap(env, m, i));
  for (let i = 0; i < env.len; i++) {
    const code = env.code[i]!;
    if (
      classOf(code) === BPF_LDX &&
      ((modeOf(code) !== BPF_MEM && (modeOf(code) !== BPF_MEMSX || !env.has.isaV4)) || env.imm[i] !== 0)
    ) {
      reject(env, EINVAL, "BPF_LDX uses reserved fields\n");
    }
    if (code === LD_IMM64) {
      resolveImm(env, i);
      i++;
      continue;
    }
    if (!isKnownOpcode(env.has, code)) reject(env, EINVAL, `unknown opcode ${code.toString(16).padStart(2, "0")}\n`);
  }
}
