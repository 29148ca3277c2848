import type { Operator } from '../python/operators.js';
import type { Value } from '../python/values.js';

/** What a call has between its parentheses. */
export interface Arguments {
  positional: readonly Expression[];
  keywords: readonly (readonly [name: string, value: Expression])[];
  /** `*values` and `**values` */
  spread?: Expression | undefined;
  keywordSpread?: Expression | undefined;
}

export type Comparison = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in';

export interface FilterCall {
  kind: 'filter';
  /** Undefined for a filter of a block: the block's text. */
  value: Expression | undefined;
  name: string;
  args: Arguments;
}

export interface Call {
  kind: 'call';
  callee: Expression;
  args: Arguments;
}

export type Expression =
  | { kind: 'constant'; value: Value }
  | { kind: 'name'; name: string }
  | { kind: 'list' | 'tuple'; items: readonly Expression[] }
  | { kind: 'dict'; pairs: readonly (readonly [Expression, Expression])[] }
  | { kind: 'attribute'; object: Expression; name: string }
  | { kind: 'item'; object: Expression; key: Expression }
  | { kind: 'slice'; object: Expression; bounds: readonly (Expression | undefined)[] }
  | Call
  | FilterCall
  | { kind: 'test'; value: Expression; name: string; args: Arguments }
  | { kind: 'not'; value: Expression }
  | { kind: 'and' | 'or'; left: Expression; right: Expression }
  | { kind: 'compare'; first: Expression; rest: readonly (readonly [Comparison, Expression])[] }
  | { kind: 'concat'; parts: readonly Expression[] }
  | { kind: 'calculate'; operator: Operator; left: Expression; right: Expression }
  | { kind: 'sign'; operator: '+' | '-'; value: Expression }
  | { kind: 'condition'; test: Expression; then: Expression; otherwise: Expression | undefined };

/** What `set` and `for` give values to. */
export type Target =
  | { kind: 'name'; name: string }
  | { kind: 'attribute'; object: string; name: string }
  | { kind: 'tuple'; items: readonly Target[] };

export interface Parameter {
  name: string;
  default?: Expression | undefined;
}

export interface Macro {
  name: string;
  parameters: readonly Parameter[];
  body: Block;
  /** The variables that it reads: only a macro that reads `varargs`, `kwargs` or `caller` may be given them. */
  reads: ReadonlySet<string>;
}

export type Statement =
  | { kind: 'text'; text: string }
  | { kind: 'print'; value: Expression }
  | {
      kind: 'for';
      target: Target;
      values: Expression;
      test: Expression | undefined;
      isRecursive: boolean;
      body: Block;
      otherwise: Block;
    }
  | { kind: 'if'; branches: readonly { test: Expression; body: Block }[]; otherwise: Block }
  | { kind: 'set'; target: Target; value: Expression }
  | { kind: 'set-block'; target: Target; filter: Expression | undefined; body: Block }
  | { kind: 'with'; pairs: readonly (readonly [Target, Expression])[]; body: Block }
  | { kind: 'macro'; macro: Macro }
  | { kind: 'call-block'; call: Call; caller: Macro }
  | { kind: 'filter-block'; filter: Expression; body: Block }
  | { kind: 'scope'; body: Block }
  | { kind: 'break' | 'continue' };

export type Block = readonly Statement[];
