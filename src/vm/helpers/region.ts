import type { Run } from "../run.ts";

/** r0 = an address, with the region that it lies in. */
export function retAddress(run: Run, address: number): void {
  run.retPointer(address, run.checked && address !== 0 ? run.memory.regionAt(address) : 0);
}
