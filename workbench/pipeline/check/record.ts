// The measurements of a check on the disk, so that a check that was interrupted or killed measures nothing twice. The file
// is found by a key of everything on which the measurements depend: the model, the data, the conversion and the versions.

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { jsonOrUndefined } from "../../../hub/text/json.ts";
import { comparisonRowSchema } from "../../evaluate/comparison-row.ts";
import type { Scored } from "../domains/domain.ts";

const schema = z.object({
  format: z.literal(1),
  /** scores by what was measured: `before`, or the number of layers that were put back */
  scores: z.record(z.string(), comparisonRowSchema.pick({ metrics: true, measured: true, speed: true })),
  /** layers with their harms, largest first; nats */
  harms: z.array(z.tuple([z.string(), z.number()])).optional(),
});

type Content = z.infer<typeof schema>;

/** The measurements of one check so far. */
export class CheckRecord {
  private readonly file: string;
  private content: Content;

  private constructor(file: string, content: Content) {
    [this.file, this.content] = [file, content];
  }

  /**
   * Opens the record of a check. A file that cannot be understood is ignored: everything is measured again.
   * @param cache cache folder
   * @param key everything on which the measurements depend, as JSON
   */
  static async open(cache: string, key: object): Promise<CheckRecord> {
    const name = createHash("sha256").update(JSON.stringify(key)).digest("hex").slice(0, 32);
    const file = join(cache, "checks", `${name}.json`);
    const text = await readFile(file, "utf8").catch(() => "");
    const found = schema.safeParse(jsonOrUndefined(text));
    return new CheckRecord(file, found.data ?? { format: 1, scores: {} });
  }

  score(what: string): Scored | undefined {
    return this.content.scores[what];
  }

  get harms(): readonly (readonly [string, number])[] | undefined {
    return this.content.harms;
  }

  async addScore(what: string, score: Scored): Promise<void> {
    await this.write({ ...this.content, scores: { ...this.content.scores, [what]: score } });
  }

  async addHarms(harms: [string, number][]): Promise<void> {
    await this.write({ ...this.content, harms });
  }

  /** Deletes the record of a check that has ended. */
  async remove(): Promise<void> {
    await rm(this.file, { force: true });
  }

  private async write(content: Content): Promise<void> {
    await mkdir(dirname(this.file), { recursive: true });
    await writeFileAtomically(this.file, `${JSON.stringify(content)}\n`);
    this.content = content;
  }
}

/** Names, sizes and times of change of the files in a folder, for the key of a record. */
export async function folderState(folder: string): Promise<(string | number)[][]> {
  const names = (await readdir(folder, { recursive: true })).map(String).sort();
  const states = await Promise.all(
    names.map(async (name) => {
      const found = await stat(join(folder, name));
      return found.isFile() ? [[name, found.size, found.mtimeMs]] : [];
    }),
  );
  return states.flat();
}
