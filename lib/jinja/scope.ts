import { orElse, PythonObject, type Value } from '../python/values.js';

/** Where a variable is looked up by name; undefined where it is not there. */
export type Variables = (name: string) => Value | undefined;

/** The names that a block gives values to, and those around it. */
export class Scope {
  private readonly values = new Map<string, Value>();

  constructor(private readonly outer: Variables) {}

  readonly get: Variables = (name) => orElse(this.values.get(name), () => this.outer(name));

  set(name: string, value: Value): void {
    this.values.set(name, value);
  }
}

/** What `namespace()` gives: attributes that inner blocks may set. */
export class Namespace extends PythonObject {
  readonly type = 'Namespace';
  readonly attributes = new Map<string, Value>();

  override attribute(name: string): Value | undefined {
    return this.attributes.get(name);
  }

  override item(key: Value): Value | undefined {
    return typeof key === 'string' ? this.attributes.get(key) : undefined;
  }
}
