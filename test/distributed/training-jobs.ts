/** Runs of training that several ranks make together, or one. */
import { BtsError } from '../../lib/base/errors.js';
import { ArrayTokens } from '../../lib/data/token-stream.js';
import { MixtureModel } from '../../lib/model/baselines/mixture-model.js';
import { RoutedModel } from '../../lib/model/baselines/routed.js';
import type { StitchOptions } from '../../lib/model/begin-stitched.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { loadModel } from '../../lib/model/load-model.js';
import { MemberParallelModel } from '../../lib/model/member-parallel-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { Communicator } from '../../lib/tensor/communicator.js';
import type { Device } from '../../lib/tensor/device.js';
import { type Mesh, openMesh } from '../../lib/tensor/mesh.js';
import type { TrainEvent } from '../../lib/train/events.js';
import { train } from '../../lib/train/trainer.js';
import { randomTokens } from '../support/models.js';
import { tinyMixture } from '../support/training.js';

const DROPOUT = { dropout: 0.3 };

/** How each kind of model is begun; members are what `create` is told. */
const CREATE = {
  dense: (device: Device, { hub }: Members) => DenseModel.load(device, hub, { trainable: true }),
  adapter: (device: Device, { hub }: Members) => DenseModel.adapt(device, hub, { rank: 3 }),
  stitched: (device: Device, { hub, experts, stitching = DROPOUT }: Members) =>
    StitchedModel.create(device, { hub, experts, ...stitching }),
  'btx-sample': (device: Device, members: Members) => MixtureModel.create(device, 'btx-sample', members),
  bam: (device: Device, members: Members) => MixtureModel.create(device, 'bam', members),
  routing: (device: Device, members: Members) => RoutedModel.create(device, members),
};

interface Members {
  hub: string;
  experts: Record<string, string>;
  stitching?: Partial<StitchOptions>;
}

/** What goes wrong, behind an update, on one rank. */
export interface Fault {
  rank: number;
  step: number;
  what: 'NaN' | 'stop' | 'killed' | 'slow' | 'memory once' | 'memory always' | 'disk';
}

export interface Job {
  kind: keyof typeof CREATE;
  members: Members;
  folder: string;
  /** Sequences that a rank computes at a time. */
  batchSize: number;
  steps?: number;
  accumulation?: number;
  resume?: string;
  /** Whether each member has a rank of its own, where there are several. */
  spread?: boolean;
  /** Whether all ranks are given in the place of the replicas. */
  misled?: boolean;
  fault?: Fault;
  /** What rank 1 is started with in the place of what it says here. */
  other?: { learningRate?: number; batchSize?: number; seed?: number; text?: number; hub?: string };
}

export interface Made {
  events?: TrainEvent[];
  error?: { code: string; message: string };
}

/** Makes one run after another; what goes wrong with one is told. */
export async function makeRuns(communicator: Communicator, jobs: readonly Job[]): Promise<Made[]> {
  const made: Made[] = [];
  for (const job of jobs) {
    const events: TrainEvent[] = [];
    try {
      await makeRun(communicator, job, events);
      made.push({ events });
    } catch (error) {
      if (!(error instanceof BtsError)) throw error;
      made.push({ events, error: { code: error.code, message: error.message } });
    }
  }
  return made;
}

async function makeRun(communicator: Communicator, job: Job, events: TrainEvent[]): Promise<void> {
  const { device, rank } = communicator;
  const { empty } = device;
  const { kind, folder, steps = 6, accumulation = 1, fault, resume, other = {} } = job;
  const {
    learningRate = 1e-2,
    batchSize = job.batchSize,
    seed = 3,
    text = 0,
    hub = job.members.hub,
  } = rank === 1 ? other : {};
  const members = { ...job.members, hub };
  const mesh = await openMesh(communicator, job.spread && communicator.size > 1 ? membersOf(members) : 1);
  using model = await modelOf(kind, members, mesh, resume);
  const stop = new AbortController();
  const options = { folder, steps, accumulation, learningRate, seed, checkpointEvery: 2, signal: stop.signal };
  const heldOut = [1, 2].map((n) => ({ name: `text ${n}`, heldOut: new ArrayTokens(randomTokens(90 + n, n)) }));
  const evaluation = { sequenceLength: 8, batchSize: 2 };
  const data = tinyMixture(7, batchSize, text);
  try {
    for await (const event of train(model, data, {
      ...options,
      heldOut,
      evaluation,
      resume,
      communicator: job.misled ? communicator : mesh.replicas,
    })) {
      events.push(event);
      if (event.type === 'step' && event.step === fault?.step && rank === fault.rank) bringAbout(fault, model, stop);
    }
  } finally {
    device.empty = empty;
  }
}

const membersOf = ({ experts }: Members) => 1 + Object.keys(experts).length;

async function modelOf(kind: Job['kind'], members: Members, mesh: Mesh, resume?: string): Promise<LanguageModel> {
  const { device } = mesh.replicas;
  if (mesh.members.size === 1)
    return resume ? await loadModel(device, resume, { trainable: true }) : await CREATE[kind](device, members);
  if (resume) return await MemberParallelModel.load(device, resume, mesh.members, { trainable: true });
  const { hub, experts, stitching = DROPOUT } = members;
  return await MemberParallelModel.create(device, { hub, experts, ...stitching }, mesh.members);
}

function bringAbout({ what }: Fault, model: LanguageModel, stop: AbortController): void {
  const { device } = model;
  if (what === 'stop') stop.abort();
  if (what === 'NaN') device.run('fill', { y: model.trainable[0]!.value, value: Number.NaN });
  if (what === 'killed') process.kill(process.pid, 'SIGKILL');
  if (what === 'slow') slowDown(model);
  if (what === 'disk')
    model.spread!.writeWhole = () =>
      Promise.reject(new BtsError('FILE_IO', 'there is no more room on the disk of this test.'));
  if (!what.startsWith('memory')) return;
  const { empty } = device;
  let calls = 0;
  device.empty = (...args) => {
    if (++calls < 20 || (what === 'memory once' && calls > 20)) return empty.apply(device, args);
    throw new BtsError('OUT_OF_MEMORY', 'there is no more room in this test.');
  };
}

/** Lets each batch take longer. */
function slowDown(model: LanguageModel): void {
  const { device } = model;
  const trainingLoss = model.trainingLoss.bind(model);
  model.trainingLoss = (...args) => {
    using much = device.empty([8_000_000]);
    for (let i = 0; i < 20; i++) device.run('fill', { y: much, value: i });
    return trainingLoss(...args);
  };
}
