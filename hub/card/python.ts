// The part of a card that says how Python uses the model: under transformers, and with PyTorch alone by the files beside
// the card. Each block of code runs as it stands.

import type { CardFacts } from "./facts.ts";
import { codeBlock } from "./markdown.ts";

/** Nothing where Python has no files to load it by. @returns paragraphs */
export function python(facts: CardFacts): string[] {
  if (!facts.hasPython) return [];
  const paragraphs = facts.task === "text-generation" ? forText(facts) : forImages(facts);
  const trainable = 'To train on, `load(folder, form="trainable")` reads `trainable.safetensors`.';
  return facts.hasTrainable ? [...paragraphs, trainable] : paragraphs;
}

const WHERE = "In Python, with transformers; the code that it runs is `modeling_gblr.py` beside this card:";
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
  return [WHERE, codeBlock("python", transformers.join("\n")), ALONE, codeBlock("python", alone.join("\n"))];
}

/** Where no processor of transformers' lies beside the card, as with timm's models, the folder's own prepares images. */
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
  if (facts.hasProcessor) {
    return [WHERE, codeBlock("python", transformers.join("\n")), ALONE, codeBlock("python", alone.join("\n"))];
  }
  const also = `Under transformers \`${loaded}\` takes the same \`pixel_values\` and gives an object with \`logits\`.`;
  return ["In Python, with PyTorch and Pillow:", codeBlock("python", alone.join("\n")), also];
}

/** Lines that put the files beside the card where Python finds them, in `folder`. */
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
