import type { Http2Limit } from "./options.ts";
import type { Http2SessionStats } from "./types.ts";

/** The engine's own, writable view of {@link Http2SessionStats}. */
export class SessionStats implements Http2SessionStats {
  openStreams = 0;
  streamsOpened = 0;
  lastPeerStreamId = 0;
  peerMaxConcurrentStreams: number;
  wireBytesReceived = 0;
  wireBytesSent = 0;
  dataBytesReceived = 0;
  dataBytesSent = 0;
  heldBytes = 0;
  queuedBytes = 0;
  resetsReceived = 0;
  resetsSent = 0;
  unansweredPings = 0;
  peerSettingsReceived = false;
  settingsAcknowledged = false;
  headerBlocksBegun = 0;
  headerBlockOpen = false;
  readonly limitHits: Record<Http2Limit, number> = {
    resets: 0,
    pings: 0,
    settings: 0,
    emptyData: 0,
    ignoredFrames: 0,
    windowUpdates: 0,
    concurrentStreams: 0,
    headerListBytes: 0,
    headerCount: 0,
    headerBlockBytes: 0,
    continuationFrames: 0,
    informationalHeads: 0,
    controlFrameBytes: 0,
    threadSendBuffer: 0,
  };

  constructor(assumedPeerMaxStreams: number) {
    this.peerMaxConcurrentStreams = assumedPeerMaxStreams;
  }
}
