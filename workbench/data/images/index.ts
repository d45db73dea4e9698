// Images for classifiers: data sets on the Hub or in folders, decoded and transformed in worker threads. This is the
// public interface of the folder.

export { drawMix, type Mix, type MixSettings } from "./augment/mix-and-erase.ts";
export { borderOf } from "./crop.ts";
export {
  type ImageStreamLoader,
  type ImageStreamReader,
  imageLoader,
  imageStreamLoader,
  type StreamedBatchPlace,
} from "./loader.ts";
export { CLASS_ORDERS, type ClassOrder, expectClasses, expectHead, numberedAs } from "./sets/classes.ts";
export { classOrderNotice, clippedNotice, heldOut, type ImageFaults, imageFaults, sampleOf } from "./sets/image-set.ts";
export {
  type ImageShards,
  type ImageShardsOptions,
  type ImageStream,
  openImageShards,
  shardClasses,
} from "./sets/image-shards.ts";
export { openImages } from "./sets/open-images.ts";
export type {
  EvaluationTransform,
  ImageLoaderOptions,
  ImageTransform,
  RandAugmentSettings,
  TrainingTransform,
} from "./transform.ts";
export type {
  ImageBatch,
  ImageClasses,
  ImageLoader,
  ImageSet,
  ImagesEvent,
  OpenImagesOptions,
} from "./types.ts";
