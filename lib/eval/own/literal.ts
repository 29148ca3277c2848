import type { Expression } from '../../jinja/ast.js';
import { TemplateError } from '../../jinja/errors.js';
import { tokenize } from '../../jinja/lexer.js';
import { parseTemplate } from '../../jinja/parser.js';
import { signed } from '../../python/operators.js';
import { Dict, PythonError, Tuple, type Value } from '../../python/values.js';

/**
 * What Python's `ast.literal_eval` makes of a text, which is how lm-eval reads lists that templates print; undefined for a text
 * that is no literal. Jinja's literals are Python's, but for `true`, `false` and `none`.
 */
export function parseLiteral(text: string): Value | undefined {
  const template = `{{ ${text} }}`;
  try {
    const names = tokenize(template).filter(({ type }) => type === 'name');
    if (!names.every(({ value }) => ['True', 'False', 'None'].includes(`${value}`))) return undefined;
    const [statement, ...more] = parseTemplate(template);
    return statement?.kind === 'print' && more.length === 0 ? literal(statement.value) : undefined;
  } catch (error) {
    if (error instanceof TemplateError || error instanceof PythonError || error instanceof RangeError) return undefined;
    throw error;
  }
}

function literal(expression: Expression): Value | undefined {
  switch (expression.kind) {
    case 'constant':
      return expression.value;
    case 'list':
      return all(expression.items);
    case 'tuple': {
      const items = all(expression.items);
      return items && new Tuple(items);
    }
    case 'dict': {
      const [keys, values] = [0, 1].map((side) => all(expression.pairs.map((pair) => pair[side]!)));
      return keys && values && new Dict(keys.map((key, i) => [key, values[i]!]));
    }
    case 'sign': {
      const value = literal(expression.value);
      return typeof value === 'bigint' || typeof value === 'number' ? signed(expression.operator, value) : undefined;
    }
    default:
      return undefined;
  }
}

function all(expressions: readonly Expression[]): Value[] | undefined {
  const values = expressions.map(literal);
  return values.includes(undefined) ? undefined : (values as Value[]);
}
