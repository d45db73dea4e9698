// Results of calibrations on disk, so that the variants of an experiment and resumed runs calibrate once. A result is a
// tensor for each layer, one file for each different tensor; an index, which is written last, says which file holds which
// layer. It counts only for the same model and the same inputs, whose hash is in the index.

import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Tensor, tensor } from "@tensorflow/tfjs-core";
import { z } from "zod";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { openSafetensors, writeSafetensors } from "../../../hub/safetensors/index.ts";
import { jsonOrUndefined } from "../../../hub/text/json.ts";
import { isFirst, type ProcessGroup } from "../../distributed/process-group.ts";
import { gathered } from "../../distributed/shares.ts";
import type { HashedCalibration } from "./hash.ts";

/** What a result is: covariances of inputs, energies or importances from gradients, or mean squares of inputs. */
export type CalibrationKind = "covariances" | "energies" | "importances" | "powers";

const INDEX = z.object({
  version: z.literal(1),
  /** SHA-256 of the token ids or pixels of all inputs */
  sha256: z.string(),
  identity: z.string(),
  /** number of input rows of a layer */
  rows: z.int().min(0),
  /** names of files by layer */
  files: z.record(z.string(), z.string()),
});
type Index = z.infer<typeof INDEX>;

/** Tensors by layer name, and the number of input rows. */
export interface CalibrationResult {
  tensors: Map<string, Tensor>;
  rows: number;
}

/** The results of calibrations of one dense model. */
export class CalibrationCache {
  private readonly folder: string;
  private readonly identity: string;
  private readonly ranks: ProcessGroup | undefined;

  /**
   * @param folder is created with the first result
   * @param identity what results depend on beside the inputs, such as the name and revision of the model; must have a
   *   JSON form
   * @param options.ranks processes that all read the same results at the same time. The first one writes. Default: there
   *   is one process
   */
  constructor(folder: string, identity: unknown, { ranks }: { ranks?: ProcessGroup | undefined } = {}) {
    [this.folder, this.identity, this.ranks] = [folder, JSON.stringify(identity), ranks];
  }

  /** The results for these inputs. */
  of(data: HashedCalibration): CalibrationResults {
    return new CalibrationResults({ folder: this.folder, identity: this.identity, data, ranks: this.ranks });
  }

  /** Removes all results. */
  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

interface ResultsOptions {
  folder: string;
  identity: string;
  data: HashedCalibration;
  ranks: ProcessGroup | undefined;
}

/** The results of calibrations of one dense model on the same data. */
export class CalibrationResults {
  private readonly folder: string;
  private readonly identity: string;
  private readonly data: HashedCalibration;
  private readonly ranks: ProcessGroup | undefined;

  constructor({ folder, identity, data, ranks }: ResultsOptions) {
    [this.folder, this.identity, this.data, this.ranks] = [folder, identity, data, ranks];
  }

  /**
   * Reads results for layers.
   * @param names default: all layers that have a result
   * @returns undefined if there is none for one of the layers, here or in another of the processes; the caller disposes of
   *   the tensors, of which layers with the same input share one
   */
  async read(kind: CalibrationKind, names?: readonly string[]): Promise<CalibrationResult | undefined> {
    let found: CalibrationResult | undefined;
    const look = async () => {
      found = await this.found(kind, names);
      return found !== undefined;
    };
    let isEverywhere = false;
    try {
      isEverywhere = (await gathered("a calibration", look, { ranks: this.ranks })).every((has) => has);
    } finally {
      if (!isEverywhere) for (const read of found?.tensors.values() ?? []) read.dispose();
    }
    return isEverywhere ? found : undefined;
  }

  private async found(kind: CalibrationKind, names?: readonly string[]): Promise<CalibrationResult | undefined> {
    const index = await this.index(kind);
    const layers = names ?? Object.keys(index?.files ?? {});
    if (!index || layers.some((name) => index.files[name] === undefined)) return undefined;
    const opened = new Map<string, Tensor>();
    try {
      for (const name of layers) {
        const file = index.files[name] as string;
        if (!opened.has(file)) opened.set(file, await this.tensorIn(file));
      }
    } catch {
      // Files that cannot be read are computed again.
      for (const read of opened.values()) read.dispose();
      return undefined;
    }
    const tensors = layers.map((name) => [name, opened.get(index.files[name] as string) as Tensor] as const);
    return { tensors: new Map(tensors), rows: index.rows };
  }

  /** Adds results, which still belong to the caller. @throws the file system's error when they cannot be written */
  async write(kind: CalibrationKind, { tensors, rows }: CalibrationResult): Promise<void> {
    if (!isFirst(this.ranks)) return;
    await mkdir(this.folder, { recursive: true });
    const before = await this.index(kind);
    // Files of other inputs are overwritten. Their index must not remain if this process is killed meanwhile.
    if (!before) await rm(this.pathOf(kind), { force: true });
    const names = new Map<Tensor, string>();
    for (const [layer, values] of tensors) {
      if (names.has(values)) continue;
      const file = `${kind}.${layer}.safetensors`;
      names.set(values, file);
      const held = {
        name: TENSOR,
        dtype: "F32",
        shape: values.shape,
        data: (await values.data()) as Float32Array,
      } as const;
      await writeSafetensors(join(this.folder, file), [held]);
    }
    const added = Array.from(tensors, ([layer, values]) => [layer, names.get(values) as string] as const);
    const files = { ...before?.files, ...Object.fromEntries(added) };
    const { sha256 } = await this.data.facts();
    const index: Index = { version: 1, sha256, identity: this.identity, rows, files };
    await writeFileAtomically(this.pathOf(kind), `${JSON.stringify(index, null, 2)}\n`);
  }

  /** The index of a kind; undefined if there is none for this model and these inputs. */
  private async index(kind: CalibrationKind): Promise<Index | undefined> {
    const text = await readFile(this.pathOf(kind), "utf8").catch(() => undefined);
    const parsed = INDEX.safeParse(text === undefined ? undefined : jsonOrUndefined(text));
    if (!parsed.success || parsed.data.identity !== this.identity) return undefined;
    return parsed.data.sha256 === (await this.data.facts()).sha256 ? parsed.data : undefined;
  }

  private async tensorIn(name: string): Promise<Tensor> {
    const file = await openSafetensors(join(this.folder, name));
    try {
      const { data, shape } = await file.read(TENSOR);
      return tensor(data as Float32Array, [...shape], "float32");
    } finally {
      await file.close();
    }
  }

  private pathOf(kind: CalibrationKind): string {
    return join(this.folder, `${kind}.json`);
  }
}

const TENSOR = "values";
