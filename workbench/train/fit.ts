// The training loop: the order of steps, evaluations and checkpoints, each of which is reported as an event. The task
// computes the loss, the optimizer updates parameters, and the shrink rule updates widths. A run that was stopped at
// any time resumes with bit-identical results.

import { join } from "node:path";
import { dispose } from "@tensorflow/tfjs-core";
import { isFirst, StoppedError } from "../distributed/process-group.ts";
import { gathered } from "../distributed/shares.ts";
import { expectSetting } from "../engine/ops/operands.ts";
import { sigmaAt } from "../gblr/schedules.ts";
import type { Model } from "../models/model.ts";
import { MOST_CANCELLATION } from "../structures/factor-sizes.ts";
import { formChoices } from "../structures/inference/choice.ts";
import { batchGradients, type LoadedBatch, readAhead } from "./batches.ts";
import { CHECKPOINT_FOLDER, findStart, restore } from "./checkpoint.ts";
import { type CheckpointVariables, checkpointVariables, type RunState } from "./checkpoint-format.ts";
import { removeOldCheckpoints, saveCheckpoint } from "./checkpoint-save.ts";
import { type CheckpointWritten, type FitEvent, NonFiniteError, RunError, type StepDone } from "./events.ts";
import { Adapters } from "./lora.ts";
import type { EvaluationMetrics, Metrics, StepMetrics } from "./metrics.ts";
import { METRICS_FILE, MetricsFile } from "./metrics.ts";
import { Optimizer } from "./optimizer.ts";
import type { Evaluation, FitOptions, Settings, Task } from "./options.ts";
import { anyAsks, BEGINNING, expectShared, startOf } from "./ranks.ts";
import { expectPlain, runSettings, settingsHash, valuesDigest } from "./run-settings.ts";
import { microBatches, type Schedule, scheduleOf, stepsOf, timeAt } from "./schedule.ts";
import { blocksOf, StructureLearning, structureNow } from "./structure.ts";

/**
 * Trains a model until the end of the schedule or until the signal. If the iteration is stopped early, steps after the
 * last checkpoint are lost, as when the process is killed.
 * @throws NonFiniteError when a loss, gradient or metric is not finite; RunError when the run cannot be resumed or
 *   saved; ShapeError when a setting is out of range
 */
export async function* fit(options: FitOptions): AsyncGenerator<FitEvent> {
  const schedule = scheduleOf(options);
  const settings = await settingsOf(options, schedule);
  const adapters = options.lora && new Adapters(options.model, options.lora, options.seed);
  const optimizer = new Optimizer(options.model, { ...options.optimizer, adapters, ranks: options.ranks });
  const structure = structureOf(options, schedule, optimizer);
  const { mode } = options.model.masks;
  options.model.masks.mode = "train";
  try {
    // Invalid settings throw here, before anything is read or written.
    optimizer.rates({ step: 0, ...schedule });
    if (options.sigma) sigmaAt(options.sigma, timeAt(schedule, 0));
    if (optimizer.learned.length === 0)
      throw new RunError("the model has no parameter to train; load its trainable form");
    const { from, passedOver, variables } = await begun({ options, settings, optimizer, structure, adapters });
    const metrics = isFirst(options.ranks)
      ? await MetricsFile.open(join(options.folder, METRICS_FILE), from?.metricsBytes ?? 0)
      : undefined;
    try {
      const run = new Run({
        options,
        schedule,
        settings,
        optimizer,
        structure,
        variables,
        metrics,
        from,
      });
      const { steps, stepsPerEpoch } = schedule;
      const kind = from ? "resumed" : "started";
      const adapted = adapters && optimizer.learned.reduce((sum, { parameter }) => sum + parameter.size, 0);
      yield { kind, step: run.step, steps, stepsPerEpoch, unit: options.task.unit.name, adapted, passedOver };
      yield* run.toTheEnd();
    } finally {
      await metrics?.close();
    }
  } finally {
    options.model.masks.mode = mode;
    optimizer.dispose();
    adapters?.dispose();
    await structure?.dispose();
    await options.task.position?.close();
  }
}

interface Beginning extends Pick<RunParts, "options" | "settings" | "optimizer" | "structure"> {
  adapters: Adapters | undefined;
}

/**
 * Where the run begins: at a checkpoint, or with the model as it is. Of several processes the first one looks for the
 * checkpoint, and the others get its state and the parameters. Each one reads the moments that it keeps.
 * @throws RunError as `findStart` and `expectTrainable` do, and if processes have other settings than the first one
 */
