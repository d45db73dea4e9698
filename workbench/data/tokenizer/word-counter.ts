// Counts words for perplexity per word: maximal runs of characters other than white space. White space is Unicode's
// White_Space, as in the tokenizers; unlike JavaScript's `\s` it includes U+0085 and excludes U+FEFF.

/** Counts the words of a text that comes in parts. A word that continues in the next part counts once. */
export class WordCounter {
  words = 0;
  #inWord = false;

  add(text: string): void {
    let inWord = this.#inWord;
    let words = this.words;
    for (let i = 0; i < text.length; i++) {
      const space = isSpace(text.charCodeAt(i));
      if (!space && !inWord) words++;
      inWord = !space;
    }
    this.#inWord = inWord;
    this.words = words;
  }

  /** Ends the current word: the next part does not continue it. */
  breakWord(): void {
    this.#inWord = false;
  }
}

/** Whether a UTF-16 unit is white space; no white space needs two units. */
function isSpace(unit: number): boolean {
  if (unit < 0x80) return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d);
  return (unit === 0x85 || unit >= 0xa0) && /\p{White_Space}/u.test(String.fromCharCode(unit));
}
