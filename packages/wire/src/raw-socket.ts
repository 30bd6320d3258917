// The one place that knows how a net.Socket reads into memory of ours, and the internal names this needs (`_handle` as an option
// and as a property; tried on Node 20, 24 and 26; `onconnection` of a listening handle, on 26).
import net from "node:net";
import { WireError } from "./errors.ts";
import { readBuffer } from "./read-buffer.ts";
import { noteRead } from "./turn.ts";

/** What we use of libuv's TCP handle. */
export interface SocketHandle {
  readonly fd: number;
  /** Only TCP handles can send RST. */
  readonly reset?: unknown;
}

/** Gets the bytes a socket read, inside the read. False stops reading. */
export interface RawSocketReceiver {
  onRead(chunk: Uint8Array): boolean;
}

/** A field of its own and no WeakMap: each of those entries is work for every garbage collection while its connection lives. */
class RawSocket extends net.Socket {
  /** Unset until somebody takes the socket over. */
  receiver: RawSocketReceiver | undefined;
}

interface InternalSocketOptions extends Omit<net.SocketConstructorOpts, "handle"> {
  readonly handle?: SocketHandle;
  readonly pauseOnCreate?: boolean;
}

/** A paused socket that reads into the shared buffer, over a handle, a descriptor, or still to be connected. */
export function createRawSocket(
  source: { readonly handle: SocketHandle } | { readonly fd: number } | object,
): RawSocket {
  const options: InternalSocketOptions = {
    ...source,
    allowHalfOpen: true,
    readable: true,
    writable: true,
    noDelay: true,
    pauseOnCreate: true,
    onread: {
      buffer: readBuffer,
      callback: (size, buffer) => {
        noteRead();
        return socket.receiver?.onRead(size === readBuffer.length ? buffer : buffer.subarray(0, size)) ?? false;
      },
    },
  };
  const socket = new RawSocket(options as object);
  // An error may come before anybody listens; whoever owns the socket adds a listener of its own.
  socket.on("error", ignoreError);
  socket.pause();
  return socket;
}

/** What we use of libuv's listening handle. */
interface ListeningHandle {
  onconnection?: (this: unknown, error: number, accepted: AcceptedHandle | undefined) => void;
}

interface AcceptedHandle extends SocketHandle {
  setNoDelay(enabled: boolean): void;
}

/**
 * Hands out what a listening server accepts as raw sockets. Node would make a socket around each handle first, which costs as much
 * as ours and is thrown away at once; a server without that hook gives such sockets, and they are re-wrapped.
 */
export function acceptRaw(server: net.Server, onConnection: (socket: net.Socket) => void): void {
  const listening = (server as unknown as { _handle: ListeningHandle | null })._handle;
  const nodesOwn = listening?.onconnection;
  if (listening === null || nodesOwn === undefined) {
    server.on("connection", (accepted) => {
      // A peer that reset meanwhile leaves a socket without a handle: there is nothing to hand out.
      if (!accepted.destroyed) onConnection(rewrapSocket(accepted));
    });
    return;
  }
  listening.onconnection = (error, accepted) => {
    // Told as the server's error.
    if (accepted === undefined) return nodesOwn.call(listening, error, accepted);
    accepted.setNoDelay(true);
    onConnection(createRawSocket({ handle: accepted }));
  };
}

/**
 * Moves the handle of an accepted or foreign socket into a raw one. The old object is destroyed without its handle, which
 * takes it off its server's connection count: otherwise `server.close()` would wait for it for ever.
 */
function rewrapSocket(socket: net.Socket): RawSocket {
  const handle = socketHandle(socket);
  if (
    handle === null ||
    socket.destroyed ||
    socket.connecting ||
    socket.readableLength > 0 ||
    socket.writableLength > 0
  ) {
    throw new WireError("SOCKET_NOT_RAW", "Socket is not connected, or bytes were read from or written to it already");
  }
  const raw = createRawSocket({ handle });
  (socket as unknown as { _handle: null })._handle = null;
  socket.on("error", ignoreError);
  socket.destroy();
  return raw;
}

/** Gives a raw socket its receiver; a foreign socket is re-wrapped first. */
export function adoptRawSocket(socket: net.Socket, receiver: RawSocketReceiver): net.Socket {
  const raw = socket instanceof RawSocket ? socket : rewrapSocket(socket);
  if (raw.receiver !== undefined || raw.destroyed || raw.connecting) {
    throw new WireError("SOCKET_NOT_RAW", "Socket has an owner already, or is not connected");
  }
  raw.receiver = receiver;
  return raw;
}

export function socketHandle(socket: net.Socket): SocketHandle | null {
  return (socket as unknown as { _handle: SocketHandle | null })._handle;
}

function ignoreError(): void {
  // The owner hears of it by 'close', or by its own listener.
}
