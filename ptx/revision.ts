/**
 * Which compiler has made a rewritten module? What an older one has made is not to be taken for this one's.
 *
 * `.tools/deno run -A tools/revision.ts` raises the number when what the compiler makes of the fixtures has changed;
 * tests/ptx/revision_test.ts fails until that is done.
 */

/** Goes up whenever any kernel may be rewritten otherwise than before. */
export const REVISION = 1;

/** SHA-256 of what this revision makes of the fixtures. */
export const FIXTURES_SHA256 = "d4d2668bf9ca65b510b6adede4315f6010370454317372d5a156f83fc8f376b1";
