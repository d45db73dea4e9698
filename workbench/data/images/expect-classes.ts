// Whether a set's classes are those of a network's head.

import { DataError } from "../errors.ts";
import type { ImageSet } from "./types.ts";

/**
 * A set that names no classes may lack the last ones.
 * @param options.classes of the head
 * @param options.limit only the first so many images are looked at. Default all
 * @throws DataError when the set has other classes
 */
export function expectClasses(
  images: ImageSet,
  { classes, limit = images.length }: { classes: number; limit?: number },
): void {
  if (images.declared && images.classes.length !== classes) {
    const has = `has ${images.classes.length} classes and the model's head ${classes}`;
    throw new DataError(images.dataset, `${has}; choose a model trained on these classes, or give it a new head`);
  }
  for (let i = 0; i < Math.min(limit, images.length); i++) {
    const label = images.label(i);
    if (label < classes) continue;
    throw new DataError(
      images.nameOf(i),
      `has label ${label}, and the model's head has ${classes} classes, 0 to ${classes - 1}`,
    );
  }
}
