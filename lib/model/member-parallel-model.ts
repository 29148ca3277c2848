import { join } from 'node:path';
import { type Abortable, BtsError } from '../base/errors.js';
import { hashFile } from '../base/file-hash.js';
import { recoverFolder } from '../base/folder.js';
import { expectOptions, parseOptions } from '../base/options-check.js';
import { hash32 } from '../base/random.js';
import type { ModelConfig } from '../checkpoint/config.js';
import { readSafetensors } from '../checkpoint/safetensors.js';
import { type TensorSource, writeSafetensors } from '../checkpoint/safetensors-writer.js';
import {
  type Placement,
  readManifest,
  type StitchManifest,
  withoutPaths,
  writeManifest,
} from '../checkpoint/stitch-manifest.js';
import type { Batch } from '../data/packing.js';
import { Tokenizer } from '../data/tokenizer.js';
import { expectSame } from '../tensor/agreement.js';
import type { Communicator } from '../tensor/communicator.js';
import type { Device } from '../tensor/device.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { onEach, SharedError, together } from '../tensor/together.js';
import { beginStitched, heldAs, type StitchOptions } from './begin-stitched.js';
import { type BatchSize, memberTrainingBytes } from './cost/cost.js';
import { DecoderModel, type Pass } from './decoder-model.js';
import type { Prompt } from './decoding/generate.js';
import type { GeneratedToken } from './decoding/generation.js';
import type { GenerateOptions } from './decoding/options.js';
import { describeMember, type OpenMember, openMembers } from './members/member-files.js';
import { copyTokenizer } from './save.js';
import { Gathering, type SpreadModel, type SpreadWeight } from './spread-weights.js';
import { expectAccounted, STITCHES, type StitchedLoadOptions } from './stitched-model.js';
import type { GateLayout, GateRecordOptions, TokenGates } from './stitches/gate-log.js';
import { type StitchDesign, stitchDesign } from './stitches/kinds/index.js';
import { StitchLayer } from './stitches/stitch-layer.js';
import type { StitchPart } from './stitches/stitch-part.js';
import { checkPlan } from './stitches/stitch-plan.js';
import { Member, withoutHead } from './transformer/member.js';
import { QUANTIZE_OPTIONS, type QuantizeOptions, quantizeOptions } from './transformer/quantization.js';
import { Transformer } from './transformer/transformer.js';

type CreateStitch = (placement: Placement, index: number, design: StitchDesign) => StitchLayer;

/** How a member is loaded. */
export interface MemberParallelOptions extends Omit<StitchedLoadOptions, 'trainable'> {
  /** Makes the stitches trainable again; default: frozen. */
  trainable?: boolean;
}

/**
 * A stitched model of whose members each lies on a rank of its own, in the order of bts.json: rank 0 has the hub, rank e the
 * expert e and its share of every stitch. Only hidden states cross, at the stitches: into the hub what each expert projects, into
 * the experts what the hub is. All ranks make the same calls and get the same logits, losses and gates, those of the model on one
 * device within rounding.
 */
export class MemberParallelModel extends DecoderModel {
  override readonly hasGates = true;
  /** @internal Of one member. */
  readonly transformer: Transformer;
  readonly trainable: readonly Parameter[];
  /** @internal */
  override readonly spread: SpreadModel;
  // What others send comes anew for each token.
  protected override readonly recordsSteps = false;

  private constructor(
    device: Device,
    /** Of the members' ranks. */
    readonly communicator: Communicator,
    /** The hub's, on every rank. */
    private readonly hubConfig: ModelConfig,
    member: Member,
    private readonly stitches: readonly StitchPart[],
    weights: readonly SpreadWeight[],
    /** What `bts.json` says of it. */
    readonly manifest: StitchManifest,
    tokenizer: Tokenizer | undefined,
  ) {
    super(device, tokenizer);
    this.transformer = new Transformer(device, [member]);
    this.spread = { members: communicator, weights, writeWhole: this.writeWhole.bind(this) };
    this.trainable = stitches.flatMap(({ parameters }) => parameters).filter(({ gradient }) => gradient);
  }

