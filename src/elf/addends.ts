/**
 * Where an object keeps the place of a global variable that ld_imm64 refers to: in the symbol alone, or in the instruction
 * too. What is in the instruction is added to the symbol's value, so clang leaves 0 there. The assembler of binutils
 * before 2.42 (gcc-bpf 12) writes the value of a named symbol into the instruction as well; libbpf adds it once more, and
 * then the program reads another variable, or is refused with "invalid access to map value pointer".
 */
import { decodeUtf8 } from "../core/bytes.ts";
import { R_BPF, SHN, STT } from "./constants.ts";
import type { ObjectFile } from "./object-file.ts";

/**
 * Whether the instructions hold the values of the symbols that they refer to in the sections `data`, which must not be
 * counted twice then. All references of an object are of one kind: those that fit only one decide.
 *
 * @throws DecodeError for an object of gcc whose references fit both, and differ
 */
export function addendsHoldValues(file: ObjectFile, data: ReadonlyMap<number, unknown>): boolean {
  const comment = file.elf.section(".comment");
  // Strings after an empty one, each with a NUL.
  if (comment === undefined || !/^\0?GCC:/.test(decodeUtf8(file.elf.data(comment).subarray(0, 8)))) return false;
  const little = file.elf.endian === "little";
  let once = true;
  let twice = true;
  let unclear: (() => Error) | undefined;
  for (const section of file.codeSections) {
    const bytes = file.elf.data(section);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (const relocation of file.relocations(section)) {
      const at = relocation.offset;
      if (relocation.type !== R_BPF.R64_64 || at + 8 > bytes.length) continue;
      const symbol = file.symbol(section, relocation);
      const value = Number(BigInt.asUintN(32, symbol.value));
      if (symbol.type === STT.SECTION || symbol.section === SHN.UNDEF || !data.has(symbol.section) || value === 0)
        continue;
      const imm = view.getUint32(at + 4, little);
      const size = Number(BigInt.asUintN(32, symbol.size));
      // A pointer may be at most one past the end of what it points into.
      once &&= imm >= value && imm - value <= size;
      twice &&= imm <= size;
      unclear ??= () =>
        file.error(
          section,
          at,
          `it cannot be told whether this reference to ${symbol.name} means offset ${imm} or ${value + imm}: assemble with binutils 2.42 or newer, which leaves the symbol's value out of the instruction`,
        );
    }
  }
  if (unclear === undefined) return false;
  if (once && twice) throw unclear();
  return once;
}
