/**
 * Constants of the system calls that loading and reading need. Values: include/uapi/asm-generic/{mman-common,fcntl,poll}.h,
 * include/uapi/linux/{fcntl,mount,eventpoll,openat2,memfd}.h. The same on x86-64, arm64, riscv64, s390x and ppc64.
 */

export const PROT = { NONE: 0, READ: 1, WRITE: 2, EXEC: 4 } as const;

export const MAP = { SHARED: 1, PRIVATE: 2, FIXED: 0x10, ANONYMOUS: 0x20, POPULATE: 0x8000 } as const;

/** What mmap(2) returns on failure. */
export const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

export const O = { RDONLY: 0, WRONLY: 1, RDWR: 2, NONBLOCK: 0o4000, CLOEXEC: 0o2000000, PATH: 0o10000000 } as const;

export const AT = { FDCWD: -100, SYMLINK_NOFOLLOW: 0x100, EMPTY_PATH: 0x1000, RECURSIVE: 0x8000 } as const;

export const POLL = { IN: 1, PRI: 2, OUT: 4, ERR: 8, HUP: 0x10, NVAL: 0x20 } as const;

export const EPOLL = { IN: 1, OUT: 4, ERR: 8, HUP: 0x10, ONESHOT: 0x4000_0000, ET: 0x8000_0000 } as const;
export const EPOLL_CTL = { ADD: 1, DEL: 2, MOD: 3 } as const;
export const EPOLL_CLOEXEC = 0o2000000;
/** Bytes of struct epoll_event: packed on x86-64, aligned elsewhere. `data` is at `size - 8`. */
export const EPOLL_EVENT_SIZE = { x64: 12, arm64: 16, riscv64: 16, s390x: 16, ppc64: 16 } as const;

export const EFD = { SEMAPHORE: 1, NONBLOCK: 0o4000, CLOEXEC: 0o2000000 } as const;

/** fsopen(2), fsconfig(2), fsmount(2), move_mount(2), open_tree(2): since 5.2. */
export const FSOPEN_CLOEXEC = 1;
export const FSMOUNT_CLOEXEC = 1;
export const FSCONFIG = { SET_FLAG: 0, SET_STRING: 1, SET_BINARY: 2, SET_PATH: 3, SET_PATH_EMPTY: 4, SET_FD: 5, CMD_CREATE: 6, CMD_RECONFIGURE: 7 } as const;
export const MOUNT_ATTR = { RDONLY: 1, NOSUID: 2, NODEV: 4, NOEXEC: 8 } as const;
export const MOVE_MOUNT = { F_EMPTY_PATH: 4, T_EMPTY_PATH: 0x40 } as const;
export const OPEN_TREE = { CLONE: 1, CLOEXEC: 0o2000000 } as const;

/** resource of prlimit64(2). */
export const RLIMIT_MEMLOCK = 8;
export const RLIMIT_NOFILE = 7;
export const RLIM_INFINITY = 0xffff_ffff_ffff_ffffn;