  /**
   * Stitches checkpoints that lie in folders, as `StitchedModel.create` does: this rank's member of the model. Every rank calls it, as
   * many as there are members. Throws BAD_OPTION where there are more or fewer, and what `StitchedModel.create` throws.
   *
   * @param options which members, and how they are stitched
   * @param communicator of the ranks: all of them, or the members of a mesh
   */
  static async create(
    device: Device,
    options: StitchOptions,
    communicator: Communicator,
  ): Promise<MemberParallelModel> {
    const { signal, members, quantize } = options;
    const begun = await onEach(communicator, () => beginStitched('MemberParallelModel.create', options));
    const { opened, settings, seed } = begun;
    const names = opened.map(({ name }) => name);
    await onEach(communicator, () => expectAsMany('the model', names, communicator));
    // Each reads the weights of its own.
    const known = await together(communicator, () => describeMember(opened[communicator.rank]!));
    const create: CreateStitch = (placement, index, design) =>
      StitchLayer.create(device, placement, index, design, seed);
    return await onEach(communicator, () =>
      MemberParallelModel.assemble(device, communicator, { members: known, ...settings }, opened, create, {
        ...{ members, quantize, signal },
      }),
    );
  }

  /**
   * Loads this rank's member of a stitched model, whose contents must be what they were. Every rank calls it, as many as there are
   * members. Throws BAD_OPTION where there are more or fewer; BAD_STITCH, MEMBER_CHANGED and whatever loading a checkpoint throws.
   *
   * @param folder the model's folder
   * @param communicator of the ranks: all of them, or the members of a mesh
   */
  static async load(
    device: Device,
    folder: string,
    communicator: Communicator,
    options: MemberParallelOptions = {},
  ): Promise<MemberParallelModel> {
    const known = { trainable: true, verify: true, signal: true, ...QUANTIZE_OPTIONS } as const;
    expectOptions('MemberParallelModel.load', options, known);
    const { members, quantize } = options;
    parseOptions(quantizeOptions, { members, quantize });
    // What fails on one rank is told to all.
    const model = await onEach(communicator, () => MemberParallelModel.loadPart(device, folder, communicator, options));
    try {
      const stitches = await hashFile(join(folder, STITCHES), { signal: options.signal });
      await expectSame(communicator, {
        "the model's bts.json": withoutPaths(model.manifest),
        'its stitches': stitches,
      });
      return model;
    } catch (error) {
      model.dispose();
      throw error;
    }
  }

  private static async loadPart(
    device: Device,
    folder: string,
    communicator: Communicator,
    { trainable = false, verify, signal, ...bits }: MemberParallelOptions,
  ): Promise<MemberParallelModel> {
    await recoverFolder(folder);
    const manifest = await readManifest(folder);
    const names = manifest.members.map(({ name }) => name);
    expectAsMany(`'${folder}'`, names, communicator);
    const opened = await openMembers(manifest.members, { verify, signal });
    const { tensors } = await readSafetensors(join(folder, STITCHES));
    const load: CreateStitch = (placement, index, design) =>
      StitchLayer.load(device, placement, index, design, { tensors, trainable });
    const model = await MemberParallelModel.assemble(device, communicator, manifest, opened, load, { ...bits, signal });
    try {
      expectAccounted(
        folder,
        tensors,
        model.spread.weights.map(({ name }) => name),
      );
      return model;
    } catch (error) {
      model.dispose();
      throw error;
    }
  }