async function begun({
  options,
  settings,
  optimizer,
  structure,
  adapters,
}: Beginning): Promise<{ from: RunState | undefined; passedOver: string[]; variables: CheckpointVariables }> {
  const { model, ranks } = options;
  const folder = join(options.folder, CHECKPOINT_FOLDER);
  const variables = checkpointVariables(optimizer, structure);
  const found = isFirst(ranks) ? await findStart(options, settings) : undefined;
  if (found && !found.checkpoint && !adapters) await expectTrainable(model);
  // A run may be resumed with another choice of `shard`, but all processes must have made the same.
  const shared = { ...settings, "shard optimizer": options.optimizer.shard ?? false };
  const start = ranks ? await startOf(ranks, shared, found?.checkpoint) : found?.checkpoint;
  if (ranks) await expectShared(ranks, folder);
  if (start) {
    const { common, moments } = variables;
    const read = async () => {
      await restore(folder, start.tensors, isFirst(ranks) ? new Map([...common, ...moments]) : moments);
      return null;
    };
    await gathered(BEGINNING, read, { ranks });
    goOn(options.task, { folder, run: start.run });
  }
  await ranks?.broadcastAll(variables.common.values());
  adapters?.merge();
  return { from: start?.run, passedOver: found?.passedOver ?? [], variables };
}

/** Lets data that is read in order go on from its place in a checkpoint. @throws RunError if it has no such place */
function goOn({ position }: Task, { folder, run: { step, data } }: { folder: string; run: RunState }): void {
  try {
    position?.resume(data);
  } catch (error) {
    const problem = `the checkpoint of step ${step} has no valid places in the data to go on from`;
    throw new RunError(`${folder}: ${problem}; remove it, so that the run goes on from an earlier one`, {
      cause: error,
    });
  }
}

/**
 * Checks that the blocks of no layer cancel each other. If they do, a small change of each, or of one width, is a large
 * change of their sum.
 * @throws RunError that names the layer, and what to do
 */
async function expectTrainable(model: Model): Promise<void> {
  for (const { name, structure } of model.layers.values()) {
    const ratio = await structure.cancellation?.(model.structureParameters(name));
    if (ratio === undefined || ratio <= MOST_CANCELLATION) continue;
    throw new RunError(
      `the blocks of ${name} cancel each other: they are ${Math.round(ratio)} times as large as their sum, and training them would destroy it; train adapters with --lora, or convert with --stable-blocks`,
    );
  }
}

/**
 * The settings that a resumed run must share.
 * @throws ShapeError when a setting is not plain JSON or `shrinkEvery` is out of range; RunError for adapters with a
 *   shrink rule
 */
async function settingsOf(options: FitOptions, schedule: Schedule): Promise<Settings> {
  const { shrinkEvery = 1 } = options;
  const isCount = Number.isInteger(shrinkEvery) && shrinkEvery >= 1;
  expectSetting("fit", { shrinkEvery }, "an integer of at least 1", isCount);
  if (options.lora && options.shrink) {
    throw new RunError("adapters leave the widths of blocks as they are; give lora or shrink, not both");
  }
  const settings = runSettings(options, schedule);
  expectPlain(settings);
  if (!options.lora) return settings;
  return { ...settings, "base parameters": await valuesDigest(options.model.parameters) };
}

/** Learning of widths and locations; undefined if there are none, or adapters are trained. */
function structureOf(options: FitOptions, schedule: Schedule, optimizer: Optimizer): StructureLearning | undefined {
  const { model, shrink, shrinkEvery = 1 } = options;
  const blocks = options.lora ? undefined : blocksOf(model);
  const momentOf = (step: number) => ({
    ...timeAt(schedule, step),
    learningRate: optimizer.rates({ step, ...schedule }).structure,
  });
  return blocks && new StructureLearning(blocks, { rule: shrink, every: shrinkEvery, steps: schedule.steps, momentOf });
}

interface RunParts {
  options: FitOptions;
  schedule: Schedule;
  settings: Settings;
  optimizer: Optimizer;
  structure: StructureLearning | undefined;
  variables: CheckpointVariables;
  /** undefined if another process writes them */
  metrics: MetricsFile | undefined;
  from: RunState | undefined;
}

