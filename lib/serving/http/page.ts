/** The page at `/`: files that lie in ../page and are sent as they stand. */
import { fileURLToPath } from 'node:url';
import { serveStatic } from '@hono/node-server/serve-static';
import type { Hono } from 'hono';
import { compress } from 'hono/compress';
import { etag } from 'hono/etag';
import { paletteSheet } from './palette.js';

const root = fileURLToPath(new URL('../page', import.meta.url));

/** Nothing runs but the page's own files, they ask nobody but this server, and no other page holds it in a frame. */
const HEADERS = {
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; '),
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-cache',
};

/** Answers `/` and what the page is made of, below `/page/`. */
export function addPage(app: Hono): void {
  const palette = paletteSheet();
  for (const path of ['/', '/page/*']) {
    app.use(path, compress(), etag(), async (c, next) => {
      await next();
      if (c.res.ok) for (const [name, value] of Object.entries(HEADERS)) c.header(name, value);
    });
  }
  app.get('/', serveStatic({ root, path: 'index.html' }));
  app.get('/page/palette.css', (c) => c.body(palette, 200, { 'Content-Type': 'text/css; charset=utf-8' }));
  app.get('/page/*', serveStatic({ root, rewriteRequestPath: (path) => path.slice('/page'.length) }));
}
