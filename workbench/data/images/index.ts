// Images for classifiers: data sets as on the Hub or in folders, decoded and transformed in worker threads. The one door
// of this folder.

export { CLASS_ORDERS, type ClassOrder } from "./class-order.ts";
export { borderOf } from "./evaluation.ts";
export { expectClasses } from "./expect-classes.ts";
export { imageLoader } from "./loader.ts";
export { drawMix, type Mix, type MixSettings } from "./mix.ts";
export { numberedAs } from "./number-as.ts";
export { openImages } from "./open-images.ts";
export { seedWithin } from "./random.ts";
export { heldOut, sampleOf, subsetOf } from "./subset.ts";
export { classOrderTold, clippedTold } from "./told.ts";
export type {
  ColorJitter,
  CropMode,
  EvaluationTransform,
  ImageLoaderOptions,
  ImageTransform,
  Interpolation,
  RandAugmentSettings,
  RandomErasing,
  TrainingTransform,
} from "./transform.ts";
export type {
  ImageBatch,
  ImageLoader,
  ImagePlace,
  ImageSet,
  ImagesEvent,
  OpenImagesOptions,
  SkippedImage,
} from "./types.ts";