  private static async assemble(
    device: Device,
    communicator: Communicator,
    manifest: StitchManifest,
    opened: readonly OpenMember[],
    createStitch: CreateStitch,
    { signal, ...bits }: Abortable & QuantizeOptions,
  ): Promise<MemberParallelModel> {
    const { rank, size } = communicator;
    const { config, tokenizer: definition } = opened[0]!;
    checkPlan(manifest.plan, config.layers);
    const design = stitchDesign(manifest, size, config.width, 'BAD_STITCH');
    const { quantized, remembered } = heldAs(opened, manifest, bits);
    const owned: Disposable[] = [];
    try {
      const part = rank > 0 ? { present: withoutHead } : {};
      const member = await Member.load(device, opened[rank]!, { quantized: quantized[rank], signal, ...part });
      owned.push(member);
      const stitches: StitchPart[] = [];
      const weights: SpreadWeight[] = [];
      for (const [index, placement] of manifest.plan.entries()) {
        // One whole stitch at a time: others' parts of it are given back.
        using whole = createStitch(placement, index, design);
        weights.push(...whole.spread);
        stitches.push(whole.partOf(device, rank));
        owned.push(stitches.at(-1)!);
        await Promise.all(stitches.at(-1)!.parameters.map(({ value }) => value.settled()));
      }
      const tokenizer = definition && Tokenizer.of(definition);
      const own = { ...manifest, members: remembered };
      return new MemberParallelModel(device, communicator, config, member, stitches, weights, own, tokenizer);
    } catch (error) {
      for (const owner of owned) owner[Symbol.dispose]();
      throw error;
    }
  }

  override get config(): ModelConfig {
    return this.hubConfig;
  }

  /** The hub first. */
  get memberNames(): string[] {
    return this.manifest.members.map(({ name }) => name);
  }

  private get isHub(): boolean {
    return this.communicator.rank === 0;
  }

  /** @internal */
  protected override get gateLayout(): GateLayout {
    const { members, plan } = this.manifest;
    const { gateWidth } = stitchDesign(this.manifest, members.length, this.config.width).shape;
    return { members: this.memberNames, plan, gateWidth };
  }

  /** @internal */
  protected override get gateRanks(): Communicator {
    return this.communicator;
  }

  /**
   * Gates of every stitch, as `StitchedModel.gates` tells them. Throws BAD_TOKEN, BAD_OPTION.
   *
   * @param ids token ids [B * T], row by row
   * @param batch B, sequences of equal length; default 1
   * @param options what is told beside means
   */
  gates(ids: ArrayLike<number>, batch = 1, options: GateRecordOptions = {}): Promise<TokenGates[]> {
    return this.gatesOf(ids, batch, options);
  }

  /**
   * Continues prompts as `LanguageModel.generate` does, on all ranks alike: who leaves before the end, or whose signal fires, ends it
   * for all of them behind the same token. Throws ABORTED there.
   *
   * @param prompts a text, token ids or a conversation, or several of these, the same on all ranks
   */
  override async *generate(
    prompts: Prompt | readonly Prompt[],
    options: GenerateOptions = {},
  ): AsyncGenerator<GeneratedToken, void> {
    const { signal, ...rest } = options;
    for await (const token of super.generate(prompts, rest)) {
      let leaves = true;
      let stopped: boolean[] = [];
      try {
        yield token;
        leaves = signal?.aborted ?? false;
      } finally {
        stopped = await this.communicator.gather(leaves);
      }
      const rank = stopped.indexOf(true);
      if (rank >= 0)
        throw new SharedError('ABORTED', `the generation was stopped on rank ${rank}.`, { cause: signal?.reason });
    }
  }

  /** @internal Of experts nobody reads them. */
  override hidden(scope: Scope, ids: Tensor, pass: Pass): Tensor {
    const h = this.run(scope, ids, pass);
    return this.isHub ? h : scope.empty([1, ids.size, this.config.width]);
  }

  protected override head(scope: Scope, h: Tensor, rows?: Tensor): Tensor {
    const count = rows?.size ?? h.shape[1]!;
    return this.fromHub(() =>
      this.isHub ? super.head(scope, h, rows) : scope.empty([count, this.config.vocabularySize]),
    );
  }

  protected override lossesOf(scope: Scope, h: Tensor, targets: Tensor): Tensor {
    return this.fromHub(() =>
      this.isHub ? super.lossesOf(scope, h, targets) : scope.empty([targets.size], false, 'f32'),
    );
  }

