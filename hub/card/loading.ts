// The section of a card that explains how to use the model: on the command line, in TypeScript, and in Python with
// and without transformers. It depends on whether the model is on the Hub and on the files beside the card. All code
// blocks run as they are.

import { ABOUT } from "../files/about.ts";
import type { CardFacts } from "./facts.ts";
import { codeBlock } from "./markdown.ts";

/**
 * The section "Use".
 * @returns Markdown
 */
export function loadingSection(facts: CardFacts): string {
  return ["## Use", commandLine(facts), ...typescript(facts), ...python(facts)].join("\n\n");
}

function commandLine({ repository, dataset, metrics = [], task, context, limit }: CardFacts): string {
  const model = word(repository ?? ".");
  const split = metrics[0]?.split;
  const options = [
    ...(dataset ? ["--dataset", dataset.id] : []),
    ...(dataset?.config === undefined ? [] : ["--config", dataset.config]),
    ...(split === undefined ? [] : ["--split", split]),
    ...(context === undefined ? [] : ["--context", String(context)]),
    ...(limit === undefined ? [] : ["--limit", String(limit)]),
  ].map(word);
  const isText = task === "text-generation";
  const commands = [
    ...(repository === undefined ? [] : [`gblr pull ${model}`]),
    ...(dataset ? [`gblr eval ${isText ? "ppl" : "acc"} ${model} ${options.join(" ")}`] : []),
    ...(isText ? [`gblr generate ${model} "The history of"`] : []),
    ...(repository === undefined ? [`gblr inspect ${model}`] : []),
  ];
  const where = repository === undefined ? "On the command line, in this folder:" : "On the command line:";
  return [COMMAND_INSTALLATION, where, codeBlock("sh", commands.join("\n"))].join("\n\n");
}

function typescript({ repository, task }: CardFacts): string[] {
  if (task !== "text-generation") return [];
  const lines = [
    'import { tensor2d } from "@tensorflow/tfjs-core";',
    'import { languageLogits, loadModelNow, openEngine } from "gblr";',
    "",
    "await openEngine();",
    `const model = await loadModelNow(".");`,
    'const logits = languageLogits(model, tensor2d([[1, 2, 3]], [1, 3], "int32"));',
  ];
  const where = repository === undefined ? "this folder" : "the folder that `gblr pull` prints";
  const project = `in a project with the package (${PACKAGE_INSTALLATION}), run in ${where}`;
  return [`In TypeScript, under Node, Bun or Deno, ${project}:`, codeBlock("ts", lines.join("\n"))];
}

/** Quotes a word of a shell command if necessary. */
function word(text: string): string {
  return /^[\w./@:=+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''").replace(/\s+/g, " ")}'`;
}

/** Paragraphs about Python. Empty if there are no Python files beside the card. */
function python(facts: CardFacts): string[] {
  if (!facts.hasPython) return [];
  const paragraphs = facts.task === "text-generation" ? forText(facts) : forImages(facts);
  const trainable = 'To train further, `load(folder, form="trainable")` reads `trainable.safetensors`.';
  return facts.hasTrainable ? [...paragraphs, trainable] : paragraphs;
}

const WHERE = "In Python, with transformers, which runs the code in `modeling_gblr.py` beside this card:";
const ALONE = "With PyTorch alone:";

const nameOf = ({ repository }: CardFacts): string => JSON.stringify(repository ?? ".");

function forText(facts: CardFacts): string[] {
  const name = nameOf(facts);
  const transformers = [
    "from transformers import AutoModelForCausalLM, AutoTokenizer",
    "",
    `model = AutoModelForCausalLM.from_pretrained(${name}, trust_remote_code=True)`,
    `tokenizer = AutoTokenizer.from_pretrained(${name})`,
    'tokens = tokenizer("The history of", return_tensors="pt")',
    "print(tokenizer.decode(model.generate(**tokens, max_new_tokens=40)[0]))",
  ];
  const alone = [
    ...fetched(facts, ["import torch"]),
    "from modeling_gblr import load",
    "",
    "model = load(folder)",
    "logits = model(torch.tensor([[1, 2, 3]]))",
  ];
  if (facts.hasTransformers === false) return ["In Python, with PyTorch:", codeBlock("python", alone.join("\n"))];
  return [WHERE, codeBlock("python", transformers.join("\n")), ALONE, codeBlock("python", alone.join("\n"))];
}

/** Without a processor for transformers, as with timm's models, images are prepared by the folder's own code. */
function forImages(facts: CardFacts): string[] {
  const name = nameOf(facts);
  const loaded = `AutoModelForImageClassification.from_pretrained(${name}, trust_remote_code=True)`;
  const transformers = [
    "import torch",
    "from PIL import Image",
    "from transformers import AutoImageProcessor, AutoModelForImageClassification",
    "",
    `model = ${loaded}.eval()`,
    `processor = AutoImageProcessor.from_pretrained(${name})`,
    'inputs = processor(Image.open("photo.jpg").convert("RGB"), return_tensors="pt")',
    "with torch.no_grad():",
    "    probabilities = model(**inputs).logits.softmax(1)[0]",
    "for value, index in zip(*probabilities.topk(min(5, len(probabilities)))):",
    '    print(f"{value:.1%}  {model.config.id2label[int(index)]}")',
  ];
  const alone = [
    ...fetched(facts, ["import torch", "from PIL import Image"]),
    "from modeling_gblr import Images, load",
    "",
    "model, images = load(folder), Images(folder)",
    'pixel_values = images.pixel_values(Image.open("photo.jpg"))  # resized and normalized as config.json says',
    "with torch.no_grad():",
    "    logits = model(pixel_values)",
    "for label, value in images.top(logits, 5)[0]:",
    '    print(f"{value:.1%}  {label}")',
  ];
  const withPillow = ["In Python, with PyTorch and Pillow:", codeBlock("python", alone.join("\n"))];
  if (facts.hasTransformers === false) return withPillow;
  if (facts.hasProcessor) {
    return [WHERE, codeBlock("python", transformers.join("\n")), ALONE, codeBlock("python", alone.join("\n"))];
  }
  const also = `Under transformers \`${loaded}\` accepts the same \`pixel_values\` and returns an object with \`logits\`.`;
  return [...withPillow, also];
}

/** Lines of Python that find the files beside the card and add their `folder` to the path. */
function fetched(facts: CardFacts, imports: readonly string[]): string[] {
  const isHere = facts.repository === undefined;
  return [
    "import sys",
    ...imports,
    ...(isHere ? [] : ["from huggingface_hub import snapshot_download"]),
    "",
    `folder = ${isHere ? '"."' : `snapshot_download(${nameOf(facts)})`}`,
    "sys.path.insert(0, folder)",
  ];
}

const CLONE = ABOUT.repository === undefined ? "a clone of its repository" : `a clone of ${ABOUT.repository.url}`;

/** Paragraphs that explain what gblr is and how to install its command. */
const COMMAND_INSTALLATION = [
  `\`gblr\` is the command of the GBLR workbench. It is not in a package registry. To install it, run this in ${CLONE}:`,
  codeBlock("sh", "npm install\nnpm pack\nnpm install --global ./gblr-*.tgz"),
].join("\n\n");

/** The command that makes `import … from "gblr"` work in a project. */
const PACKAGE_INSTALLATION = "`npm install` with the file that `npm pack` wrote";
