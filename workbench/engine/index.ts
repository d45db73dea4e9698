// The engine as a module for TensorFlow.js code, and its public entry point: `openEngine` makes a backend current, tf.*
// then computes on it, and the fused ops and the matrix decompositions run on any backend. Everything else in this
// folder is internal.

export { EngineError, ShapeError } from "./core/errors.ts";
export { openEngine, probeEngines } from "./core/open.ts";
export type {
  DeviceInfo,
  Engine,
  EngineMemory,
  EngineName,
  OpenEngineOptions,
  Precision,
  Probe,
} from "./core/types.ts";
export * from "./linalg/index.ts";
export * from "./ops/index.ts";
export { valueAndGradients } from "./tfjs/tape.ts";