  override trainingLoss(scope: Scope, batch: Batch, divisor: number, seed: number, progress = 0): Tensor {
    if (this.isHub) return this.fromHub(() => super.trainingLoss(scope, batch, divisor, seed, progress));
    this.expectBatch(batch);
    using inner = scope.inner();
    const ids = inner.track(this.device.tensor(batch.inputs, [batch.inputs.length]));
    const { tokens, firstRow } = batch;
    const end = this.run(inner, ids, { batch: batch.batch, tokens, firstRow, seed, progress });
    return this.fromHub(() => inner.leave(end));
  }

  /** What the hub's rank computes, on all of them. */
  private fromHub(make: () => Tensor): Tensor {
    const value = make();
    this.communicator.broadcast([value], 0);
    return value;
  }

  /** This member's layers and its half of the stitches; an expert ends behind the last stitch into the hub. */
  private run(scope: Scope, ids: Tensor, pass: Pass): Tensor {
    const { communicator, manifest } = this;
    const { expertsAfterMerge, dropout, plan, members } = manifest;
    const rate = pass.seed === undefined ? 0 : dropout;
    const last = plan.findLastIndex(({ kind }) => kind === 'experts_into_hub');
    const trains = scope.tape !== undefined && this.trainable.length > 0;
    let hubDiffers = false;
    let h = this.transformer.embed(scope, ids);
    for (let layer = 1, next = 0; layer <= this.config.layers; layer++) {
      using inner = scope.inner();
      let now = this.transformer.layer(inner, layer - 1, h, pass);
      const stitch = this.stitches[next];
      if (stitch?.placement.afterLayer === layer) {
        const seed = pass.seed === undefined ? 0 : hash32(pass.seed, next);
        const drop = { rate, seed, firstRow: (pass.firstRow ?? 0) * pass.tokens };
        const experts = next === last ? 'ended' : expertsAfterMerge;
        const link = { communicator, member: communicator.rank, members: members.length, trains, hubDiffers };
        const result = stitch.forward(inner, now, { dropout: drop, experts }, link);
        if (result.gates) pass.gates?.take(inner, stitch.index, result.gates());
        now = result.h;
        if (next === last && !this.isHub) return scope.track(inner.release(now));
        hubDiffers ||= trains && stitch.placement.kind === 'experts_into_hub';
        next++;
      }
      h = scope.exchange(h, inner.leave(now));
    }
    return h;
  }

  override trainingBytes(size: BatchSize): number {
    const { manifest, communicator, config, trainable } = this;
    const [member] = this.transformer.members;
    const trained = trainable.reduce((total, { value }) => total + value.size, 0);
    const part = { member: communicator.rank, bytes: member!.bytes, trained };
    return memberTrainingBytes({ ...manifest, members: manifest.members.map(() => config) }, part, size);
  }

  /**
   * Writes the model into a folder, as `StitchedModel.write` does. All ranks call it; rank 0 writes, of a mesh that of all ranks.
   *
   * @param folder new and empty
   */
  override async write(folder: string): Promise<void> {
    this.expectAlive();
    const { communicator, spread } = this;
    const work = async () => {
      if (communicator.ranks[0] !== 0) return;
      const own = this.stitches.flatMap(({ parameters }) => parameters.map(({ value }) => value));
      const gathering = new Gathering(communicator, [{ weights: spread.weights, own }]);
      if (this.isHub) await this.writeWhole(folder, gathering.files[0]!);
      else await gathering.send();
    };
    await together(communicator, work, { entangled: true });
  }

  private async writeWhole(folder: string, sources: readonly TensorSource[]): Promise<void> {
    await writeManifest(folder, this.manifest);
    await writeSafetensors(join(folder, STITCHES), sources);
    await copyTokenizer(this.manifest.members[0]!.path, folder);
  }

  protected override free(): void {
    for (const stitch of this.stitches) stitch[Symbol.dispose]();
    super.free();
  }
}

/** Throws BAD_OPTION unless each member has a rank, and each rank a member. */
function expectAsMany(what: string, names: readonly string[], { size }: Communicator): void {
  if (size === names.length) return;
  const message = `${what} has ${names.length} members, ${names.join(', ')}, and there are ${size} ranks: start as many.`;
  throw new BtsError('BAD_OPTION', message);
}
