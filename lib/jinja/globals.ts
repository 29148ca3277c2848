import { bind } from '../python/call.js';
import { pairsOf } from '../python/methods.js';
import { numeric } from '../python/numbers.js';
import { Callable, Dict, PythonObject, Range, typeError, typeName, type Value } from '../python/values.js';
import { Namespace } from './scope.js';

/** What every template may call. */
export const GLOBALS: Readonly<Record<string, Value>> = {
  range: new Callable('range', (args, keywords) => {
    const [first, second, step] = bind('range', ['start', 'stop?', 'step?'], args, keywords).map(integer);
    return new Range(second === undefined ? 0n : first!, second ?? first!, step ?? 1n);
  }),
  dict: new Callable('dict', (args, keywords) => {
    const [pairs] = bind('dict', ['pairs?'], args, new Map());
    return new Dict([...(pairs === undefined ? [] : pairsOf(pairs)), ...keywords]);
  }),
  namespace: new Callable('namespace', (args, keywords) => {
    const namespace = new Namespace();
    const [pairs] = bind('namespace', ['pairs?'], args, new Map());
    for (const [key, value] of [...(pairs === undefined ? [] : pairsOf(pairs)), ...keywords]) {
      if (typeof key === 'string') namespace.attributes.set(key, value);
    }
    return namespace;
  }),
  cycler: new Callable('cycler', (args) => new Cycler(args)),
  joiner: new Callable('joiner', (args, keywords) => {
    const [separator = ', '] = bind('joiner', ['sep?'], args, keywords);
    let isFirst = true;
    return new Callable('joiner', () => {
      const text = isFirst ? '' : separator;
      isFirst = false;
      return text;
    });
  }),
};

function integer(value: Value | undefined): bigint | undefined {
  if (value === undefined) return undefined;
  const number = numeric(value);
  if (typeof number !== 'bigint') throw typeError(`'${typeName(value)}' object cannot be interpreted as an integer`);
  return number;
}

class Cycler extends PythonObject {
  readonly type = 'Cycler';
  private at = 0;

  constructor(private readonly values: readonly Value[]) {
    super();
    if (values.length === 0) throw typeError('at least one item has to be provided');
  }

  override attribute(name: string): Value | undefined {
    if (name === 'current') return this.values[this.at]!;
    if (name === 'next') {
      return new Callable('next', () => {
        const value = this.values[this.at]!;
        this.at = (this.at + 1) % this.values.length;
        return value;
      });
    }
    if (name !== 'reset') return undefined;
    return new Callable('reset', () => {
      this.at = 0;
      return null;
    });
  }
}
