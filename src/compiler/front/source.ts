/** The source of one function, as the capture gives it. */
export type { CapturedFunction as FunctionSource } from "../capture/types.ts";
