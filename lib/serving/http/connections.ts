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
  /** Requests that are being answered, by their connection. */
  const answered = new Map<Socket, number>();
  server.on('request', (request, response) => {
    const { socket } = request;
    answered.set(socket, (answered.get(socket) ?? 0) + 1);
    response.once('close', () => {
      const left = answered.get(socket)! - 1;
      if (left > 0) answered.set(socket, left);
      else answered.delete(socket);
      if (left === 0 && !socket.destroyed) silent.add(socket);
    });
    // Who promises a body and does not send it has asked nothing yet.
    if (request.headers['transfer-encoding'] === undefined && !Number(request.headers['content-length'])) {
      silent.delete(socket);
    } else request.once('end', () => answered.has(socket) && silent.delete(socket));
  });
}