class Run {
  step: number;
  private evaluatedAt: number;
  private savedAt: { step: number; milliseconds: number };
  private readonly begun: { step: number; seconds: number; milliseconds: number };
  private readonly clock: () => number;
  private readonly parts: RunParts;

  constructor(parts: RunParts) {
    const { options, structure, from } = parts;
    this.parts = parts;
    this.clock = options.clock ?? (() => performance.now());
    this.step = from?.step ?? 0;
    this.evaluatedAt = from?.evaluatedAt ?? -1;
    this.begun = { step: this.step, seconds: from?.seconds ?? 0, milliseconds: this.clock() };
    this.savedAt = { step: from ? this.step : -1, milliseconds: this.begun.milliseconds };
    if (from) {
      structure?.resume(this.step, from);
      options.model.masks.sigma = from.sigma === null ? undefined : Number(from.sigma);
      formChoices.adopt(from.forms ?? {});
    } else {
      this.setSigma();
    }
  }

  async *toTheEnd(): AsyncGenerator<FitEvent> {
    const { options, schedule } = this.parts;
    const batches = readAhead(options.task, microBatches(schedule, this.step, options.ranks));
    try {
      for (;;) {
        yield* this.evaluateIfDue();
        const { stop, save } = await anyAsks(options.ranks, { stop: this.stops(), save: this.saveIsDue() });
        const over = this.step === schedule.steps;
        if (stop || over || save) yield* this.save();
        if (stop || over) break;
        const done = await this.next(batches);
        if (done) yield done;
        else yield* this.save();
        if (!done) break;
      }
    } finally {
      await batches.return(undefined);
    }
    const kind = this.step === schedule.steps ? "finished" : "interrupted";
    yield { kind, step: this.step, steps: schedule.steps, seconds: this.seconds() };
  }

  /** @returns undefined if the signal has ended the reading of the data, which may come over a network */
  private async next(batches: AsyncGenerator<LoadedBatch>): Promise<StepDone | undefined> {
    const { options, schedule, optimizer, structure, metrics } = this.parts;
    const { ranks } = options;
    if (ranks) ranks.during = `step ${this.step + 1}`;
    const start = this.clock();
    const { sigma } = options.model.masks;
    this.setSigma();
    const time = { step: this.step, ...schedule };
    const { through } = optimizer;
    const variables = optimizer.variables({ frozen: structure?.frozen ?? false });
    const found = await batchGradients(options.task, batches, { variables, through, ranks }).catch((error) => {
      if (ranks || !this.stops() || error instanceof NonFiniteError) throw error;
    });
    if (!found) {
      options.model.masks.sigma = sigma;
      return undefined;
    }
    await optimizer.step(found.gradients, time);
    dispose([...found.gradients.values()]);
    const summary = await structure?.after(this.step);
    this.step++;
    const line: StepMetrics = {
      kind: "step",
      ...this.place(),
      loss: found.loss,
      learningRate: optimizer.rates(time).weights,
      gradientNorm: found.gradientNorm,
      rate: (found.items * options.task.unit.perItem * 1000) / (this.clock() - start),
      ...summary,
      ...this.sigmaShown(),
    };
    await metrics?.append(line);
    return { ...line, steps: schedule.steps, secondsLeft: this.secondsLeft() };
  }

  /** Evaluates if it is due at this step. If the signal stops the evaluation, it stays due. */
  private async *evaluateIfDue(): AsyncGenerator<FitEvent> {
    const { evaluation, model, signal, ranks } = this.parts.options;
    if (!this.evaluationIsDue() || (await anyAsks(ranks, { stop: this.stops() })).stop) return;
    const lines: Metrics[] = [];
    if (evaluation) {
      const mode = model.masks.mode;
      model.masks.mode = "eval";
      try {
        lines.push(...this.linesOf(await evaluation.run({ signal, step: this.step })));
        const samples = isFirst(ranks) ? await evaluation.samples?.({ signal }) : undefined;
        lines.push(...(samples ?? []).map((sample) => ({ kind: "sample" as const, ...this.place(), ...sample })));
      } catch (error) {
        if (signal?.aborted || error instanceof StoppedError) return;
        throw error;
      } finally {
        model.masks.mode = mode;
      }
    }
    if (this.parts.structure) lines.push({ ...(await structureNow(model)), ...this.place() });
    // Checkpoints are saved before the first or after the last of these lines, never between them.
    for (const line of lines) await this.parts.metrics?.append(line);
    this.evaluatedAt = this.step;
    yield* lines as Exclude<Metrics, StepMetrics>[];
  }

