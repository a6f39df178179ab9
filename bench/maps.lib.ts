import type { Row } from "./row.ts";
export function mapRows(_c: string): Row[] { return []; }
