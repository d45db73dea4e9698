// Exports models as ONNX files of standard operators (docs/onnx.md). The public surface of this folder.

import { EngineError } from "../../engine/core/errors.ts";
import { inType, roundedTensors } from "../../models/folder/save.ts";
import { ARCHITECTURES, type FileType, type Model } from "../../models/index.ts";
import { gpt2Graph } from "./architectures/gpt2.ts";
import { llamaGraph } from "./architectures/llama.ts";
import { mixerGraph } from "./architectures/mixer.ts";
import { resnetGraph } from "./architectures/resnet.ts";
import { vitGraph } from "./architectures/vit.ts";
import { Graph } from "./graph.ts";
import { buildLanguage, type LanguageGraph } from "./language.ts";
import { ModelGraph } from "./model-graph.ts";
import { buildVision, type VisionGraph } from "./vision.ts";
import { type WriteOptions, writeOnnx } from "./write.ts";

/** Builds the graph of a model. */
type Build = (model: ModelGraph<never>, source: Model<never>, options: { withPast: boolean }) => void;

const language =
  <Config>(network: LanguageGraph<Config>) =>
  (model: ModelGraph<Config>, source: Model<Config>, { withPast }: { withPast: boolean }) =>
    buildLanguage(model, source, { network, withPast });

const vision =
  <Config>(network: VisionGraph<Config>) =>
  (model: ModelGraph<Config>, source: Model<Config>) =>
    buildVision(model, source, network);

/** The architectures that can be exported, by type. */
const GRAPHS: Readonly<Record<string, Build>> = {
  gpt2: language(gpt2Graph) as Build,
  llama: language(llamaGraph) as Build,
  vit: vision(vitGraph) as Build,
  resnet: vision(resnetGraph) as Build,
  mixer: vision(mixerGraph) as Build,
};

/** Options of `exportOnnx`. */
export interface OnnxOptions extends Omit<WriteOptions, "facts"> {
  /** language models: keys and values of earlier tokens are inputs, and those of all tokens outputs. Default false */
  withPast?: boolean;
  /** number type in the file; the graph computes in float32. Default `float32` */
  dtype?: FileType;
  /** layers that are float32 whatever `dtype` is. Default none */
  exact?: readonly string[];
  /** version of this program, for the file */
  version: string;
}

/**
 * Writes a model as an ONNX file. Weights are read from the engine and written piece by piece.
 * @param file path of the file, whose folder is created
 * @throws EngineError when the architecture or a layer's structure cannot be exported
 * @throws ModelError when the file cannot be written; if it cannot be written whole, an old file stays
 */
export async function* exportOnnx<Config>(
  model: Model<Config>,
  file: string,
  { withPast = false, version, dtype = "float32", exact = [], ...options }: OnnxOptions,
): ReturnType<typeof writeOnnx> {
  const { type } = model.architecture;
  const build = GRAPHS[type];
  if (!build) {
    const known = ARCHITECTURES.filter((each) => Object.hasOwn(GRAPHS, each.type)).map((each) => each.type);
    throw new EngineError(
      `ONNX files hold models of ${known.join(", ")}; this is ${type}`,
      "export with --to dense, and convert the result with another program",
    );
  }
  const isHalf = roundedTensors(model as unknown as Model, exact, (layer) => layer);
  const graph = new Graph((source) => (dtype !== "float32" && isHalf(source.name) ? inType(source, dtype) : source));
  const built = await ModelGraph.of(model, graph);
  try {
    build(built as unknown as ModelGraph<never>, model as unknown as Model<never>, { withPast });
    const facts = { name: type, producer: { name: "gblr", version }, metadata: { model_type: type } };
    yield* writeOnnx(graph, file, { facts, ...options });
  } finally {
    built.dispose();
  }
}
