/** Scalars: tracked numbers, ranges, and what arithmetic and branches do to them. */
export { adjustScalarMinMaxVals, scalarAlu } from "./alu.ts";
export { scalar32MinMaxAdd, scalar32MinMaxSub, scalarMinMaxAdd, scalarMinMaxSub } from "./arith.ts";
export { markReg32Known } from "./bits.ts";
export { flipOpcode, isBranchTaken, regSetMinMax, regsRefine, revOpcode } from "./branch.ts";
export { boundsViolation, coerceRegToSize, coerceRegToSizeSx, coerceSubregToSizeSx, regBoundsSanity, zextSubreg } from "./extend.ts";
export { regBoundsSync } from "./sync.ts";
export { tnumAddReg, tnumIn, tnumSetRange, tnumSubReg } from "./tnum.ts";
export { rangeWithin } from "./within.ts";
export { s64lt, u64lt } from "./words.ts";
