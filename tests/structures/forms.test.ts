// The choice of the form that a layer has in inference: by a rule, by time, and kept in a file.

import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { openedEngine } from "../../workbench/engine/core/open.ts";
import type { Engine } from "../../workbench/engine/core/types.ts";
import type { PackedGblr } from "../../workbench/gblr/packed.ts";
import { FormChoices, type FormQuestion } from "../../workbench/structures/inference/choice.ts";
import {
  formKey,
  keepForm,
  knownForms,
  type MeasuredForm,
  processor,
  readForms,
  summarizeForms,
} from "../../workbench/structures/inference/kept-forms.ts";
import { formsOfBlocks, packedStructure } from "../../workbench/structures/inference/packed.ts";
import { FORM_NAMES, type FormName } from "../../workbench/structures/structure.ts";
import { forEachEngine } from "../engine/engines.ts";
import { expectClose, liveTensors, read, sample, toTensor } from "../engine/ops/operands.ts";

const folder = mkdtempSync(join(tmpdir(), "gblr-forms-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const MANY: Omit<FormQuestion, "nIn" | "nOut"> = { rows: "many", isConvolution: false };

/** A packed matrix of blocks of a given width on both sides. */
function packedMatrix({ nIn, nOut, blocks, width }: Record<"nIn" | "nOut" | "blocks" | "width", number>): PackedGblr {
  const starts = Array.from({ length: blocks }, (_, b) => (b * 7) % (Math.min(nIn, nOut) - width));
  const widths = starts.map(() => width);
  return {
    spans: tf.tensor2d([starts, widths, starts.toReversed(), widths], [4, blocks], "int32"),
    values_in: toTensor(sample(1, [blocks * width])) as tf.Tensor1D,
    values_out: toTensor(sample(2, [blocks * width])) as tf.Tensor1D,
    nIn,
    nOut,
  };
}

const formsOf = (packed: PackedGblr) =>
  formsOfBlocks(packed, packedStructure({ nIn: packed.nIn, nOut: packed.nOut, blocks: packed.spans.shape[1] }));

/** Choices that take a given form for the fastest, and how often they measured. */
function choicesOf(fastest: FormName, file?: string) {
  const measured = { times: 0 };
  const time = async (held: ReadonlyMap<FormName, unknown>): Promise<MeasuredForm["seconds"]> => {
    measured.times++;
    return Object.fromEntries([...held.keys()].map((name) => [name, name === fastest ? 1 : 2]));
  };
  return { choices: new FormChoices({ ...(file !== undefined && { file }), time }), measured };
}

forEachEngine("the form of a layer in inference", (_, { name: engine, options: { device } }) => {
  const large = () => packedMatrix({ nIn: 520, nOut: 512, blocks: 20, width: 90 });
  const sizes = { nIn: 520, nOut: 512 };

  test("multiplies alike in all forms, and leaves no tensors", async () => {
    const packed = packedMatrix({ nIn: 60, nOut: 50, blocks: 40, width: 20 });
    const x = toTensor(sample(3, [7, 60]));
    const choices = new FormChoices({ file: join(folder, "unused.json") });
    // The tables of the masks are kept.
    tf.dispose({ ...(await choices.choose(formsOf(packed), { nIn: 60, nOut: 50, ...MANY })).parameters });
    const before = liveTensors().tensors;
    const results: Record<string, ArrayLike<number>> = {};
    for (const name of FORM_NAMES) {
      choices.pinned = name;
      const { structure, parameters } = await choices.choose(formsOf(packed), { nIn: 60, nOut: 50, ...MANY });
      const y = structure.apply(parameters, x);
      results[name] = await read(y);
      tf.dispose([y, { ...parameters }]);
    }
    expect(liveTensors().tensors).toBe(before);
    for (const name of FORM_NAMES)
      expectClose(results[name] ?? [], Float64Array.from(results.dense ?? []), { tolerance: 2e-6 });
  });

  test("is chosen by a rule if the layer is small", async () => {
    const choices = new FormChoices({
      file: join(folder, "small.json"),
      time: () => Promise.reject(new Error("a small layer was timed")),
    });
    const name = async (blocks: number, question: Partial<FormQuestion> = {}) => {
      const forms = formsOf(packedMatrix({ nIn: 60, nOut: 50, blocks, width: 20 }));
      const { structure, parameters } = await choices.choose(forms, { nIn: 60, nOut: 50, ...MANY, ...question });
      tf.dispose({ ...parameters });
      return structure.name;
    };
    expect(await name(28)).toBe("dense");
    expect(await name(27)).toBe("lowrank");
    expect(await name(0)).toBe("lowrank");
    expect(await name(27, { rows: "few" })).toBe(engine === "torch" && device === "cpu" ? "panels" : "lowrank");
    expect(await name(0, { rows: "few" })).toBe("lowrank");
    expect(await name(27, { rows: "few", isConvolution: true })).toBe("lowrank");
    choices.pinned = "panels";
    expect(await name(27)).toBe("panels");
    // Panels need a block, and convolutions need the dense matrix or low-rank factors.
    expect(await name(0)).toBe("lowrank");
    expect(await name(27, { isConvolution: true })).toBe("lowrank");
  });

  test.skipIf(engine !== "torch")("is the fastest one of a large layer, measured once a size and cost", async () => {
    const file = join(folder, "deep", "large.json");
    const { choices, measured } = choicesOf("panels", file);
    const chosen = async (from: FormChoices, question: FormQuestion) => {
      const { structure, parameters } = await from.choose(formsOf(large()), question);
      tf.dispose({ ...parameters });
      return structure.name;
    };
    expect(await chosen(choices, { ...sizes, ...MANY })).toBe("panels");
    expect(await chosen(choices, { ...sizes, ...MANY })).toBe("panels");
    expect(measured.times).toBe(1);
    expect(await chosen(choices, { ...sizes, ...MANY, rows: "few" })).toBe("panels");
    expect(measured.times).toBe(2);
    // Another process finds the choices in the file, even if it would measure other times.
    const later = choicesOf("dense", file);
    expect(await chosen(later.choices, { ...sizes, ...MANY })).toBe("panels");
    expect(later.measured.times).toBe(0);
    // A run that is resumed takes the choices of the process before it.
    const resumed = choicesOf("dense", join(folder, "resumed.json"));
    expect(Object.keys(choices.taken).length).toBe(2);
    resumed.choices.adopt(choices.taken);
    expect(await chosen(resumed.choices, { ...sizes, ...MANY })).toBe("panels");
    expect(resumed.choices.taken).toEqual(choices.taken);
    expect(resumed.measured.times).toBe(0);
    // A damaged file, or one of another version, is replaced.
    const [key] = Object.keys(JSON.parse(readFileSync(file, "utf8")).choices);
    const damaged = [
      ...["{", "null", '{"version":2}', '{"version":2,"choices":null}', '{"version":2,"choices":["dense"]}'],
      ...[{ form: "diagonal", seconds: {} }, { form: "panels" }, null].map((choice) =>
        JSON.stringify({ version: 2, choices: { [key as string]: choice } }),
      ),
      JSON.stringify({ version: 99, choices: {} }),
    ];
    for (const text of damaged) {
      writeFileSync(file, text);
      const again = choicesOf("dense", file);
      expect(await chosen(again.choices, { ...sizes, ...MANY })).toBe("dense");
      expect(again.measured.times).toBe(1);
      expect(Object.keys(JSON.parse(readFileSync(file, "utf8")).choices).length).toBe(1);
    }
    // A choice that cannot be kept is made all the same.
    mkdirSync(join(folder, "a-folder.json"));
    for (const place of [join(file, "below-a-file.json"), join(folder, "a-folder.json"), undefined]) {
      const lost = choicesOf("lowrank", place);
      for (let time = 0; time < 2; time++) expect(await chosen(lost.choices, { ...sizes, ...MANY })).toBe("lowrank");
      expect(lost.measured.times).toBe(1);
    }
    // Neither are drafts of files left.
    const filesIn = (place: string) => readdirSync(place).filter((name) => !name.endsWith(".lock"));
    expect(filesIn(folder).toSorted()).toEqual(["a-folder.json", "deep"]);
    expect(filesIn(join(folder, "deep"))).toEqual(["large.json"]);
  });

  test.skipIf(engine !== "torch")("is kept in the cache if asked, apart for other kernels", async () => {
    const GBLR_CACHE = join(folder, "cache");
    const { choices, measured } = choicesOf("dense", join(folder, "elsewhere.json"));
    for (const OPENBLAS_CORETYPE of ["Haswell", "Zen", "Haswell"]) {
      choices.keepIn({ GBLR_CACHE, OPENBLAS_CORETYPE });
      const { parameters } = await choices.choose(formsOf(large()), { ...sizes, ...MANY });
      tf.dispose({ ...parameters });
    }
    expect(measured.times).toBe(2);
    const kept = JSON.parse(readFileSync(join(GBLR_CACHE, "forms.json"), "utf8"));
    expect(Object.keys(kept.choices).length).toBe(2);
    expect(existsSync(join(folder, "elsewhere.json"))).toBe(false);
  });

  test.skipIf(engine !== "torch")(
    "is measured again if asked, once in a process, and then known for the layer",
    async () => {
      const file = join(folder, "again.json");
      const chosen = async (choices: FormChoices) => {
        const { structure, parameters } = await choices.choose(formsOf(large()), { ...sizes, ...MANY });
        tf.dispose({ ...parameters });
        return structure.name;
      };
      expect(await chosen(choicesOf("dense", file).choices)).toBe("dense");
      const later = choicesOf("panels", file);
      later.choices.measuresAgain = true;
      for (let time = 0; time < 2; time++) expect(await chosen(later.choices)).toBe("panels");
      expect(later.measured.times).toBe(1);
      expect(await chosen(choicesOf("lowrank", file).choices)).toBe("panels");
      // What inspection shows: the choice of this layer, and none for layers of another size or cost.
      const costs = formsOf(large());
      const known = knownForms(readForms(file), { ...sizes, costs });
      expect(known).toEqual([
        {
          form: "panels",
          seconds: { dense: 2, lowrank: 2, panels: 1, tiles: 2 },
          rows: 512,
          settings: known[0]?.settings ?? "",
        },
      ]);
      expect(known[0]?.settings).toContain(`float32, ${(openedEngine() as Engine).threads} threads`);
      expect(knownForms(readForms(file), { ...sizes, nIn: 521, costs })).toEqual([]);
      const denser = formsOf(packedMatrix({ ...sizes, blocks: 40, width: 90 }));
      expect(knownForms(readForms(file), { ...sizes, costs: denser })).toEqual([]);
    },
  );

  test.skipIf(engine !== "torch")("is measured with the clock by default", async () => {
    const file = join(folder, "clock.json");
    const packed = large();
    for (const rows of ["many", "few"] as const) {
      const forms = formsOf(packed);
      const before = liveTensors().tensors;
      const { parameters } = await new FormChoices({ file }).choose(forms, { ...sizes, ...MANY, rows });
      tf.dispose({ ...parameters });
      expect(liveTensors().tensors).toBe(before);
    }
    expect(existsSync(file)).toBe(true);
    const choices: Record<string, MeasuredForm> = JSON.parse(readFileSync(file, "utf8")).choices;
    expect(Object.keys(choices).length).toBe(2);
    for (const { form, seconds } of Object.values(choices)) {
      const [fastest] = Object.entries(seconds).sort(([, a], [, b]) => a - b)[0] as [string, number];
      expect(form as string).toBe(fastest);
      expect(Object.values(seconds).every((time) => time > 0)).toBe(true);
    }
  });
});

test("choices of processes that measure at the same time are all kept", async () => {
  const GBLR_CACHE = join(folder, "shared");
  const file = join(GBLR_CACHE, "forms.json");
  const script = join(folder, "keep.ts");
  const source = join(import.meta.dir, "../../workbench/structures/inference/kept-forms.ts");
  writeFileSync(
    script,
    `import { keepForm } from ${JSON.stringify(source)};
     for (let i = 0; i < 20; i++) await keepForm(process.argv[2], process.argv[3] + i, { form: "dense", seconds: {} });`,
  );
  const writers = ["a", "b", "c"].map((name) => Bun.spawn([process.execPath, script, file, name]).exited);
  expect(await Promise.all(writers)).toEqual([0, 0, 0]);
  expect(Object.keys(readForms(file)).length).toBe(60);
  const key = { nIn: 520, nOut: 512, costs: [], rows: "few", settings: "of a test" } as const;
  await keepForm(file, formKey(key), { form: "panels", seconds: { panels: 1 } });
  expect(summarizeForms({ GBLR_CACHE })).toEqual({ file, processor: processor(), choices: 1, others: 60 });
});
