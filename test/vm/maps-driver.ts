/** A program that does to its map what its arguments say. */
import * as b from "../../src/asm/index.ts";
import type { Insn } from "../../src/asm/index.ts";
import type { MapSpec } from "../../src/elf/spec.ts";
import { BPF_FUNC, BPF_PROG_TYPE } from "../../src/uapi/index.ts";
import { progSpec } from "./kernel-run.ts";

export const OPS = { lookup: 0, update: 1, delete: 2 } as const;

/** A raw tracepoint program that does what its arguments say: operation, key, value, flags. */
export function driver(map: MapSpec): ReturnType<typeof progSpec> {
  const insns: Insn[] = [
    b.mov64Reg(6, 1),
    b.ldxMem("dw", 2, 6, 8),
    b.stxMem("dw", 10, 2, -8),
    b.ldxMem("dw", 2, 6, 16),
    b.stxMem("dw", 10, 2, -16),
    b.ldxMem("dw", 7, 6, 0),
  ];
  const at = insns.length;
  insns.push(...b.ldMapFd(1, 0), b.mov64Reg(2, 10), b.add64Imm(2, -8));
  const rest: Insn[] = [
    b.jmpImm("jeq", 7, 1, 6),
    b.jmpImm("jeq", 7, 2, 9),
    b.callHelper(BPF_FUNC.map_lookup_elem),
    b.jmpImm("jne", 0, 0, 1),
    b.exit(),
    b.ldxMem("w", 0, 0, 0),
    b.exit(),
    b.mov64Reg(3, 10),
    b.add64Imm(3, -16),
    b.ldxMem("dw", 4, 6, 24),
    b.callHelper(BPF_FUNC.map_update_elem),
    b.exit(),
    b.callHelper(BPF_FUNC.map_delete_elem),
    b.exit(),
  ];
  // The branch to delete lands behind update's exit.
  rest[1] = b.jmpImm("jeq", 7, 2, 10);
  return progSpec("driver", BPF_PROG_TYPE.RAW_TRACEPOINT, [...insns, ...rest], {
    refs: [{ kind: "map", insn: at, map: map.name }],
  });
}
