import { join, resolve } from 'node:path';
import { BtsError } from '../../base/errors.js';
import { type HashOptions, hashFile } from '../../base/file-hash.js';
import { expectOptions } from '../../base/options-check.js';
import { readBaseline, type SparseManifest, writeBaseline } from '../../checkpoint/baseline-manifest.js';
import { readSafetensors } from '../../checkpoint/safetensors.js';
import { writeSafetensors } from '../../checkpoint/safetensors-writer.js';
import type { Device } from '../../tensor/device.js';
import { Parameter } from '../../tensor/parameter.js';
import type { LoadModelOptions } from '../language-model.js';
import { copyTokenizer, tensorSource } from '../save.js';
import { STITCHES, StitchedModel } from '../stitched-model.js';
import type { GateRecordOptions, TokenGates } from '../stitches/gate-log.js';
import { QUANTIZE_OPTIONS, type QuantizeOptions } from '../transformer/quantization.js';
import { loadParameter } from '../transformer/stored-parameter.js';
import { SequenceRouter } from './sequence-router.js';

const WEIGHTS = 'router.safetensors';
const ROUTER = 'router.weight';

/**
 * Sparse BTS: of a stitched model's experts only the k that a router picks for a sequence run and are stitched. The router
 * learns which single expert, stitched with the hub, has the lowest loss on a sequence; the k likeliest are picked.
 */
export class SparseModel extends SequenceRouter {
  override readonly hasGates = true;
  /** @internal */
  protected readonly candidates: readonly StitchedModel[];

  private constructor(
    private readonly stitched: StitchedModel,
    /** @internal */
    readonly manifest: SparseManifest,
    router: Parameter,
  ) {
    super(stitched.device, stitched.tokenizer, router);
    const experts = stitched.memberNames.slice(1);
    this.candidates = experts.map((kept) => stitched.without(experts.filter((name) => name !== kept)));
  }

  /**
   * A router to be trained, indifferent at first. Throws BAD_OPTION unless 1 <= k <= experts, and what loading throws.
   *
   * @param folder the stitched model's folder
   * @param k experts that run for a sequence
   */
  static async create(device: Device, folder: string, k: number, options: HashOptions = {}): Promise<SparseModel> {
    const stitches = await hashFile(join(folder, STITCHES), options);
    const manifest = { system: 'sparse', k, model: { path: resolve(folder), stitches } } as const;
    return await SparseModel.open(device, manifest, options, (shape) =>
      Parameter.trainable(device, ROUTER, device.full(shape, 0)),
    );
  }

  /**
   * Throws BAD_STITCH, MEMBER_CHANGED where the stitched model or a member is not what it was, and what loading throws.
   *
   * @param folder the model's folder
   * @param options with `k` another number of experts than it was trained with
   */
  static async load(
    device: Device,
    folder: string,
    options: LoadModelOptions & { k?: number } = {},
  ): Promise<SparseModel> {
    expectOptions('SparseModel.load', options, {
      trainable: true,
      k: true,
      verify: true,
      signal: true,
      ...QUANTIZE_OPTIONS,
    });
    const { trainable = false, k, verify, signal, ...bits } = options;
    const manifest = (await readBaseline(folder)) as SparseManifest;
    const { path, stitches } = manifest.model;
    if ((await hashFile(join(path, STITCHES), { verify, signal })) !== stitches) {
      throw new BtsError(
        'MEMBER_CHANGED',
        `the stitched model in '${path}' was trained further: train the router anew.`,
      );
    }
    const { tensors } = await readSafetensors(join(folder, WEIGHTS));
    return await SparseModel.open(device, { ...manifest, k: k ?? manifest.k }, { verify, signal, ...bits }, (shape) =>
      loadParameter(device, { tensors, trainable }, ROUTER, shape),
    );
  }

  private static async open(
    device: Device,
    manifest: SparseManifest,
    options: HashOptions & QuantizeOptions,
    createRouter: (shape: number[]) => Parameter,
  ): Promise<SparseModel> {
    const stitched = await StitchedModel.load(device, manifest.model.path, options);
    let router: Parameter | undefined;
    try {
      const experts = stitched.memberNames.length - 1;
      if (!(Number.isInteger(manifest.k) && manifest.k >= 1 && manifest.k <= experts)) {
        throw new BtsError('BAD_OPTION', `k is a whole number from 1 to the ${experts} experts, not ${manifest.k}.`);
      }
      router = createRouter([experts, stitched.config.width]);
      await router.value.settled();
      return new SparseModel(stitched, manifest, router);
    } catch (error) {
      router?.dispose();
      stitched.dispose();
      throw error;
    }
  }

  /** How many there are to pick from. */
  get expertCount(): number {
    return this.candidates.length;
  }

  /** @internal */
  protected override get hub() {
    // Without experts, so that nobody else's embeddings are looked up.
    return this.stitched.without(this.stitched.memberNames.slice(1)).transformer;
  }

  /** @internal */
  protected override modelFor(logits: Float32Array): StitchedModel {
    const picked = this.pick(logits);
    return this.stitched.without(this.stitched.memberNames.slice(1).filter((name) => !picked.includes(name)));
  }

  /**
   * The experts that are picked for each sequence. Throws BAD_TOKEN, BAD_OPTION.
   *
   * @param ids token ids [B * T], row by row
   * @param batch B, sequences of equal length; default 1
   */
  async picks(ids: ArrayLike<number>, batch = 1): Promise<string[][]> {
    return (await this.scores(ids, batch)).map((logits) => this.pick(logits));
  }

  /**
   * Gates by row [B * T], as StitchedModel.gates: of the hub and the experts that are picked for each sequence.
   *
   * @param ids token ids [B * T], row by row
   * @param batch B, sequences of equal length; default 1
   * @param options what is told beside means
   */
  async gates(ids: ArrayLike<number>, batch = 1, options: GateRecordOptions = {}): Promise<TokenGates[]> {
    const all = Array.from(ids);
    const tokens = all.length / batch;
    const rows: TokenGates[] = [];
    for (const [b, logits] of (await this.scores(all, batch)).entries()) {
      const own = all.slice(b * tokens, (b + 1) * tokens);
      rows.push(...(await this.modelFor(logits).gates(own, 1, options)));
    }
    return rows;
  }

  private pick(logits: Float32Array): string[] {
    const experts = this.stitched.memberNames.slice(1);
    const order = experts.map((_, e) => e).sort((a, b) => logits[b]! - logits[a]! || a - b);
    return order.slice(0, this.manifest.k).map((e) => experts[e]!);
  }

  override async write(folder: string): Promise<void> {
    this.expectAlive();
    await writeBaseline(folder, this.manifest);
    await writeSafetensors(join(folder, WEIGHTS), [tensorSource(this.router)]);
    await copyTokenizer(this.manifest.model.path, folder);
  }

  protected override free(): void {
    this.stitched.dispose();
    super.free();
  }
}
