// Words as perplexity per word counts them: maximal runs of characters that are no white space. White space is Unicode's
// White_Space, as in the tokenizers and unlike JavaScript's `\s`: U+0085 is, U+FEFF is not.

/** Counts the words of a text that comes in parts; a word that goes on in the next part counts once. */
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

  /** What comes next begins a word of its own. */
  breakWord(): void {
    this.#inWord = false;
  }
}

/** Every code point of white space is one UTF-16 unit. */
function isSpace(unit: number): boolean {
  if (unit < 0x80) return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d);
  return (unit === 0x85 || unit >= 0xa0) && /\p{White_Space}/u.test(String.fromCharCode(unit));
}
