/** Pairs of ids, old and current, seen so far in one comparison. */
export class IdMap {
  readonly old: number[] = [];
  readonly cur: number[] = [];
  cnt = 0;
  tmpGen = 0;
  reset(idGen: number): void {
    this.cnt = 0;
    this.tmpGen = idGen;
  }
}
