// Whether a set's classes are those of a network's head.

import { DataError } from "../errors.ts";
import type { ImageSet } from "./types.ts";

export interface ExpectClassesOptions {
  /** of the head */
  classes: number;
  /** only the first so many images are looked at. Default all */
  limit?: number;
  /** what to do, for the error */
  advice?: string;
}

/**
 * A set that names no classes may lack the last ones.
 * @throws DataError when the set has other classes
 */
export function expectClasses(
  images: ImageSet,
  { classes, limit = images.length, advice = "choose a model trained on these classes" }: ExpectClassesOptions,
): void {
  if (images.declared && images.classes.length !== classes) {
    const has = `has ${images.classes.length} classes and the model's head ${classes}`;
    throw new DataError(images.dataset, `${has}; ${advice}`);
  }
  for (let i = 0; i < Math.min(limit, images.length); i++) {
    const label = images.label(i);
    if (label < classes) continue;
    throw new DataError(
      images.nameOf(i),
      `has label ${label}, and the model's head has ${classes} classes, 0 to ${classes - 1}; ${advice}`,
    );
  }
}
