/** Facts about attach targets that BTF does not tell: iterators and their arguments, functions that may be changed or slept in. */
import type { Btf } from "../../btf/btf.ts";
import * as c from "../constants.ts";

const BTF_OR_NULL = c.PTR_TO_BTF_ID | c.PTR_MAYBE_NULL;
const TRUSTED_OR_NULL = BTF_OR_NULL | c.PTR_TRUSTED;
const KEY = c.PTR_TO_BUF | c.PTR_MAYBE_NULL | c.MEM_RDONLY;
const VALUE = c.PTR_TO_BUF | c.PTR_MAYBE_NULL;

/** Iterator targets: register types of the arguments that are not plain trusted pointers (ctx_arg_info of each bpf_iter_reg). */
export const ITER_TARGETS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  bpf_link: { link: BTF_OR_NULL },
  bpf_map: { map: TRUSTED_OR_NULL },
  bpf_map_elem: { key: KEY, value: VALUE },
  bpf_prog: { prog: BTF_OR_NULL },
  bpf_sk_storage_map: { sk: BTF_OR_NULL, value: VALUE },
  cgroup: { cgroup: TRUSTED_OR_NULL },
  dmabuf: { dmabuf: BTF_OR_NULL },
  ipv6_route: { rt: BTF_OR_NULL },
  kmem_cache: { s: TRUSTED_OR_NULL },
  ksym: { ksym: BTF_OR_NULL },
  netlink: { sk: BTF_OR_NULL },
  sockmap: { key: KEY, sk: BTF_OR_NULL },
  task: { task: TRUSTED_OR_NULL },
  task_file: { task: BTF_OR_NULL, file: BTF_OR_NULL },
  task_vma: { task: BTF_OR_NULL, vma: BTF_OR_NULL },
  tcp: { sk_common: TRUSTED_OR_NULL },
  udp: { udp_sk: TRUSTED_OR_NULL },
  unix: { unix_sk: BTF_OR_NULL },
};

/** Members of struct_ops that programs may implement; a struct without a row: all that are functions. */
export const STRUCT_OPS_MEMBERS: Readonly<Record<string, ReadonlySet<string>>> = {
  tcp_congestion_ops: new Set([
    "ssthresh",
    "cong_avoid",
    "set_state",
    "cwnd_event",
    "in_ack_event",
    "pkts_acked",
    "min_tso_segs",
    "cong_control",
    "undo_cwnd",
    "sndbuf_expand",
    "init",
    "release",
  ]),
  bpf_dummy_ops: new Set(["test_1", "test_2", "test_sleepable"]),
};

/** The error injection list (ALLOW_ERROR_INJECTION), beside system calls. Kernels may be built without it. */
const ERROR_INJECTION: ReadonlySet<string> = new Set([
  "should_failslab",
  "should_fail_alloc_page",
  "should_fail_bio",
  "should_fail_usercopy",
  "should_fail_futex",
]);
/** Functions declared for fmod_ret programs, whatever the list says. */
const FMOD_RET: ReadonlySet<string> = new Set([
  "bpf_fentry_test1",
  "bpf_modify_return_test",
  "bpf_modify_return_test2",
  "bpf_modify_return_test_tp",
  "update_socket_protocol",
]);
const NON_SLEEPABLE: ReadonlySet<string> = new Set([
  "__filemap_add_folio",
  "should_fail_alloc_page",
  "should_failslab",
]);

const isSyscall = (name: string): boolean => /^__(x64|ia32|arm64|s390x?|riscv)_(compat_)?sys_/.test(name);

/** CONFIG_FUNCTION_ERROR_INJECTION brings this function. */
const inErrorInjectionList = (btf: Btf, name: string): boolean =>
  (isSyscall(name) || ERROR_INJECTION.has(name) || FMOD_RET.has(name)) &&
  btf.findByName("within_error_injection_list", "func") !== undefined;

/** May a fmod_ret program attach to the function of the kernel `btf`? `declared`: the kernel has functions declared for it. */
export const isModifiable = (btf: Btf, name: string, declared: boolean): boolean =>
  name.startsWith("security_") || (declared && FMOD_RET.has(name)) || inErrorInjectionList(btf, name);
/** May a sleepable fentry, fexit or fmod_ret program attach to the function? */
export const isSleepableFunc = (btf: Btf, name: string, declared: boolean): boolean =>
  (declared && name === "bpf_fentry_test1") || (!NON_SLEEPABLE.has(name) && inErrorInjectionList(btf, name));

/** Functions that no tracing program may attach to (btf_id_deny). */
export const DENIED: ReadonlySet<string> = new Set([
  "migrate_disable",
  "migrate_enable",
  "rcu_read_unlock_strict",
  "preempt_count_add",
  "preempt_count_sub",
  "__rcu_read_lock",
  "__rcu_read_unlock",
]);
/** Functions that do not return (noreturn_deny). */
export const NORETURN: ReadonlySet<string> = new Set([
  "__ia32_sys_exit",
  "__ia32_sys_exit_group",
  "__kunit_abort",
  "kunit_try_catch_throw",
  "__module_put_and_kthread_exit",
  "__x64_sys_exit",
  "__x64_sys_exit_group",
  "do_exit",
  "do_group_exit",
  "kthread_complete_and_exit",
  "kthread_exit",
  "make_task_dead",
]);
