// Two ends of a connection in memory. It lives in wire, whose own tests need it and which cannot import testkit.
export { type ChannelPairOptions, createChannelPair } from "@hairpin/wire/test-support";
