/**
 * Functions that a bundler plugin has tagged: their source and the values of their names travel with them, so that they
 * are found whatever became of the running text, in processes without an inspector and in browsers.
 */

/** What a bundle keeps of one tagged function. */
export interface Tag {
  readonly module: { readonly path: string; readonly text: string };
  /** Where the function begins in the module's text. */
  readonly start: number;
  /** The value of a name that the function uses and does not declare; throws ReferenceError before it is initialised. */
  readonly lookup: (name: string) => { readonly value: unknown } | undefined;
}

/** The tags of a process lie where every copy of this package, and code bundled without it, finds them. */
export const TAGS = "bpfkit.functions";

/** The tag of a function, if its file went through the plugin. */
export function tagOf(fn: object): Tag | undefined {
  const tags = (globalThis as Record<symbol, unknown>)[Symbol.for(TAGS)];
  return tags instanceof WeakMap ? (tags as WeakMap<object, Tag>).get(fn) : undefined;
}
