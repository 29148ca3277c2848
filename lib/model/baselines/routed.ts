import { join } from 'node:path';
import type { Abortable } from '../../base/errors.js';
import { expectOptions } from '../../base/options-check.js';
import { type ReferringManifest, readBaseline, writeBaseline } from '../../checkpoint/baseline-manifest.js';
import { readSafetensors } from '../../checkpoint/safetensors.js';
import { writeSafetensors } from '../../checkpoint/safetensors-writer.js';
import type { Device } from '../../tensor/device.js';
import { Parameter } from '../../tensor/parameter.js';
import type { LoadModelOptions } from '../language-model.js';
import { FAMILY_OPTIONS, type Family, type OpenMember, openFamily, openMembers } from '../members/member-files.js';
import { copyTokenizer, tensorSource } from '../save.js';
import { QUANTIZE_OPTIONS, type QuantizeOptions } from '../transformer/quantization.js';
import { loadParameter } from '../transformer/stored-parameter.js';
import { largest, SequenceRouter } from './sequence-router.js';
import { describeMembers, loadMembers } from './several-models.js';

const WEIGHTS = 'router.safetensors';
const ROUTER = 'router.weight';

type Members = Awaited<ReturnType<typeof loadMembers>>;

/** Expert Routing: the whole sequence goes to the hub or one of the experts. */
export class RoutedModel extends SequenceRouter {
  /** @internal */
  protected readonly candidates;

  private constructor(
    device: Device,
    { models, tokenizer }: Members,
    /** @internal */
    readonly manifest: ReferringManifest,
    router: Parameter,
  ) {
    super(device, tokenizer, router);
    this.candidates = models;
  }

  /** A router to be trained, indifferent at first. Throws MEMBERS_DIFFER and whatever loading a checkpoint throws. */
  static async create(device: Device, options: Family): Promise<RoutedModel> {
    expectOptions('RoutedModel.create', options, FAMILY_OPTIONS);
    const opened = await openFamily(options);
    const manifest = { system: 'routing', members: await describeMembers(opened) } as const;
    return await RoutedModel.of(device, manifest, opened, { signal: options.signal }, (shape) =>
      Parameter.trainable(device, ROUTER, device.full(shape, 0)),
    );
  }

  /**
   * Throws BAD_STITCH, MEMBER_CHANGED and whatever loading a checkpoint throws.
   *
   * @param folder the model's folder
   */
  static async load(device: Device, folder: string, options: LoadModelOptions = {}): Promise<RoutedModel> {
    expectOptions('RoutedModel.load', options, { trainable: true, verify: true, signal: true, ...QUANTIZE_OPTIONS });
    const { trainable = false, verify, signal, ...bits } = options;
    const manifest = (await readBaseline(folder)) as ReferringManifest;
    const opened = await openMembers(manifest.members, { verify, signal });
    const { tensors } = await readSafetensors(join(folder, WEIGHTS));
    return await RoutedModel.of(device, manifest, opened, { signal, ...bits }, (shape) =>
      loadParameter(device, { tensors, trainable }, ROUTER, shape),
    );
  }

  private static async of(
    device: Device,
    manifest: ReferringManifest,
    opened: readonly OpenMember[],
    options: Abortable & QuantizeOptions,
    createRouter: (shape: number[]) => Parameter,
  ): Promise<RoutedModel> {
    const members = await loadMembers(device, opened, options);
    let router: Parameter | undefined;
    try {
      router = createRouter([members.models.length, members.models[0]!.config.width]);
      await router.value.settled();
      return new RoutedModel(device, members, manifest, router);
    } catch (error) {
      router?.dispose();
      for (const model of members.models) model.dispose();
      throw error;
    }
  }

  /** @internal */
  protected override get hub() {
    return this.candidates[0]!.transformer;
  }

  /** @internal */
  protected override modelFor(logits: Float32Array) {
    return this.candidates[largest([...logits])]!;
  }

  /**
   * Which of the members, counted from the hub, each sequence goes to. Throws BAD_TOKEN, BAD_OPTION.
   *
   * @param ids token ids [B * T], row by row
   * @param batch B, sequences of equal length; default 1
   */
  async choices(ids: ArrayLike<number>, batch = 1): Promise<number[]> {
    return (await this.scores(ids, batch)).map((logits) => largest([...logits]));
  }

  override async write(folder: string): Promise<void> {
    this.expectAlive();
    await writeBaseline(folder, this.manifest);
    await writeSafetensors(join(folder, WEIGHTS), [tensorSource(this.router)]);
    await copyTokenizer(this.manifest.members[0]!.path, folder);
  }

  protected override free(): void {
    for (const model of this.candidates) model.dispose();
    super.free();
  }
}
