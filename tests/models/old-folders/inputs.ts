// What the models of the fixtures are asked, the same for whoever computes their logits.

/** Token ids of one sequence of 9. */
export const IDS: number[] = Array.from({ length: 9 }, (_, i) => (7 * i + 3) % 40);

/** Pixels of one image, (size, size, 3), from -1 to 1. */
export const pixels = (size: number): number[] =>
  Array.from({ length: size * size * 3 }, (_, i) => ((37 * i) % 101) / 50 - 1);
