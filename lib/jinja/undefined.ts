import { PythonObject, type Value } from '../python/values.js';
import { UndefinedError } from './errors.js';

/**
 * What stands for a variable, attribute or item that is not there. A strict one fails wherever it is looked at, but for the
 * tests `is defined` and `is undefined` and the filter `default`; another is empty text, an empty list, and false.
 */
export class Undefined extends PythonObject {
  readonly type = 'Undefined';

  constructor(
    private readonly message: string,
    readonly isStrict: boolean,
    private readonly variable?: string,
  ) {
    super();
  }

  fail(): never {
    throw new UndefinedError(this.message, this.variable);
  }

  private orFail<T>(otherwise: T): T {
    return this.isStrict ? this.fail() : otherwise;
  }

  override repr(): string {
    return this.orFail('Undefined');
  }

  override str(): string {
    return this.orFail('');
  }

  override isTruthy(): boolean {
    return this.orFail(false);
  }

  override get length(): number {
    return this.orFail(0);
  }

  override items(): Iterable<Value> {
    return this.orFail([]);
  }

  override equals(other: Value): boolean {
    return this.orFail(other instanceof Undefined);
  }

  override item(): never {
    return this.fail();
  }

  override attribute(): never {
    return this.fail();
  }
}
