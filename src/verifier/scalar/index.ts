/** Scalars: tracked numbers, ranges, and what arithmetic and branches do to them. Pure; what also touches the environment is in check.ts. */
export { scalarAlu } from "./alu.ts";
export { scalar32MinMaxAdd, scalar32MinMaxSub, scalarMinMaxAdd, scalarMinMaxSub } from "./arith.ts";
export { markReg32Known } from "./bits.ts";
export { flipOpcode, isBranchTaken, refinePaths, regsRefine, revOpcode } from "./branch.ts";
export { coerceRegToSize, coerceRegToSizeSx, coerceSubregToSizeSx, zextSubreg } from "./extend.ts";
export { clearScalarId, linkByConst, syncLinkedReg } from "./linked.ts";
export { boundsViolation, violationText } from "./invariants.ts";
export { regBoundsSync } from "./sync.ts";
export { tnumAddReg, tnumIn, tnumSetRange, tnumSubReg } from "./tnum.ts";
export { rangeWithin } from "./within.ts";
export { s64lt, u64lt } from "./words.ts";
