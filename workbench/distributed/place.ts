// The place of a process among those of a run, as its launcher sets it in the environment: torchrun and Kubernetes'
// PyTorchJob (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), or Slurm's srun (SLURM_PROCID and others).

import { EngineError } from "../engine/core/errors.ts";

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The place of one process among those of a run. */
export interface Place {
  /** 0 to size - 1 */
  rank: number;
  /** number of processes */
  size: number;
  /** rank among the processes of the same machine */
  localRank: number;
  /** number of processes on the same machine */
  localSize: number;
  /** where the ranks meet, which rank 0 serves */
  meeting: { address: string; port: number };
  /** how often the launcher has restarted the run */
  restarts: number;
}

const TORCHRUN = ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"];
const SLURM = ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_JOB_ID", "SLURM_JOB_NODELIST"];

const MOST_PORT = 65_535;

const beside = (port: number): number => (port < MOST_PORT ? port + 1 : port === MOST_PORT ? port - 1 : port);

/**
 * The place of this process, by the environment that its launcher set.
 * @returns undefined if it was not started as one of several
 * @throws EngineError if variables are missing or contradict each other
 */
export function placeOf(environment: Environment): Place | undefined {
  const { RANK, WORLD_SIZE, SLURM_PROCID, SLURM_NTASKS } = environment;
  if (RANK !== undefined || WORLD_SIZE !== undefined) return checked(fromTorchrun(environment));
  // Inside of `salloc` or `sbatch` without `srun`, the variables of the job are set, but a process is the only one.
  if (SLURM_PROCID === undefined || SLURM_NTASKS === undefined || SLURM_NTASKS === "1") return undefined;
  return checked(fromSlurm(environment));
}

/**
 * The environment of a child process that is not one of several itself. It sees only the GPU of this process.
 * @param place of this process. Default: it is the only one, and the environment stays as it is
 */
export function environmentAlone(environment: Environment, place: Place | undefined): Record<string, string> {
  const entries = Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined);
  if (!place) return Object.fromEntries(entries);
  const ofLauncher =
    /^(RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|MASTER_ADDR|MASTER_PORT|SLURM_PROCID|SLURM_NTASKS)$/;
  const index = gpuOf(environment, place);
  return {
    ...Object.fromEntries(entries.filter(([name]) => !ofLauncher.test(name))),
    CUDA_VISIBLE_DEVICES: environment.CUDA_VISIBLE_DEVICES?.split(",")[index] ?? `${index}`,
  };
}

/** The number of a process's GPU among those that it sees: Slurm may show each process its own one only. */
export function gpuOf({ CUDA_VISIBLE_DEVICES: visible }: Environment, { localRank }: Place): number {
  return visible === undefined ? localRank : localRank % visible.split(",").length;
}

function fromTorchrun(environment: Environment): Place {
  expectAll(environment, TORCHRUN, "start with `torchrun --no-python`, or set all of them");
  const { MASTER_ADDR = "", TORCHELASTIC_USE_AGENT_STORE } = environment;
  const port = number(environment, "MASTER_PORT");
  return {
    rank: number(environment, "RANK"),
    size: number(environment, "WORLD_SIZE"),
    localRank: number(environment, "LOCAL_RANK", 0),
    localSize: number(environment, "LOCAL_WORLD_SIZE", 1),
    meeting: {
      address: MASTER_ADDR,
      // torchrun serves a meeting point of its own here, with which only the same version of PyTorch can speak.
      port: TORCHELASTIC_USE_AGENT_STORE === "True" ? beside(port) : port,
    },
    restarts: number(environment, "TORCHELASTIC_RESTART_COUNT", 0),
  };
}

function fromSlurm(environment: Environment): Place {
  expectAll(environment, SLURM, "start with `srun`");
  const { SLURM_STEP_NODELIST, SLURM_JOB_NODELIST = "", SLURM_STEP_TASKS_PER_NODE, SLURM_TASKS_PER_NODE } = environment;
  const node = number(environment, "SLURM_NODEID", 0);
  const size = number(environment, "SLURM_NTASKS");
  const perNode = SLURM_STEP_TASKS_PER_NODE ?? SLURM_TASKS_PER_NODE;
  const { MASTER_ADDR, MASTER_PORT } = environment;
  return {
    rank: number(environment, "SLURM_PROCID"),
    size,
    localRank: number(environment, "SLURM_LOCALID"),
    localSize: perNode === undefined ? size : (tasksPerNode(perNode)[node] ?? size),
    meeting: {
      address: MASTER_ADDR ?? firstNode(SLURM_STEP_NODELIST ?? SLURM_JOB_NODELIST),
      // Jobs that share a node need different ports; all ranks of a job compute the same one.
      port: MASTER_PORT === undefined ? portOf(environment) : number(environment, "MASTER_PORT"),
    },
    restarts: number(environment, "SLURM_RESTART_COUNT", 0),
  };
}

/** Ports of jobs: 20000 to 29999, outside of those that systems give to clients. */
function portOf(environment: Environment): number {
  const step = number(environment, "SLURM_STEP_ID", 0);
  return 20_000 + ((number(environment, "SLURM_JOB_ID") * 7 + step) % 10_000);
}

/** The first host of Slurm's notation: `gpu[03-05,9],login1` → `gpu03`. */
export function firstNode(list: string): string {
  const [, prefix = "", first, suffix = ""] = /^([^[,]*)(?:\[([^\],-]+)[^\]]*\]([^,[]*))?/.exec(list) ?? [];
  return first === undefined ? prefix : `${prefix}${first}${suffix}`;
}

/** Tasks of each node in Slurm's notation: `2(x3),1` → 2, 2, 2, 1. */
export function tasksPerNode(text: string): number[] {
  return text.split(",").flatMap((part) => {
    const [, count = "0", times = "1"] = /^(\d+)(?:\(x(\d+)\))?$/.exec(part.trim()) ?? [];
    return Array.from({ length: Number(times) }, () => Number(count));
  });
}

function expectAll(environment: Environment, names: readonly string[], remedy: string): void {
  const [set] = names.filter((name) => environment[name] !== undefined);
  const missing = names.filter((name) => environment[name] === undefined);
  if (missing.length > 0) throw new EngineError(`${set} is set, but not ${missing.join(", ")}`, remedy);
}

function number(environment: Environment, name: string, otherwise?: number): number {
  const text = environment[name];
  if (text === undefined && otherwise !== undefined) return otherwise;
  if (text !== undefined && /^\d{1,10}$/.test(text)) return Number(text);
  throw new EngineError(`${name} is ${JSON.stringify(text)}, not a whole number`, "correct the environment");
}

function checked(place: Place): Place {
  const { rank, size, localRank, localSize, meeting } = place;
  const wrong = (problem: string) => new EngineError(problem, "start all processes with one launcher");
  if (size < 1 || rank >= size) throw wrong(`this process has rank ${rank} of ${size}`);
  if (localRank >= localSize || localSize > size) {
    throw wrong(`this process has local rank ${localRank} of ${localSize} on its machine, of ${size} in all`);
  }
  if (meeting.port < 1 || meeting.port > MOST_PORT) throw wrong(`port ${meeting.port} does not exist`);
  return place;
}
