/** Kernel symbols in ld_imm64 (check_pseudo_btf_id). */
import type { Btf } from "../../btf/btf.ts";
import { isStruct, resolveSize, skipModifiers, typeById } from "../btf/types.ts";
import * as c from "../constants.ts";
import { type Env, reject } from "../env.ts";

const percpuVars = new WeakMap<Btf, ReadonlySet<number>>();

/** Variables in the kernel's per-CPU section. */
function percpuOf(btf: Btf): ReadonlySet<number> {
  let set = percpuVars.get(btf);
  if (set === undefined) {
    const sec = btf.findByName(".data..percpu", "datasec");
    set = new Set(sec?.kind === "datasec" ? sec.vars.map((v) => v.type) : []);
    percpuVars.set(btf, set);
  }
  return set;
}

/** Notes in env.aux[insnIdx] what the symbol is; rejects what is none. */
export function checkPseudoBtfId(env: Env, insnIdx: number): void {
  const id = env.imm[insnIdx]!;
  const fd = env.imm[insnIdx + 1]!;
  const btf = fd === 0 ? env.vmlinuxBtf : (env.load.moduleBtfs.get(fd) ?? null);
  if (btf === null) {
    return reject(
      env,
      c.EINVAL,
      fd === 0
        ? "kernel is missing BTF, make sure CONFIG_DEBUG_INFO_BTF=y is specified in Kconfig.\n"
        : "invalid module BTF object FD specified.\n",
    );
  }
  const t = typeById(btf, id);
  if (t === undefined) return reject(env, c.ENOENT, `ldimm64 insn specifies invalid btf_id ${id}.\n`);
  const aux = env.aux[insnIdx]!;
  if (t.kind !== "var" && !env.has.funcSymbols)
    return reject(env, c.EINVAL, `pseudo btf_id ${id} in ldimm64 isn't KIND_VAR.\n`);
  if (t.kind === "func") {
    aux.btfVar = { type: c.PTR_TO_MEM | c.MEM_RDONLY, btf: null, btfId: 0, memSize: 0 };
    return;
  }
  if (t.kind !== "var") return reject(env, c.EINVAL, `pseudo btf_id ${id} in ldimm64 isn't KIND_VAR or KIND_FUNC\n`);
  const target = skipModifiers(btf, t.type);
  if (percpuOf(btf).has(id)) aux.btfVar = { type: c.PTR_TO_BTF_ID | c.MEM_PERCPU, btf, btfId: t.type, memSize: 0 };
  else if (isStruct(target)) aux.btfVar = { type: c.PTR_TO_BTF_ID, btf, btfId: t.type, memSize: 0 };
  else {
    const size = resolveSize(btf, target.id)?.size;
    if (size === undefined)
      return reject(env, c.EINVAL, `ldimm64 unable to resolve the size of type '${target.name}': -22\n`);
    aux.btfVar = { type: c.PTR_TO_MEM | c.MEM_RDONLY, btf: null, btfId: 0, memSize: size };
  }
}
