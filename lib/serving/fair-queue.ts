/** A queue in which clients take turns: one who asks for much waits behind himself, and nobody else behind him. */
export class FairQueue<Item> {
  /** The items of each client, the client whose turn it is first. */
  private readonly lines = new Map<string, Item[]>();
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(client: string, item: Item): void {
    const line = this.lines.get(client);
    if (line) line.push(item);
    else this.lines.set(client, [item]);
    this.#length++;
  }

  /** Whose turn it is. */
  get first(): Item | undefined {
    return this.lines.values().next().value?.[0];
  }

  /** Takes the first item, whose client then waits for all others. */
  shift(): Item | undefined {
    const next = this.lines.entries().next().value;
    if (!next) return undefined;
    const [client, line] = next;
    const item = line.shift();
    this.lines.delete(client);
    if (line.length > 0) this.lines.set(client, line);
    this.#length--;
    return item;
  }

  /** Takes an item out of the queue, wherever it stands. */
  remove(client: string, item: Item): boolean {
    const line = this.lines.get(client);
    const at = line?.indexOf(item) ?? -1;
    if (!line || at < 0) return false;
    line.splice(at, 1);
    if (line.length === 0) this.lines.delete(client);
    this.#length--;
    return true;
  }
}
