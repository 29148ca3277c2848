/** Runs `use` with a folder as the user's cache. */
export async function withUserCache<Result>(folder: string, use: () => Promise<Result>): Promise<Result> {
  const { XDG_CACHE_HOME } = process.env;
  process.env.XDG_CACHE_HOME = folder;
  try {
    return await use();
  } finally {
    // Set to undefined, it would be a folder of that name.
    if (XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
  }
}