  private evaluationIsDue(): boolean {
    const { evaluation } = this.parts.options;
    const { steps } = this.parts.schedule;
    if (this.evaluatedAt === this.step) return false;
    if (this.step === 0) return evaluation?.first ?? true;
    return this.step === steps || this.step % this.spanOf(evaluation?.every) === 0;
  }

  private linesOf(splits: Evaluation): EvaluationMetrics[] {
    return Object.entries(splits).map(([split, values]) => {
      const bad = Object.entries(values).find(([, value]) => !Number.isFinite(value));
      if (bad) throw new NonFiniteError(`step ${this.step}: ${bad[0]} of ${split} is ${bad[1]}`, this.step);
      return { kind: "evaluation", ...this.place(), split, values };
    });
  }

  private stops(): boolean {
    return this.parts.options.signal?.aborted === true;
  }

  private saveIsDue(): boolean {
    const { every, seconds = 600 } = this.parts.options.checkpoint ?? {};
    if (this.savedAt.step === this.step || this.step === this.begun.step) return false;
    return this.step % this.spanOf(every) === 0 || this.clock() - this.savedAt.milliseconds >= 1000 * seconds;
  }

  private async *save(): AsyncGenerator<CheckpointWritten> {
    const { options, metrics, variables } = this.parts;
    const { ranks } = options;
    const folder = join(options.folder, CHECKPOINT_FOLDER);
    const keep = options.checkpoint?.keep ?? 2;
    // A run killed after its last checkpoint was complete may have left older checkpoints.
    if (this.savedAt.step === this.step) {
      if (isFirst(ranks)) await removeOldCheckpoints(folder, { newest: this.step, keep });
      return;
    }
    await metrics?.flush();
    const data = await this.positions();
    const run = { ...this.state(metrics?.length ?? 0), ...(data && { data }) };
    const file = await saveCheckpoint(folder, { run, variables, keep, ranks });
    this.savedAt = { step: this.step, milliseconds: this.clock() };
    if (isFirst(ranks)) yield { kind: "checkpoint", step: this.step, file };
  }

  /** Positions of all processes in data that is read in order; undefined for other data. */
  private async positions(): Promise<Record<string, unknown> | undefined> {
    const { task, ranks } = this.parts.options;
    const { position } = task;
    if (!position) return undefined;
    const all = await gathered("a checkpoint", async () => position.statesAt(this.step), { ranks });
    return Object.assign({}, ...all);
  }

  private state(metricsBytes: number): RunState {
    const { options, schedule, settings, structure } = this.parts;
    const { sigma } = options.model.masks;
    const { epoch, batch } = timeAt(schedule, this.step);
    const forms = formChoices.taken;
    return {
      step: this.step,
      epoch,
      batch,
      seed: schedule.seed,
      evaluatedAt: this.evaluatedAt,
      seconds: this.seconds(),
      metricsBytes,
      sigma: sigma === undefined ? null : Number.isFinite(sigma) ? sigma : "Infinity",
      shrink: { ...structure?.state },
      frozen: structure?.frozen ?? false,
      ...(Object.keys(forms).length > 0 && { forms }),
      settings: { ...settings },
      settingsHash: settingsHash(settings),
    };
  }

  /** Sets σ for the next step. Evaluation and checkpoints use the σ of the last step trained. */
  private setSigma(): void {
    const { sigma, model } = this.parts.options;
    if (sigma) model.masks.sigma = sigmaAt(sigma, timeAt(this.parts.schedule, this.step));
  }

  private sigmaShown(): { sigma?: number } {
    const { sigma } = this.parts.options.model.masks;
    return this.parts.structure && sigma !== undefined && Number.isFinite(sigma) ? { sigma } : {};
  }

  private spanOf(span = { epochs: 1 } as { epochs: number } | { steps: number }): number {
    return Math.max(1, stepsOf(span, this.parts.schedule));
  }

  private place(): { step: number; epoch: number; seconds: number } {
    return { step: this.step, epoch: this.step / this.parts.schedule.stepsPerEpoch, seconds: this.seconds() };
  }

  private seconds(): number {
    return this.begun.seconds + (this.clock() - this.begun.milliseconds) / 1000;
  }

  private secondsLeft(): number {
    const each = (this.seconds() - this.begun.seconds) / (this.step - this.begun.step);
    return each * (this.parts.schedule.steps - this.step);
  }
}
