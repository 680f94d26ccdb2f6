/**
 * Which compiler has made a rewritten module? What an older one has made is not to be taken for this one's.
 *
 * `.tools/deno run -A tools/revision.ts` raises the number when what the compiler makes of the fixtures has changed;
 * tests/ptx/revision_test.ts fails until that is done.
 */

/** Goes up whenever any kernel may be rewritten otherwise than before. */
export const REVISION = 3;

/** SHA-256 of what this revision makes of the fixtures. */
export const FIXTURES_SHA256 = "9aafa7551a4f1e50830bbb5dd1e0f4b9838b95c0fe749335fcc96f9a3a6fddb9";
