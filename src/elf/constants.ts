/**
 * ELF constants, by their names in the System V gABI without the prefix of the group.
 * Source: gABI draft of 2024, chapters "Object Files" and "Symbol Table"; `elf.h` of the kernel
 * (include/uapi/linux/elf.h); relocation types from llvm/docs and Documentation/bpf/llvm_reloc.rst.
 */

/** `e_type` */
export const ET = { NONE: 0, REL: 1, EXEC: 2, DYN: 3, CORE: 4 } as const;

/** `e_machine`: only those that a BPF tool meets. */
export const EM = {
  NONE: 0,
  PPC64: 21,
  S390: 22,
  X86_64: 62,
  AARCH64: 183,
  RISCV: 243,
  BPF: 247,
  LOONGARCH: 258,
} as const;

/** `sh_type` */
export const SHT = {
  NULL: 0,
  PROGBITS: 1,
  SYMTAB: 2,
  STRTAB: 3,
  RELA: 4,
  HASH: 5,
  DYNAMIC: 6,
  NOTE: 7,
  NOBITS: 8,
  REL: 9,
  SHLIB: 10,
  DYNSYM: 11,
  SYMTAB_SHNDX: 18,
  LLVM_ADDRSIG: 0x6fff_4c03,
} as const;

/** `sh_flags` */
export const SHF = {
  WRITE: 1,
  ALLOC: 2,
  EXECINSTR: 4,
  MERGE: 0x10,
  STRINGS: 0x20,
  INFO_LINK: 0x40,
  COMPRESSED: 0x800,
} as const;

/** Reserved section indexes. */
export const SHN = { UNDEF: 0, LORESERVE: 0xff00, ABS: 0xfff1, COMMON: 0xfff2, XINDEX: 0xffff } as const;

/** `p_type` */
export const PT = { NULL: 0, LOAD: 1, DYNAMIC: 2, INTERP: 3, NOTE: 4 } as const;

/** `p_flags` */
export const PF = { X: 1, W: 2, R: 4 } as const;

/** Low nibble of `st_info`. */
export const STT = { NOTYPE: 0, OBJECT: 1, FUNC: 2, SECTION: 3, FILE: 4, COMMON: 5, TLS: 6, GNU_IFUNC: 10 } as const;

/** High nibble of `st_info`. */
export const STB = { LOCAL: 0, GLOBAL: 1, WEAK: 2 } as const;

/** Low two bits of `st_other`. */
export const STV = { DEFAULT: 0, INTERNAL: 1, HIDDEN: 2, PROTECTED: 3 } as const;

/** Relocation types of EM_BPF. */
export const R_BPF = {
  NONE: 0,
  /** ld_imm64: the low half's `imm` takes the symbol's value. */
  R64_64: 1,
  ABS64: 2,
  ABS32: 3,
  /** 32-bit value in .BTF and .BTF.ext; left alone by loaders. */
  NODYLD32: 4,
  /** call: `imm` takes the distance in instructions. */
  R64_32: 10,
} as const;

/** `n_type` of a note named "GNU". */
export const NT_GNU_BUILD_ID = 3;
