/** What is still wanted, by frame (backtrack_state). */
export class Backtrack {
  frame = 0;
  readonly regs = new Int32Array(8);
  readonly slotsLo = new Int32Array(8);
  readonly slotsHi = new Int32Array(8);

  reset(): void {
    this.frame = 0;
    this.regs.fill(0);
    this.slotsLo.fill(0);
    this.slotsHi.fill(0);
  }
  empty(): boolean {
    let mask = 0;
    for (let i = 0; i <= this.frame; i++) mask |= this.regs[i]! | this.slotsLo[i]! | this.slotsHi[i]!;
    return mask === 0;
  }
  setReg(frame: number, reg: number): void {
    this.regs[frame]! |= 1 << reg;
  }
  clearReg(frame: number, reg: number): void {
    this.regs[frame]! &= ~(1 << reg);
  }
  hasReg(frame: number, reg: number): boolean {
    return ((this.regs[frame]! >>> reg) & 1) !== 0;
  }
  setSlot(frame: number, spi: number): void {
    if (spi < 32) this.slotsLo[frame]! |= 1 << spi;
    else this.slotsHi[frame]! |= 1 << (spi - 32);
  }
  clearSlot(frame: number, spi: number): void {
    if (spi < 32) this.slotsLo[frame]! &= ~(1 << spi);
    else this.slotsHi[frame]! &= ~(1 << (spi - 32));
  }
  hasSlot(frame: number, spi: number): boolean {
    return ((spi < 32 ? this.slotsLo[frame]! >>> spi : this.slotsHi[frame]! >>> (spi - 32)) & 1) !== 0;
  }
  regText(frame: number): string {
    const out: string[] = [];
    for (let i = 0; i < 16; i++) if (this.hasReg(frame, i)) out.push(`r${i}`);
    return out.join(",");
  }
  slotText(frame: number): string {
    const out: number[] = [];
    for (let i = 0; i < 64; i++) if (this.hasSlot(frame, i)) out.push(-(i + 1) * 8);
    return out.join(",");
  }
}
