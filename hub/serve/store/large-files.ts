// Which files are kept by LFS: those that git is bad at. By name, as the `.gitattributes` of a new repository on
// huggingface.co has it, by size, and by a look at the first bytes.

/** A file from this size on is large whatever it holds. */
const LARGE_BYTES = 10 * 2 ** 20;

const LARGE_NAMES =
  /\.(7z|arrow|bin|bz2|ckpt|ftz|gz|h5|joblib|lz4|mlmodel|model|msgpack|npy|npz|onnx|ot|parquet|pb|pickle|pkl|pt|pth|rar|safetensors|tar|tflite|tgz|wasm|xz|zip|zst|png|jpe?g|gif|webp|pdf|mp[34]|wav|flac)$|tfevents/i;

/** How much of a file's beginning `isLarge` looks at, in bytes. */
export const SAMPLE_BYTES = 512;

export function isLarge({ path, size, sample }: { path: string; size: number; sample: Uint8Array }): boolean {
  // An empty file has nothing to upload.
  if (size === 0) return false;
  return size >= LARGE_BYTES || LARGE_NAMES.test(path) || sample.subarray(0, SAMPLE_BYTES).includes(0);
}
