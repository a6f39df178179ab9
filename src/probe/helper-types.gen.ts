import type { ProgramType } from "./program-types.ts";
export interface HelperFunctions {}
export interface HelpersOf extends Record<ProgramType, never> {}
