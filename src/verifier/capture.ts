/** What the verifier is given. The types are elf's, so that `load` can make and write one too. */
export type { AttachProg, FuncInfo, LineInfo, LoadKsym, LoadMap, ProgLoad } from "../elf/prog-load.ts";
