/**
 * The raw instruction slot: 8 bytes.
 *
 * ```text
 *  byte 0     byte 1 (LE)      bytes 2-3    bytes 4-7
 * ┌────────┬─────────┬────────┬────────────┬────────────────┐
 * │ opcode │ src (4) │ dst (4)│  off (s16) │   imm (s32)    │   src is the high nibble on little-endian,
 * └────────┴─────────┴────────┴────────────┴────────────────┘   the low nibble on big-endian targets
 * ```
 *
 * `ld_imm64` takes two slots, the second with opcode 0 and the high half in `imm`,
 * so that an index into an `Insn[]` is always the kernel's instruction index.
 */
export interface Insn {
  readonly opcode: number;
  /** 0-10 (11 is the kernel's internal AX and never valid). */
  readonly dst: number;
  readonly src: number;
  /** s16 */
  readonly off: number;
  /** s32 */
  readonly imm: number;
}
