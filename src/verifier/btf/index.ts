export { parseMapRecord } from "./fields.ts";
