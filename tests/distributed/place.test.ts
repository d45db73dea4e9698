// The place of a process, by the environments that torchrun, Kubernetes' PyTorchJob and Slurm make.

import { describe, expect, test } from "bun:test";
import { environmentAlone, firstNode, placeOf, tasksPerNode } from "../../workbench/distributed/place.ts";

const TORCHRUN = {
  ...{ RANK: "5", WORLD_SIZE: "8", LOCAL_RANK: "1", LOCAL_WORLD_SIZE: "4", MASTER_ADDR: "gpu1", MASTER_PORT: "29500" },
  ...{ TORCHELASTIC_USE_AGENT_STORE: "True", TORCHELASTIC_RESTART_COUNT: "2" },
};
const SLURM = {
  ...{ SLURM_PROCID: "3", SLURM_NTASKS: "5", SLURM_LOCALID: "1", SLURM_NODEID: "1", SLURM_JOB_ID: "4711" },
  ...{ SLURM_JOB_NODELIST: "gpu[03-05,9],login1", SLURM_TASKS_PER_NODE: "2(x2),1", SLURM_STEP_ID: "0" },
};

describe("the place of a process", () => {
  test("is none without a launcher", () => {
    expect(placeOf({})).toBeUndefined();
  });

  test("is read from torchrun: ranks meet one port beside the point that its agent serves", () => {
    expect(placeOf(TORCHRUN)).toEqual({
      ...{ rank: 5, size: 8, localRank: 1, localSize: 4, restarts: 2 },
      meeting: { address: "gpu1", port: 29501 },
    });
    expect(placeOf({ ...TORCHRUN, MASTER_PORT: "65535" })?.meeting.port).toBe(65_534);
  });

  test("is read from a PyTorchJob, which sets four variables: each process is alone on its machine", () => {
    const { RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT } = TORCHRUN;
    expect(placeOf({ RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT })).toEqual({
      ...{ rank: 5, size: 8, localRank: 0, localSize: 1, restarts: 0 },
      meeting: { address: "gpu1", port: 29500 },
    });
  });

  test("is read from srun: ranks meet at the first node, at a port of the job", () => {
    const place = placeOf(SLURM);
    expect(place).toMatchObject({ rank: 3, size: 5, localRank: 1, localSize: 2, restarts: 0 });
    expect(place?.meeting).toMatchObject({ address: "gpu03" });
    const others = ["0", "1", "2", "4"].map((SLURM_PROCID) => placeOf({ ...SLURM, SLURM_PROCID })?.meeting);
    expect(others).toEqual(Array.from({ length: 4 }, () => place?.meeting));
    expect(placeOf({ ...SLURM, SLURM_JOB_ID: "4712" })?.meeting.port).not.toBe(place?.meeting.port);
  });

  test("is none in a job of Slurm with one task, or in its shell", () => {
    expect(placeOf({ ...SLURM, SLURM_NTASKS: "1" })).toBeUndefined();
    expect(placeOf({ SLURM_JOB_ID: "4711", SLURM_JOB_NODELIST: "gpu1" })).toBeUndefined();
  });

  test.each([
    [{ ...TORCHRUN, WORLD_SIZE: undefined }, "RANK is set, but not WORLD_SIZE; start with `torchrun --no-python`"],
    [{ ...TORCHRUN, MASTER_PORT: "x" }, 'MASTER_PORT is "x", not a whole number'],
    [{ ...TORCHRUN, RANK: "8" }, "this process has rank 8 of 8"],
    [{ ...TORCHRUN, LOCAL_RANK: "4" }, "local rank 4 of 4 on its machine, of 8 in all"],
    [{ ...TORCHRUN, MASTER_PORT: "70000" }, "port 70000 does not exist"],
    [{ ...SLURM, SLURM_JOB_ID: undefined }, "SLURM_PROCID is set, but not SLURM_JOB_ID; start with `srun`"],
  ])("is refused if variables are missing or contradict each other %#", (environment, message) => {
    expect(() => placeOf(environment)).toThrow(message);
  });
});

test.each([
  ["gpu1", "gpu1"],
  ["gpu1,gpu2", "gpu1"],
  ["gpu[03-05,9],login1", "gpu03"],
  ["gpu[7]-ib", "gpu7-ib"],
  ["a[10,12]", "a10"],
])("the first node of %s is %s", (list, first) => {
  expect(firstNode(list)).toBe(first);
});

test("tasks of nodes are written out", () => {
  expect(tasksPerNode("2(x3),1")).toEqual([2, 2, 2, 1]);
  expect(tasksPerNode("4")).toEqual([4]);
});

describe("the environment of a child that is on its own", () => {
  test("has no launcher's variables, so that the child is not one of several", () => {
    for (const environment of [TORCHRUN, SLURM]) {
      const child = environmentAlone({ ...environment, HOME: "/home/ada" }, placeOf(environment));
      expect(placeOf(child)).toBeUndefined();
      expect(child.HOME).toBe("/home/ada");
    }
  });

  test("shows one GPU: that of the process among those that are visible", () => {
    const visible = (devices?: string) =>
      environmentAlone({ ...TORCHRUN, CUDA_VISIBLE_DEVICES: devices }, placeOf(TORCHRUN)).CUDA_VISIBLE_DEVICES;
    expect([visible(), visible("4,6"), visible("GPU-5f")]).toEqual(["1", "6", "GPU-5f"]);
  });

  test("is that of the process if that is the only one", () => {
    expect(environmentAlone({ HOME: "/home/ada", EMPTY: undefined }, undefined)).toEqual({ HOME: "/home/ada" });
  });
});
