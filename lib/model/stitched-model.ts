import { join } from 'node:path';
import { type Abortable, BtsError } from '../base/errors.js';
import type { HashOptions } from '../base/file-hash.js';
import { expectOptions, parseOptions } from '../base/options-check.js';
import { hash32 } from '../base/random.js';
import { readSafetensors } from '../checkpoint/safetensors.js';
import { writeSafetensors } from '../checkpoint/safetensors-writer.js';
import { type Placement, readManifest, type StitchManifest, writeManifest } from '../checkpoint/stitch-manifest.js';
import { Tokenizer } from '../data/tokenizer.js';
import type { Device } from '../tensor/device.js';
import type { Parameter } from '../tensor/parameter.js';
import { recomputed } from '../tensor/recompute.js';
import { Scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { beginStitched, heldAs, type StitchOptions } from './begin-stitched.js';
import { type BatchSize, stitchedCost } from './cost/cost.js';
import { DecoderModel, type Pass } from './decoder-model.js';
import { describeMember, type OpenMember, openMembers } from './members/member-files.js';
import { copyTokenizer, tensorSource } from './save.js';
import type { StitchResult } from './stitches/directions/direction.js';
import type { GateLayout, GateRecordOptions, TokenGates } from './stitches/gate-log.js';
import { type StitchDesign, stitchDesign } from './stitches/kinds/index.js';
import { StitchLayer } from './stitches/stitch-layer.js';
import { checkPlan } from './stitches/stitch-plan.js';
import { Member, withoutHead } from './transformer/member.js';
import { QUANTIZE_OPTIONS, type QuantizeOptions, quantizeOptions } from './transformer/quantization.js';
import { SharedTensors } from './transformer/shared-tensors.js';
import { Transformer } from './transformer/transformer.js';

export interface StitchedLoadOptions extends HashOptions, QuantizeOptions {
  /**
   * Makes the stitches trainable again, or of the experts named their slices of the gates and their projections; default:
   * frozen.
   */
  trainable?: boolean | readonly string[];
}

/** The file of the trained weights. */
export const STITCHES = 'stitch.safetensors';

/** How a text is traced. */
export interface TraceOptions {
  /** Whether hidden states are read, too: M * C floats a token and stitch. Default false. */
  hidden?: boolean;
}

/** What one stitch did to a batch. */
export interface StitchTrace {
  /** Where it stands, and which way it leads. */
  placement: Placement;
  /** [B*T, M, C or 1]; of Hub-into-Experts slot 0 is zero: the hub has no gate there. */
  gates: Float32Array;
  /** Of each member after the stitch, [B*T, C]; where they were asked for. */
  hidden?: Float32Array[];
}

/** Several frozen models of one shape, stitched into one: the hub's output is the generalist's. */
export class StitchedModel extends DecoderModel {
  override readonly hasGates = true;
  /** @internal */
  readonly transformer: Transformer;
  readonly trainable: readonly Parameter[];

  private readonly masked = new Map<string, StitchedModel>();
  /** Handles on the slices that are trained where not all of the stitches are. */
  private readonly slices: readonly Parameter[];

  private constructor(
    device: Device,
    transformer: Transformer,
    private readonly stitches: readonly StitchLayer[],
    /** What `bts.json` says of it. */
    readonly manifest: StitchManifest,
    tokenizer: Tokenizer | undefined,
    trainOnly?: readonly string[],
  ) {
    super(device, tokenizer);
    this.transformer = transformer;
    const indices = trainOnly?.map((name) => this.expertIndex(name));
    this.slices = indices ? stitches.flatMap((stitch) => stitch.partsOf(indices)) : [];
    const all = indices ? this.slices : stitches.flatMap(({ parameters }) => parameters);
    this.trainable = all.filter((parameter) => parameter.gradient);
  }

  /**
   * Stitches checkpoints that lie in folders. Their files are only read.
   * Throws MEMBERS_DIFFER, BAD_OPTION, BAD_STITCH for a plan that does not fit, and whatever loading a checkpoint throws.
   */
  static async create(device: Device, options: StitchOptions): Promise<StitchedModel> {
    const { opened, settings, seed } = await beginStitched('StitchedModel.create', options);
    const { signal } = options;
    const members = [];
    for (const member of opened) members.push(await describeMember(member));
    const create = (placement: Placement, index: number, design: StitchDesign) =>
      StitchLayer.create(device, placement, index, design, seed);
    return await StitchedModel.assemble(device, { members, ...settings }, opened, create, {
      members: options.members,
      quantize: options.quantize,
      signal,
    });
  }

  /**
   * Loads a stitched model and its members, whose contents must be what they were.
   * Throws BAD_STITCH, MEMBER_CHANGED and whatever loading a checkpoint throws.
   *
   * @param folder the model's folder
   */
  static async load(device: Device, folder: string, options: StitchedLoadOptions = {}): Promise<StitchedModel> {
    expectOptions('StitchedModel.load', options, { trainable: true, verify: true, signal: true, ...QUANTIZE_OPTIONS });
    const { members, quantize } = options;
    parseOptions(quantizeOptions, { members, quantize });
    const { trainable = false, verify, signal } = options;
    const manifest = await readManifest(folder);
    const opened = await openMembers(manifest.members, { verify, signal });
    const { tensors } = await readSafetensors(join(folder, STITCHES));
    const load = (placement: Placement, index: number, design: StitchDesign) =>
      StitchLayer.load(device, placement, index, design, { tensors, trainable: trainable !== false });
    const trainOnly = typeof trainable === 'boolean' ? undefined : trainable;
    const model = await StitchedModel.assemble(device, manifest, opened, load, {
      trainOnly,
      members,
      quantize,
      signal,
    });
    try {
      const parameters = model.stitches.flatMap((stitch) => stitch.parameters);
      expectAccounted(
        folder,
        tensors,
        parameters.map(({ name }) => name),
      );
      await Promise.all(parameters.map(({ value }) => value.settled()));
      return model;
    } catch (error) {
      model.dispose();
      throw error;
    }
  }

  /** @internal Loads the members and puts the stitches between them. */
  static async assemble(
    device: Device,
    manifest: StitchManifest,
    opened: readonly OpenMember[],
    createStitch: (placement: Placement, index: number, design: StitchDesign) => StitchLayer,
    { trainOnly, signal, ...bits }: Abortable & QuantizeOptions & { trainOnly?: readonly string[] | undefined } = {},
  ): Promise<StitchedModel> {
    const { width, layers } = opened[0]!.config;
    checkPlan(manifest.plan, layers);
    const design = stitchDesign(manifest, opened.length, width, 'BAD_STITCH');
    const { quantized, remembered } = heldAs(opened, manifest, bits);
    const owned: Disposable[] = [];
    try {
      const members: Member[] = [];
      using shared = new SharedTensors();
      for (const [m, member] of opened.entries()) {
        const part = m > 0 ? { present: withoutHead } : {};
        members.push(await Member.load(device, member, { quantized: quantized[m], shared, signal, ...part }));
        owned.push(members.at(-1)!);
      }
      const stitches = manifest.plan.map((placement, index) => {
        const stitch = createStitch(placement, index, design);
        owned.push(stitch);
        return stitch;
      });
      const { tokenizer: definition } = opened[0]!;
      const tokenizer = definition && Tokenizer.of(definition);
      const transformer = new Transformer(device, members);
      const own = { ...manifest, members: remembered };
      return new StitchedModel(device, transformer, stitches, own, tokenizer, trainOnly);
    } catch (error) {
      for (const owner of owned) owner[Symbol.dispose]();
      throw error;
    }
  }

  /** The hub first; without those that are switched off. */
  get memberNames(): string[] {
    return this.manifest.members.map(({ name }) => name);
  }

  /**
   * The model without some of its experts: none of their layers is computed, and the softmax of every stitch into the hub is
   * over the members that are left. It shares this model's weights and is disposed with it; asked for the same experts again,
   * it is the same model. Throws BAD_OPTION for a name that is no expert's, or where the stitches are being trained.
   */
  without(names: readonly string[]): StitchedModel {
    this.expectAlive();
    const off = new Set(names.map((name) => this.expertIndex(name)));
    if (off.size === 0) return this;
    if (this.trainable.length > 0) {
      throw new BtsError('BAD_OPTION', 'experts are switched off in a model that is not trained: load it frozen.');
    }
    const active = this.manifest.members.map((_, m) => m).filter((m) => !off.has(m));
    const key = active.join();
    const there = this.masked.get(key);
    if (there && !there.disposed) return there;
    const members = active.map((m) => this.manifest.members[m]!);
    const stitches: StitchLayer[] = [];
    try {
      for (const stitch of this.stitches) stitches.push(stitch.select(this.device, active));
      const transformer = this.transformer.select(active);
      const model = new StitchedModel(
        this.device,
        transformer,
        stitches,
        { ...this.manifest, members },
        this.maybeTokenizer,
      );
      this.masked.set(key, model);
      return model;
    } catch (error) {
      for (const stitch of stitches) stitch[Symbol.dispose]();
      throw error;
    }
  }

  /** Lets experts be heard that were added and are shut out until now: each weighs about 2 % where the others are even. */
  openGates(names: readonly string[]): void {
    this.expectAlive();
    const members = names.map((name) => this.expertIndex(name));
    for (const stitch of this.stitches) stitch.openTo(this.device, members);
  }

  private expertIndex(name: string): number {
    const index = this.memberNames.indexOf(name);
    if (index > 0) return index;
    throw noExpert(name, this.manifest);
  }

  /** @internal */
  protected override get gateLayout(): GateLayout {
    const { gateWidth } = this.stitches[0]!.design.shape;
    return { members: this.memberNames, plan: this.manifest.plan, gateWidth };
  }

  /** @internal */
  override hidden(scope: Scope, ids: Tensor, pass: Pass): Tensor {
    return this.run(scope, ids, pass);
  }

  override trainingBytes(size: BatchSize): number {
    const { members } = this.transformer;
    const memberBytes = members.reduce((sum, { bytes }) => sum + bytes, 0);
    const configs = members.map(({ config }) => config);
    return stitchedCost({ ...this.manifest, members: configs, memberBytes }, size).trainingBytes;
  }

  /**
   * Gates of every stitch for `batch` sequences of equal length, and with `hidden` the hidden states of all members behind it.
   * Throws BAD_TOKEN, BAD_OPTION.
   *
   * @param ids token ids [B * T], row by row
   * @param batch B, sequences of equal length; default 1
   * @param options whether hidden states are told, too
   */
  trace(ids: ArrayLike<number>, batch: number | undefined, options: { hidden: true }): Promise<Required<StitchTrace>[]>;
  trace(ids: ArrayLike<number>, batch?: number, options?: TraceOptions): Promise<StitchTrace[]>;
  async trace(ids: ArrayLike<number>, batch = 1, options: TraceOptions = {}): Promise<StitchTrace[]> {
    expectOptions('trace', options, { hidden: true });
    const inputs = this.toInputs(ids, batch);
    this.expectPass({ batch, tokens: inputs.length / batch });
    using scope = Scope.inference(this.device);
    const tensor = scope.track(this.device.tensor(inputs, [inputs.length]));
    const traces: Promise<StitchTrace>[] = [];
    this.run(scope, tensor, { batch, tokens: inputs.length / batch }, (placement, { h, gates }) => {
      const members = Array.from({ length: options.hidden ? h.shape[0]! : 0 }, (_, m) => {
        using member = h.slice(m);
        return member.read();
      });
      const read = Promise.all([gates().read(), ...members]);
      traces.push(read.then(([gates, ...hidden]) => ({ placement, gates: gates!, ...(options.hidden && { hidden }) })));
    });
    return await Promise.all(traces);
  }

  /**
   * Gates of every stitch for `batch` sequences of equal length, by row [B * T]: as `trace` tells them, reduced on the device to
   * what each member weighs in all of a token's channels. What stands at a token weighs what is said of the next one.
   * Throws BAD_TOKEN, BAD_OPTION.
   *
   * @param ids token ids [B * T], row by row
   * @param batch B, sequences of equal length; default 1
   * @param options what is told beside means
   */
  gates(ids: ArrayLike<number>, batch = 1, options: GateRecordOptions = {}): Promise<TokenGates[]> {
    return this.gatesOf(ids, batch, options);
  }

  /** All layers and stitches. Behind the last stitch only the hub goes on, unless somebody looks. */
  private run(
    scope: Scope,
    ids: Tensor,
    pass: Pass,
    observe?: (placement: Placement, result: StitchResult) => void,
  ): Tensor {
    const { expertsAfterMerge, dropout } = this.manifest;
    let h = this.transformer.embed(scope, ids);
    for (let layer = 1, next = 0; layer <= this.config.layers; layer++) {
      using inner = scope.inner();
      let now = this.transformer.layer(inner, layer - 1, h, pass);
      const stitch = this.stitches[next];
      if (stitch?.placement.afterLayer === layer) {
        const seed = pass.seed === undefined ? 0 : hash32(pass.seed, next);
        const firstRow = (pass.firstRow ?? 0) * pass.tokens;
        const drop = { rate: pass.seed === undefined ? 0 : dropout, seed, firstRow };
        const isLast = ++next === this.stitches.length;
        const experts = isLast && !observe ? 'ended' : expertsAfterMerge;
        now = recomputed(inner, now, (scope, h) => {
          const result = stitch.forward(scope, h, { dropout: drop, experts });
          observe?.(stitch.placement, result);
          pass.gates?.take(scope, stitch.index, result.gates());
          return isLast && observe ? scope.track(result.h.slice(0)) : result.h;
        });
      }
      h = scope.exchange(h, inner.leave(now));
    }
    return h;
  }

  /** Writes bts.json, the stitches, and the hub's tokenizer files for convenience. The members stay where they are. */
  override async write(folder: string): Promise<void> {
    this.expectAlive();
    await writeManifest(folder, this.manifest);
    const parameters = this.stitches.flatMap((stitch) => stitch.parameters);
    await writeSafetensors(
      join(folder, STITCHES),
      parameters.map((parameter) => tensorSource(parameter)),
    );
    await copyTokenizer(this.manifest.members[0]!.path, folder);
  }

  protected override free(): void {
    for (const model of this.masked.values()) model.dispose();
    for (const slice of this.slices) slice.dispose();
    for (const stitch of this.stitches) stitch[Symbol.dispose]();
    super.free();
  }
}

/** Throws BAD_STITCH where a file has other tensors than bts.json speaks of. */
export function expectAccounted(folder: string, tensors: ReadonlyMap<string, unknown>, names: readonly string[]): void {
  const known = new Set(names);
  const extra = [...tensors.keys()].filter((name) => !known.has(name));
  if (extra.length === 0) return;
  const message = `'${folder}' has tensors that its bts.json does not account for: ${extra.join(', ')}.`;
  throw new BtsError('BAD_STITCH', message);
}

/** The error about a name that is no expert's. */
export function noExpert(name: string, { members }: StitchManifest): BtsError {
  const experts = members.slice(1).map((member) => member.name);
  return new BtsError('BAD_OPTION', `'${name}' is not among the experts ${experts.join(', ')}.`);
}
