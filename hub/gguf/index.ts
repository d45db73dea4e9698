// The public functions of this folder: models in GGUF, the format of llama.cpp (ggml-org/ggml, docs/gguf.md).

export { type GgufModel, IMPORTED, planModel } from "./model-files.ts";
export { isGguf, type OpenGguf, openGguf, partsOf } from "./open.ts";
export { tensorSources, type WrittenDtype } from "./tensors.ts";
export { GgufError } from "./types.ts";
