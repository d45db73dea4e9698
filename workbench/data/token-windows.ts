// Token ids as language models are trained and evaluated on: one long list, cut into windows whose targets are their
// inputs shifted by one. Where ids come from is not known here.

export interface TokenWindows {
  /** how many windows */
  readonly length: number;
  /** tokens of each; the last one may have fewer where the text ends */
  readonly context: number;
  /** ids of window i: `context` inputs and as many targets, together `context + 1` ids, fewer at the text's end */
  read(i: number): Promise<Int32Array>;
}
