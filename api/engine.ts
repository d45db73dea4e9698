// The entry point `gblr/engine` of the npm package: engines for TensorFlow.js code, fused operations and matrix
// decompositions. docs/tensors.md explains their use. It loads no code for models and files.

export * from "../workbench/engine/index.ts";
