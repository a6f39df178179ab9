/** Programs that fill a ring buffer or a perf buffer by BPF_PROG_TEST_RUN: one sample a run. */
import {
  add64Imm,
  callHelper,
  encodeInsns,
  exit,
  type Insn,
  jmpImm,
  ldMapFd,
  ldMapValue,
  mov64Imm,
  mov64Reg,
  stMem,
  stxMem,
  atomic,
} from "../../src/asm/index.ts";
import { bpf, bpfWithResults, cstring } from "../../src/syscall/attr.ts";
import { check } from "../../src/syscall/errors.ts";
import type { Kernel } from "../../src/syscall/kernel.ts";
import { BPF_MAP_TYPE, BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { bytes, char, struct, u32, u64 } from "../../src/probe/schema.ts";

/** 64 bytes, as the benchmarks of the neighbours use. */
export const Sample = struct({
  seq: u64,
  at: u64,
  pid: u32,
  cpu: u32,
  kind: u32,
  size: u32,
  comm: char(16),
  rest: bytes(16),
});

export const NO_WAKEUP = 1;

export interface Producer {
  readonly mapFd: number;
  readonly progFd: number;
  /** Runs the program `count` times; sample `seq` goes on counting. Returns the last return value (0: no space). */
  run(count: number): number;
  close(): void;
}

/** A ring buffer of `size` bytes and a program that submits one `Sample` a run. */
export function ringProducer(kernel: Kernel, size: number, flags = 0, backPressure = 0): Producer {
  const fds: number[] = [];
  const own = (fd: number, what: string): number => {
    fds.push(check(kernel, fd, what));
    return fd;
  };
  const mapFd = own(bpf(kernel, "MAP_CREATE", { map_type: BPF_MAP_TYPE.RINGBUF, max_entries: size }), "BPF_MAP_CREATE");
  const countFd = own(
    bpf(kernel, "MAP_CREATE", { map_type: BPF_MAP_TYPE.ARRAY, key_size: 4, value_size: 16, max_entries: 1 }),
    "BPF_MAP_CREATE",
  );
  const wait: Insn[] =
    backPressure === 0
      ? []
      : [
          // BPF_RB_AVAIL_DATA above the mark: do nothing and return 3, the caller runs again.
          ...ldMapFd(1, mapFd),
          mov64Imm(2, 0),
          callHelper(134),
          jmpImm("jlt", 0, backPressure, 2),
          mov64Imm(0, 3),
          exit(),
        ];
  const insns: Insn[] = [
    ...wait,
    ...ldMapFd(1, mapFd),
    mov64Imm(2, 64),
    mov64Imm(3, 0),
    callHelper(131), // ringbuf_reserve
    jmpImm("jne", 0, 0, 2),
    mov64Imm(0, 0),
    exit(),
    mov64Reg(6, 0),
    mov64Imm(1, 1),
    ...ldMapValue(2, countFd, 0),
    atomic("add", "dw", 2, 1, 0, true),
    stxMem("dw", 6, 1, 0),
    callHelper(5),
    stxMem("dw", 6, 0, 8), // ktime_get_ns
    stMem("w", 6, 16, 42),
    stMem("w", 6, 20, 1),
    stMem("w", 6, 24, 7),
    stMem("w", 6, 28, 64),
    stMem("w", 6, 32, 0x68736162),
    stMem("w", 6, 36, 0),
    stMem("dw", 6, 40, 0),
    stMem("dw", 6, 48, -1),
    stMem("dw", 6, 56, -1),
    mov64Reg(1, 6),
    mov64Imm(2, flags),
    callHelper(132), // ringbuf_submit
    mov64Imm(0, 2),
    exit(),
  ];
  const progFd = own(load(kernel, insns), "BPF_PROG_LOAD");
  return producer(kernel, mapFd, progFd, fds);
}

/** A perf event array and a program that outputs one `Sample` a run, on whatever CPU it runs. */
export function perfProducer(kernel: Kernel, cpus: number): Producer {
  const fds: number[] = [];
  const own = (fd: number, what: string): number => {
    fds.push(check(kernel, fd, what));
    return fd;
  };
  const mapFd = own(
    bpf(kernel, "MAP_CREATE", {
      map_type: BPF_MAP_TYPE.PERF_EVENT_ARRAY,
      key_size: 4,
      value_size: 4,
      max_entries: cpus,
    }),
    "BPF_MAP_CREATE",
  );
  const countFd = own(
    bpf(kernel, "MAP_CREATE", { map_type: BPF_MAP_TYPE.ARRAY, key_size: 4, value_size: 16, max_entries: 1 }),
    "BPF_MAP_CREATE",
  );
  const insns: Insn[] = [
    mov64Reg(7, 1),
    ...[-64, -56, -48, -40, -32, -24, -16, -8].map((off) => stMem("dw", 10, off, 0)),
    mov64Imm(1, 1),
    ...ldMapValue(2, countFd, 0),
    atomic("add", "dw", 2, 1, 0, true),
    stxMem("dw", 10, 1, -64),
    stMem("w", 10, -32, 0x68736162),
    mov64Reg(1, 7),
    ...ldMapFd(2, mapFd),
    mov64Imm(3, -1), // BPF_F_CURRENT_CPU is 0xffffffff
    ...[{ opcode: 0xbc, dst: 3, src: 3, off: 0, imm: 0 }], // w3 = w3
    mov64Reg(4, 10),
    add64Imm(4, -64),
    mov64Imm(5, 64),
    callHelper(25), // perf_event_output
    jmpImm("jeq", 0, 0, 2),
    mov64Imm(0, 0),
    exit(),
    mov64Imm(0, 2),
    exit(),
  ];
  const progFd = own(load(kernel, insns), "BPF_PROG_LOAD");
  return producer(kernel, mapFd, progFd, fds);
}

/** A tc program: a test run of XDP waits for an RCU grace period, some 15 ms. */
function load(kernel: Kernel, insns: readonly Insn[]): number {
  const log = new Uint8Array(65_536);
  const fd = bpf(kernel, "PROG_LOAD", {
    prog_type: BPF_PROG_TYPE.SCHED_CLS,
    insn_cnt: insns.length,
    insns: encodeInsns(insns),
    license: cstring("GPL"),
    log_level: 1,
    log_size: log.length,
    log_buf: log,
  });
  if (fd < 0) throw new Error(`load failed with ${fd}:\n${new TextDecoder().decode(log.subarray(0, log.indexOf(0)))}`);
  return fd;
}

function producer(kernel: Kernel, mapFd: number, progFd: number, fds: number[]): Producer {
  const packet = new Uint8Array(64);
  return {
    mapFd,
    progFd,
    run(count) {
      const { result, u32: field } = bpfWithResults(kernel, "PROG_TEST_RUN", {
        prog_fd: progFd,
        data_in: packet,
        data_size_in: packet.length,
        repeat: count,
      });
      check(kernel, result, "BPF_PROG_TEST_RUN");
      return field("retval");
    },
    close() {
      for (const fd of fds.splice(0)) kernel.close(fd);
    },
  };
}
