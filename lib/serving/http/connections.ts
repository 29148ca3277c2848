import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Keeps a server at so many connections: where one more comes, that which has asked nothing for the longest time makes room for
 * it. Those who say nothing, however many, shut nobody out, and no request that is being answered is lost.
 */
export function limitConnections(server: Server, most: number): void {
  /** Those that have asked nothing, or were answered; the one that came first has waited longest. */
  const silent = new Set<Socket>();
  let open = 0;
  server.on('connection', (socket: Socket) => {
    open++;
    silent.add(socket);
    socket.once('close', () => {
      open--;
      silent.delete(socket);
    });
    const [longest] = silent;
    if (open > most && longest !== socket) longest!.destroy();
    else if (open > most) socket.destroy();
  });
  server.on('request', ({ socket }, response) => {
    silent.delete(socket);
    response.once('close', () => {
      if (!socket.destroyed) silent.add(socket);
    });
  });
}
