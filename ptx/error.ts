/**
 * What went wrong with a PTX text, where, and what to do about it.
 *
 * One error class for the whole folder. It does not decide what is wrong; the lexer, the parser and the rewriter do.
 */

/** A place in a PTX file. Lines and columns count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A PTX text that cannot be read, or cannot be rewritten as asked. */
export class PtxError extends Error {
  override readonly name = "PtxError";

  /**
   * @param file name of the file, as the caller gave it
   * @param position where the text breaks the rule
   * @param rule the rule that was broken, with the value that broke it
   * @param remedy what the reader can do about it
   */
  constructor(
    readonly file: string,
    readonly position: Position,
    readonly rule: string,
    readonly remedy: string,
  ) {
    super(`${file}:${position.line}:${position.column}: ${rule}. ${remedy}`);
  }
}
