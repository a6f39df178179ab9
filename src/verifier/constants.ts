/** The kernel's register and argument types, stack slot types and limits, as numbers. Source: include/linux/bpf.h, bpf_verifier.h (6.18). */

// enum bpf_reg_type: the low 8 bits of a register's type.
export const NOT_INIT = 0;
export const SCALAR_VALUE = 1;
export const PTR_TO_CTX = 2;
export const CONST_PTR_TO_MAP = 3;
export const PTR_TO_MAP_VALUE = 4;
export const PTR_TO_MAP_KEY = 5;
export const PTR_TO_STACK = 6;
export const PTR_TO_PACKET_META = 7;
export const PTR_TO_PACKET = 8;
export const PTR_TO_PACKET_END = 9;
export const PTR_TO_FLOW_KEYS = 10;
export const PTR_TO_SOCKET = 11;
export const PTR_TO_SOCK_COMMON = 12;
export const PTR_TO_TCP_SOCK = 13;
export const PTR_TO_TP_BUFFER = 14;
export const PTR_TO_XDP_SOCK = 15;
export const PTR_TO_BTF_ID = 16;
export const PTR_TO_MEM = 17;
export const PTR_TO_ARENA = 18;
export const PTR_TO_BUF = 19;
export const PTR_TO_FUNC = 20;
export const CONST_PTR_TO_DYNPTR = 21;

// enum bpf_type_flag: from bit 8.
export const PTR_MAYBE_NULL = 1 << 8;
export const MEM_RDONLY = 1 << 9;
export const MEM_RINGBUF = 1 << 10;
export const MEM_USER = 1 << 11;
export const MEM_PERCPU = 1 << 12;
export const OBJ_RELEASE = 1 << 13;
export const PTR_UNTRUSTED = 1 << 14;
export const MEM_UNINIT = 1 << 15;
export const DYNPTR_TYPE_LOCAL = 1 << 16;
export const DYNPTR_TYPE_RINGBUF = 1 << 17;
export const MEM_FIXED_SIZE = 1 << 18;
export const MEM_ALLOC = 1 << 19;
export const PTR_TRUSTED = 1 << 20;
export const MEM_RCU = 1 << 21;
export const NON_OWN_REF = 1 << 22;
export const DYNPTR_TYPE_SKB = 1 << 23;
export const DYNPTR_TYPE_XDP = 1 << 24;
export const MEM_ALIGNED = 1 << 25;
export const MEM_WRITE = 1 << 26;
export const DYNPTR_TYPE_SKB_META = 1 << 27;
export const DYNPTR_TYPE_FLAG_MASK =
  DYNPTR_TYPE_LOCAL | DYNPTR_TYPE_RINGBUF | DYNPTR_TYPE_SKB | DYNPTR_TYPE_XDP | DYNPTR_TYPE_SKB_META;

export const baseType = (type: number): number => type & 0xff;
export const typeFlag = (type: number): number => type & ~0xff;
export const typeMayBeNull = (type: number): boolean => (type & PTR_MAYBE_NULL) !== 0;

// enum bpf_dynptr_type
export const BPF_DYNPTR_TYPE_INVALID = 0;
export const BPF_DYNPTR_TYPE_LOCAL = 1;
export const BPF_DYNPTR_TYPE_RINGBUF = 2;
export const BPF_DYNPTR_TYPE_SKB = 3;
export const BPF_DYNPTR_TYPE_XDP = 4;
export const BPF_DYNPTR_TYPE_SKB_META = 5;

// enum bpf_iter_state
export const BPF_ITER_STATE_INVALID = 0;
export const BPF_ITER_STATE_ACTIVE = 1;
export const BPF_ITER_STATE_DRAINED = 2;

// irq.kfunc_class
export const IRQ_NATIVE_KFUNC = 0;
export const IRQ_LOCK_KFUNC = 1;

// enum bpf_stack_slot_type: one nibble a byte of a stack slot.
export const STACK_INVALID = 0;
export const STACK_SPILL = 1;
export const STACK_MISC = 2;
export const STACK_ZERO = 3;
export const STACK_DYNPTR = 4;
export const STACK_ITER = 5;
export const STACK_IRQ_FLAG = 6;

// enum ref_state_type
export const REF_TYPE_PTR = 1 << 1;
export const REF_TYPE_IRQ = 1 << 2;
export const REF_TYPE_LOCK = 1 << 3;
export const REF_TYPE_RES_LOCK = 1 << 4;
export const REF_TYPE_RES_LOCK_IRQ = 1 << 5;
export const REF_TYPE_LOCK_MASK = REF_TYPE_LOCK | REF_TYPE_RES_LOCK | REF_TYPE_RES_LOCK_IRQ;

// Access direction of a memory check (enum bpf_access_type).
export const BPF_READ = 1;
export const BPF_WRITE = 2;

// enum reg_arg_type
export const SRC_OP = 0;
export const DST_OP = 1;
export const DST_OP_NO_MARK = 2;

// Limits.
export const MAX_BPF_REG = 11;
export const BPF_REG_SIZE = 8;
export const MAX_BPF_STACK = 512;
export const MAX_CALL_FRAMES = 8;
export const BPF_COMPLEXITY_LIMIT_INSNS = 1_000_000;
export const BPF_COMPLEXITY_LIMIT_JMP_SEQ = 8192;
export const BPF_COMPLEXITY_LIMIT_STATES = 64;
export const BPF_MAX_SUBPROGS = 256;
export const MAX_USED_MAPS = 64;
export const MAX_PACKET_OFF = 0xffff;
export const BPF_MAX_VAR_OFF = 1 << 29;
export const BPF_MAX_VAR_SIZ = 1 << 29;
export const BPF_DYNPTR_NR_SLOTS = 2;
/** Top bits of a scalar's id: it is a linked scalar plus a constant in `off`, by a 64-bit or a 32-bit addition. */
export const BPF_ADD_CONST64 = 0x8000_0000 | 0;
export const BPF_ADD_CONST32 = 0x4000_0000;
export const BPF_ADD_CONST = BPF_ADD_CONST64 | BPF_ADD_CONST32;
export const BPF_MAX_LOOPS = 8 * 1024 * 1024;
export const BTF_MAX_ITER_DEPTH = 64;

// errno values the verifier returns.
export const EPERM = 1;
export const ENOENT = 2;
export const E2BIG = 7;
export const EPROTO = 71;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EFAULT = 14;
export const EBUSY = 16;
export const EINVAL = 22;
export const ENOSPC = 28;
export const ERANGE = 34;
export const EOPNOTSUPP = 95;
export const ENOTSUPP = 524;
