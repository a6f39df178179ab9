/** Writing a CO-RE value into an instruction, as libbpf does. */
import type { Insn } from "../asm/insn.ts";
import type { CoreValue } from "./core-value.ts";

/** Helper id that a poisoned instruction calls: the verifier's "invalid func unknown#195896080" is "bad relo". */
export const CORE_POISON = 0xbad2310;

const CLASS = { LD: 0, LDX: 1, ST: 2, STX: 3, ALU: 4, ALU64: 7 } as const;
const SIZE_BYTES = new Map([
  [0x18, 8],
  [0x00, 4],
  [0x08, 2],
  [0x10, 1],
]);
const BYTES_SIZE = new Map([...SIZE_BYTES].map(([bits, bytes]) => [bytes, bits]));
const LD_IMM64 = 0x18;

export type PatchOutcome =
  | { readonly kind: "patched" }
  | { readonly kind: "poisoned"; readonly reason?: string }
  /** The instruction is not what the relocation says it is: the object is damaged. */
  | { readonly kind: "refused"; readonly reason: string };

/** Patches slot `at` of `insns` in place (two slots for ld_imm64). */
export function patchCoreInsn(insns: Insn[], at: number, v: CoreValue): PatchOutcome {
  const insn = insns[at];
  if (insn === undefined)
    return { kind: "refused", reason: `instruction ${at} is outside the program of ${insns.length} instructions` };
  const wide = insn.opcode === LD_IMM64;
  const poison = (reason?: string): PatchOutcome => {
    for (let i = at; i < at + (wide ? 2 : 1); i++)
      insns[i] = { opcode: 0x85, dst: 0, src: 0, off: 0, imm: CORE_POISON };
    return reason === undefined ? { kind: "poisoned" } : { kind: "poisoned", reason };
  };
  const unexpected = (got: bigint, field: string): PatchOutcome => ({
    kind: "refused",
    reason: `instruction ${at} has ${field} ${BigInt.asIntN(64, got)}, expected ${BigInt.asIntN(64, v.original)} from the local type`,
  });
  switch (insn.opcode & 7) {
    case CLASS.ALU:
    case CLASS.ALU64:
      if ((insn.opcode & 8) !== 0) break;
      if (v.poison) return poison();
      if (v.validate && BigInt.asUintN(64, BigInt(insn.imm)) !== v.original) return unexpected(BigInt(insn.imm), "imm");
      insns[at] = { ...insn, imm: Number(BigInt.asIntN(32, v.value)) };
      return { kind: "patched" };
    case CLASS.LDX:
    case CLASS.ST:
    case CLASS.STX: {
      if (v.poison) return poison();
      if (v.validate && BigInt.asUintN(64, BigInt(insn.off)) !== v.original)
        return unexpected(BigInt(insn.off), "offset");
      if (v.value > 0x7fffn)
        return { kind: "refused", reason: `offset ${v.value} does not fit the 16 bits of a load or store` };
      if (v.sizeMismatch) {
        return poison(
          `the field has ${v.originalSize} bytes in the program's type and ${v.size} in the target's: only pointers and unsigned integers can change size`,
        );
      }
      let { opcode } = insn;
      if (v.size !== v.originalSize) {
        const now = SIZE_BYTES.get(opcode & 0x18);
        if (now !== v.originalSize) {
          return {
            kind: "refused",
            reason: `instruction ${at} accesses ${now} bytes, expected ${v.originalSize} from the local type`,
          };
        }
        const bits = BYTES_SIZE.get(v.size);
        if (bits === undefined)
          return { kind: "refused", reason: `the field has ${v.size} bytes: no load or store has that size` };
        opcode = (opcode & 0xe7) | bits;
      }
      insns[at] = { ...insn, opcode, off: Number(v.value) };
      return { kind: "patched" };
    }
    case CLASS.LD: {
      const high = insns[at + 1];
      if (!wide || insn.src !== 0 || insn.off !== 0 || high === undefined) break;
      if (high.opcode !== 0 || high.dst !== 0 || high.src !== 0 || high.off !== 0) break;
      if (v.poison) return poison();
      const imm = BigInt.asUintN(64, (BigInt(high.imm) << 32n) | BigInt(insn.imm >>> 0));
      if (v.validate && imm !== v.original) return unexpected(imm, "imm");
      insns[at] = { ...insn, imm: Number(BigInt.asIntN(32, v.value)) };
      insns[at + 1] = { ...high, imm: Number(BigInt.asIntN(32, v.value >> 32n)) };
      return { kind: "patched" };
    }
  }
  return {
    kind: "refused",
    reason: `instruction ${at} (opcode 0x${insn.opcode.toString(16)}) is none that a CO-RE relocation can change`,
  };
}
