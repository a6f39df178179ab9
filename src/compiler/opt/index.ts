export type { OptLevel } from "./optimize.ts";
export { optimize } from "./optimize.ts";
