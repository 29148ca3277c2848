import { equals } from '../python/operators.js';
import { Callable, orElse, Tuple, typeError, type Value } from '../python/values.js';

/** The variable `loop` in a `for`. */
export class Loop extends Callable {
  override readonly type = 'LoopContext';
  index = 0;
  private last: Tuple | undefined;

  constructor(
    private readonly values: readonly Value[],
    private readonly depth: number,
    recurse: ((values: Value) => Value) | undefined,
    private readonly missing: (message: string) => Value,
  ) {
    super('loop', ([values]) => {
      if (!recurse || values === undefined) {
        throw typeError("The loop must have the 'recursive' marker to be called recursively.");
      }
      return recurse(values);
    });
  }

  override attribute(name: string): Value | undefined {
    const { index, values } = this;
    switch (name) {
      case 'index':
        return BigInt(index + 1);
      case 'index0':
        return BigInt(index);
      case 'revindex':
        return BigInt(values.length - index);
      case 'revindex0':
        return BigInt(values.length - index - 1);
      case 'first':
        return index === 0;
      case 'last':
        return index === values.length - 1;
      case 'length':
        return BigInt(values.length);
      case 'depth':
        return BigInt(this.depth + 1);
      case 'depth0':
        return BigInt(this.depth);
      case 'previtem':
        return orElse(values[index - 1], () => this.missing('there is no previous item'));
      case 'nextitem':
        return orElse(values[index + 1], () => this.missing('there is no next item'));
      case 'cycle':
        return new Callable(name, (args) => this.cycle(args));
      case 'changed':
        return new Callable(name, (args) => this.changed(new Tuple(args)));
      default:
        return undefined;
    }
  }

  private cycle(args: readonly Value[]): Value {
    if (args.length === 0) throw typeError('no items for cycling given');
    return args[this.index % args.length]!;
  }

  private changed(now: Tuple): boolean {
    const isSame = this.last !== undefined && equals(this.last, now);
    this.last = now;
    return !isSame;
  }
}
