/** Conditions of single helpers on what the program attaches to (bpf_func_proto.allowed). */
import { BPF_ATTACH_TYPE } from "../../uapi/attach-types.ts";
import { BPF_PROG_TYPE } from "../../uapi/prog-types.ts";
import type { Env } from "../env.ts";
import { SLEEPABLE_LSM_HOOKS } from "./lsm-hooks.ts";
import type { HelperFn } from "./protos.ts";

const A = BPF_ATTACH_TYPE;
const P = BPF_PROG_TYPE;

/** Functions from which a path may be resolved (btf_allowlist_d_path). */
const D_PATH = new Set([
  "security_file_permission",
  "security_inode_getattr",
  "security_file_open",
  "security_path_truncate",
  "vfs_truncate",
  "vfs_fallocate",
  "dentry_open",
  "vfs_getattr",
  "filp_close",
]);

function dPathAllowed(env: Env, name: string): boolean {
  if (env.progType === P.TRACING && env.expectedAttachType === A.TRACE_ITER) return true;
  if (env.progType === P.LSM) return SLEEPABLE_LSM_HOOKS.has(name);
  return D_PATH.has(name);
}

function skStorageTracingAllowed(env: Env, name: string): boolean {
  if (env.load.attachProg !== null) return false;
  switch (env.expectedAttachType) {
    case A.TRACE_ITER:
    case A.TRACE_RAW_TP:
      return true;
    case A.TRACE_FENTRY:
    case A.TRACE_FEXIT:
      return !name.startsWith("bpf_sk_storage");
    default:
      return false;
  }
}

/** Helpers that a struct_ops lacks although others have them: setsockopt is not for a congestion control that goes. */
const sockoptInRelease = (env: Env, fn: HelperFn): boolean =>
  env.progType === P.STRUCT_OPS &&
  env.attach?.name === "release" &&
  (fn.row.name === "setsockopt" || fn.row.name === "getsockopt");

/** override_return needs CONFIG_BPF_KPROBE_OVERRIDE, which needs error injection, which brings this function. */
const lacksErrorInjection = (env: Env): boolean =>
  env.vmlinuxBtf !== null && env.vmlinuxBtf.findByName("within_error_injection_list", "func") === undefined;

/** Does this kind of program have the helper at all, given its attach target? */
export const helperExistsHere = (env: Env, fn: HelperFn): boolean =>
  !sockoptInRelease(env, fn) && !(fn.row.name === "override_return" && lacksErrorInjection(env));

/** May this program call the helper, given its attach target? */
export function helperAllowedHere(env: Env, fn: HelperFn): boolean {
  const rule =
    fn.row.variants?.find((v) => v.progTypes.some((p) => P[p] === env.progType) && v.allowed !== undefined)?.allowed ??
    fn.row.allowed;
  if (rule === undefined) return true;
  const name = env.attach?.name ?? "";
  if (rule === "d_path") return dPathAllowed(env, name);
  if (rule === "sk_storage tracing") return skStorageTracingAllowed(env, name);
  return SLEEPABLE_LSM_HOOKS.has(name);
}
