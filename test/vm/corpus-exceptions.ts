/** Programs of the kernel's selftests that return something else here, with the cause. */
const ADDRESS = "returns a kernel address, or what is left of one on the stack";
const CRYPTO = "the kernel's crypto API is not modelled";
const CONNTRACK = "connection tracking is not modelled";
const SYS_BPF = "bpf(2) from a program is not modelled";
const KERNEL_CTX = "reads the kernel's own context structure: simulations make it from BTF, bare runs do not";

export const CORPUS_EXCEPTIONS: Readonly<Record<string, string>> = {
  "arena_list/arena_list_del": "follows NULL in an arena: the kernel's fault handler makes it read as zero",
  "crypto_basic/crypto_release": CRYPTO,
  "crypto_sanity/skb_crypto_setup": CRYPTO,
  "syscall/load_prog": SYS_BPF,
  "syscall/update_outer_map": SYS_BPF,
  "test_bpf_nf/nf_skb_ct_test": CONNTRACK,
  "test_bpf_nf/nf_xdp_ct_test": CONNTRACK,
  "test_global_func16/global_func16": "reads stack that it never wrote",
  "type_cast/md_skb": KERNEL_CTX,
  "type_cast/md_xdp": KERNEL_CTX,
  "verifier_arena/basic_alloc2": "reads a page that it freed: the kernel's fault handler makes it read as zero",
  "verifier_arena_large/big_alloc1": "an arena of 4 GiB: the VM has 2 GiB in all",
  "verifier_basic_stack/uninitialized_stack2": ADDRESS,
  "verifier_raw_stack/stack_no_skb_load_bytes": ADDRESS,
  "verifier_spill_fill/check_corrupted_spill_fill_lsb": ADDRESS,
  "verifier_spill_fill/check_corrupted_spill_fill_msb": ADDRESS,
  "verifier_spill_fill/check_valid_spill_fill": ADDRESS,
};
