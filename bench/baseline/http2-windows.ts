const mebibyte = 1024 * 1024;

interface Http2Windows {
  readonly settings: {
    readonly initialWindowSize: number;
    readonly maxFrameSize: number;
    readonly maxConcurrentStreams: number;
  };
  readonly connection: number;
}

/** As ztunnel has them: with node:http2's 64 KiB the pair would be slower than it need be. */
export const windows: Http2Windows = {
  settings: { initialWindowSize: 4 * mebibyte, maxFrameSize: mebibyte, maxConcurrentStreams: 10_000 },
  connection: 16 * mebibyte,
};
