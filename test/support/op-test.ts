/** What the files of test/ops say of the ops, and all of it together. */
import type { ErrorCode } from '../../lib/base/errors.js';
import type { Parameter } from '../../lib/tensor/parameter.js';
import type { Scope } from '../../lib/tensor/scope.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import * as files from '../ops/index.js';
import type { Case } from './case.js';
import type { Draw, Op, Reference, Values } from './reference.js';

export interface OpTest {
  /** What each native op of the file must compute. */
  references?: { readonly [O in Op]?: Reference<O> };
  /** Calls that must give what the reference says, on every device. */
  cases?: readonly Case[];
  /** Calls in which five threads have work: they must give the same bytes whatever the number of threads. */
  large?: readonly Case[];
  /** Calls that only their data shows to be wrong. */
  faults?: readonly Fault[];
  /** Calls that are refused at once. */
  refused?: readonly Fault[];
  /** Functions whose gradient must be that of their forward. */
  gradients?: readonly Differentiable[];
}

export interface Fault {
  case: Case;
  code: ErrorCode;
  /** What is wrong, and where. */
  message: RegExp;
}

type Shapes = Record<string, number[]>;

export interface Differentiable {
  /** The function in lib/tensor/ops. */
  op: string;
  label?: string;
  /** Activations. */
  inputs: Shapes;
  /** Trained weights. */
  weights?: Shapes;
  /** What else it takes. */
  constants?: (draw: Draw) => Record<string, Values>;
  y(
    scope: Scope,
    inputs: Record<string, Tensor>,
    weights: Record<string, Parameter>,
    constants: Record<string, Tensor>,
  ): Tensor;
}

const all: OpTest[] = Object.values(files);

export const references = Object.assign({}, ...all.map(({ references }) => references)) as { [O in Op]: Reference<O> };
export const cases: readonly Case[] = all.flatMap(({ cases }) => cases ?? []);
export const large: readonly Case[] = all.flatMap(({ large }) => large ?? []);
export const faults: readonly Fault[] = all.flatMap(({ faults }) => faults ?? []);
export const refused: readonly Fault[] = all.flatMap(({ refused }) => refused ?? []);
export const gradients: readonly Differentiable[] = all.flatMap(({ gradients }) => gradients ?? []);
