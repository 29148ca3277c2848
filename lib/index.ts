/** Branch-Train-Stitch: several Llama-family models in, one generalist out, the originals untouched. */

export { type Abortable, BtsError, type ErrorCode } from './base/errors.js';
export type { HashOptions } from './base/file-hash.js';
export { replaceFolder } from './base/folder.js';
export { findLaunch, type Launch } from './base/launch.js';
export type { OpenOptions } from './checkpoint/dense-checkpoint.js';
export type { Part as WeightPart, StoredWeight } from './checkpoint/families/weights.js';
export type {
  AttentionConfig,
  EmbeddingConfig,
  FeedForwardConfig,
  ModelConfig,
  NormConfig,
  RopeConfig,
  Window as AttentionWindow,
} from './checkpoint/model-config.js';
export type { LayerRole, ParameterSpec, Role } from './checkpoint/names.js';
export type { PackedLayout, Packing, Scheme } from './checkpoint/packed/scheme.js';
export type { Rope } from './checkpoint/rope-config.js';
export type { Placement, StitchManifest } from './checkpoint/stitch-manifest.js';
export { type Document, type DocumentOptions, readDocuments } from './data/documents.js';
export type { Split } from './data/held-out.js';
export {
  Mixture,
  type MixtureBatch,
  type MixtureDomain,
  type MixtureOptions,
  type MixtureState,
  type RowShare,
} from './data/mixture.js';
export { type Batch, type BatchShape, type HeldOutBatchOptions, heldOutBatches, IGNORED } from './data/packing.js';
export {
  type DomainTokens,
  type PrepareOptions,
  type PrepareProgress,
  prepareTokens,
  type TextTokenizer,
} from './data/token-shards.js';
export type { TokenStream } from './data/token-stream.js';
export type { ChatMessage, ChatOptions } from './data/tokenizer/chat-template.js';
export { type StreamDecoder, Tokenizer } from './data/tokenizer.js';
export { type TrainedTokenizer, type TrainTokenizerOptions, trainTokenizer } from './data/train-tokenizer.js';
export { DataFolder, type Location as DataLocation } from './eval/data/data-folder.js';
export { type EvaluateOptions, type Evaluation, evaluate } from './eval/evaluate.js';
export {
  type HeldOutDomain,
  type HeldOutLoss,
  type HeldOutOptions,
  heldOutLosses,
  meanLoss,
} from './eval/held-out-loss.js';
export type { Fields } from './eval/own/document.js';
export { readOwnTask } from './eval/own/own-task.js';
export { type Column, GROUPS, resolveTasks, TASKS } from './eval/registry.js';
export type { ColumnResult } from './eval/results/columns.js';
export { type Comparison, compareSamples, type Difference } from './eval/results/compare.js';
export { hashModel } from './eval/results/model-hash.js';
export { readSamples } from './eval/results/sample-file.js';
export type { MetricResult, Sample, TaskResult } from './eval/run/run-task.js';
export type { Limits as SandboxLimits } from './eval/sandbox/runner.js';
export { type Run as SandboxRun, Sandbox, type SandboxOptions } from './eval/sandbox/sandbox.js';
export { switchingLoss } from './eval/switching.js';
export type {
  Answer,
  Estimate,
  Generation as TaskGeneration,
  Group,
  Item,
  Metric,
  Outcome,
  Response as TaskResponse,
  Task,
  Tools as TaskTools,
} from './eval/task.js';
export { drawTokenGates, type FigureOptions } from './gates/figures.js';
export { renderGates } from './gates/gate-map.js';
export { gatePage } from './gates/gate-page.js';
export type { GateStatistics, MeanGates, TaskGates } from './gates/gate-sums.js';
export {
  type GatedModel,
  type GatedText,
  type GatedTextOptions,
  type GatedToken,
  gatedTexts,
  type NamedText,
} from './gates/gated-text.js';
export { type GateOptions, meanGates } from './gates/mean-gates.js';
export { type TaskGateOptions, taskGates } from './gates/task-gates.js';
export type { LoraOptions } from './model/adapters/lora.js';
export { type ShrinkOptions, shrinkExpert, type WholePart } from './model/adapters/shrink.js';
export type { ShrunkExpert } from './model/adapters/shrunk-expert.js';
export type { EnsembleLoadOptions } from './model/baselines/ensemble.js';
export { type EnsembleCache, EnsembleModel } from './model/baselines/ensemble.js';
export { MixtureModel, type MixtureModelOptions } from './model/baselines/mixture-model.js';
export type { MixtureSystem } from './model/baselines/mixtures.js';
export { RoutedModel } from './model/baselines/routed.js';
export type { RoutedCache, SequenceRouter } from './model/baselines/sequence-router.js';
export { type SoupOptions, writeSoup } from './model/baselines/soup.js';
export { SparseModel } from './model/baselines/sparse-model.js';
export type { StitchOptions } from './model/begin-stitched.js';
export { type AddOptions, addExperts, type RemoveOptions, removeExperts } from './model/change-experts.js';
export type { AdapterCost } from './model/cost/adapter-cost.js';
export {
  type BatchSize,
  type Cost,
  denseCost,
  forwardFlopsPerToken,
  parameterCount,
  type Recompute,
  type StitchedShape,
  stitchedCost,
  stitchParameterCount,
} from './model/cost/cost.js';
export { type SystemParameters, systemFlops, systemParameters } from './model/cost/system-cost.js';
export type { DecoderModel } from './model/decoder-model.js';
export type { Prompt } from './model/decoding/generate.js';
export type { GeneratedToken } from './model/decoding/generation.js';
export type { CacheOptions, KeyValueCache, TokenCache } from './model/decoding/key-value-cache.js';
export type { LogProbabilities, TokenLogProbability } from './model/decoding/log-probabilities.js';
export type { GenerateOptions, SamplingOptions } from './model/decoding/options.js';
export { type AdaptOptions, DenseModel, type Freezable, type LoadOptions } from './model/dense-model.js';
export type { LanguageModel, LoadModelOptions } from './model/language-model.js';
export { loadModel, readModelConfig } from './model/load-model.js';
export { MemberParallelModel, type MemberParallelOptions } from './model/member-parallel-model.js';
export type { Family as MemberFolders } from './model/members/member-files.js';
export {
  type CheckedMember,
  type Finding,
  type Preflight,
  type PreflightOptions,
  preflight,
  refusal,
} from './model/members/preflight.js';
export type { ContinuationScore } from './model/requests/request.js';
export {
  type StitchedLoadOptions,
  StitchedModel,
  type StitchTrace,
  type TraceOptions,
} from './model/stitched-model.js';
export type { CacheGates, GateRecordOptions, StitchGates, TokenGates } from './model/stitches/gate-log.js';
export type { StitchSettings } from './model/stitches/kinds/index.js';
export { planStitches } from './model/stitches/stitch-plan.js';
export type { System } from './model/systems.js';
export type { Trainable as ParameterFilter } from './model/transformer/member.js';
export type { PackedTypes } from './model/transformer/packed-types.js';
export type { QuantizeOptions } from './model/transformer/quantization.js';
export type { ServeOptions } from './serving/http/options.js';
export { type RunningServer, serve } from './serving/http/server.js';
export type { EngineOptions } from './serving/options.js';
export type { DType, FloatType, MemoryStatistics, OpTiming, QuantizedType, Variant } from './tensor/addon.js';
export { Communicator, type CommunicatorEngine, type JsonValue } from './tensor/communicator.js';
export {
  Device,
  type DeviceOptions,
  findGpus,
  type Peaks,
  type StoredAt,
  type TensorData,
  whyNotBf16,
} from './tensor/device.js';
export { type Mesh, openMesh } from './tensor/mesh.js';
export { openCommunicator } from './tensor/open-communicator.js';
export type { LowRank, Parameter } from './tensor/parameter.js';
export { Scope } from './tensor/scope.js';
export type { GradientNode, Tensor } from './tensor/tensor.js';
export { AdamW, type AdamWOptions } from './train/adamw.js';
export { newestCheckpoint, trainingFolder } from './train/checkpoint.js';
export type { HeldOutState, TrainEvent } from './train/events.js';
export type { TrainOptions } from './train/options.js';
export type { ScheduleOptions } from './train/schedule.js';
export { train } from './train/trainer.js';
