/** How helpers are written: they read r1-r5 and write r0 of the run they are given. */
import type { HelperName } from "../../uapi/index.ts";
import type { Run } from "../run.ts";

export type Helper = (run: Run) => void;
export type HelperTable = Partial<Record<HelperName, Helper>>;
