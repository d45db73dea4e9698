// Images for classifiers: data sets as on the Hub or in folders, decoded and transformed in worker threads. The one door
// of this folder.

export { drawMix, type Mix, type MixSettings } from "./augment/mix-and-erase.ts";
export { borderOf } from "./crop.ts";
export { imageLoader } from "./loader.ts";
export { seedWithin } from "./random.ts";
export { CLASS_ORDERS, type ClassOrder, expectClasses, numberedAs } from "./sets/classes.ts";
export { classOrderTold, clippedTold, heldOut, sampleOf, subsetOf } from "./sets/image-set.ts";
export { openImages } from "./sets/open-images.ts";
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
